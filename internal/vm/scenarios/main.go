// Command scenarios boots the virtual machines of "make test-vm" and tells what the checks inside them found.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"natd/internal/vm"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := start(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "scenarios:", err)
		stop()
		os.Exit(1)
	}
}

// options are what the command line says.
type options struct {
	cache, out, packages string
	only                 *regexp.Regexp
	parallel             int
}

func start(ctx context.Context, args []string, w io.Writer) error {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	o := options{}
	flags := flag.NewFlagSet("scenarios", flag.ContinueOnError)
	flags.StringVar(&o.cache, "cache", filepath.Join(cache, "natd-vm"), "the `directory` of images")
	flags.StringVar(&o.out, "out", "vm-logs", "the `directory` for logs")
	flags.StringVar(&o.packages, "packages", "dist", "the `directory` with the packages: old and new, as make test-vm builds them")
	only := flags.String("run", "", "a `pattern` that selects scenarios by name")
	flags.IntVar(&o.parallel, "parallel", 2, "how many machines run at once")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if o.only, err = regexp.Compile(*only); err != nil {
		return fmt.Errorf("-run: %w", err)
	}
	return o.run(ctx, &printer{w: w, start: time.Now()})
}

// run prepares what all machines share, runs them, and prints the table.
func (o *options) run(ctx context.Context, p *printer) (err error) {
	payload, err := os.MkdirTemp("", "natd-vm-payload-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(payload)) }()
	p.say("building the programs and tests")
	if err := fill(ctx, payload, o.packages); err != nil {
		return fmt.Errorf("build what the machines run: %w", err)
	}
	var wanted []*result
	for _, s := range scenarios() {
		if o.only.MatchString(s.name) {
			wanted = append(wanted, &result{scenario: s})
		}
	}
	if len(wanted) == 0 {
		return fmt.Errorf("no scenario is named like %q", o.only)
	}
	machines, err := o.images(ctx, wanted, p)
	if err != nil {
		return err
	}
	slots := make(chan struct{}, max(1, o.parallel))
	var done sync.WaitGroup
	for i, r := range wanted {
		slots <- struct{}{}
		done.Go(func() {
			defer func() { <-slots }()
			machines[i].Out = filepath.Join(o.out, r.name)
			if r.err = r.prepare(machines[i], payload); r.err == nil {
				r.run(ctx, machines[i], p)
			}
		})
	}
	done.Wait()
	return p.table(wanted)
}

// images gets the images of all machines; the cache is open no longer than that.
func (o *options) images(ctx context.Context, wanted []*result, p *printer) (machines []*vm.Machine, err error) {
	cache, err := vm.OpenCache(o.cache, p.say)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, cache.Close()) }()
	for _, r := range wanted {
		root, err := cache.Root(ctx, r.suite)
		if err != nil {
			return nil, err
		}
		kernel, err := cache.Kernel(ctx, r.kernel)
		if err != nil {
			return nil, err
		}
		machines = append(machines, &vm.Machine{Root: root, Kernel: kernel, Stages: r.stages, Timeout: patience})
	}
	return machines, nil
}
