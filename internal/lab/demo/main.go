// Command demo shows natd at work, in the lab of three VPCs with real nginx and curl: A cannot reach C, a relay on B
// makes it possible, and each host tells what it saw. Every fact that it prints is checked; if one is not as it should
// be, demo says which and exits with code 1. It needs root and leaves nothing behind, also when interrupted.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"

	"natd/internal/lab"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "demo: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) (err error) {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	natd := flags.String("natd", "bin/natd", "the daemon to show")
	natctl := flags.String("natctl", "bin/natctl", "its command")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if err := ready(*natd, *natctl); err != nil {
		return err
	}
	p, err := lab.OpenPeering(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	s := &story{Peering: p, teller: newTeller(out), natd: *natd, natctl: *natctl}
	err = s.tell(ctx)
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	return err
}

// ready tells what the demo lacks on this machine, and how to get it.
func ready(natd, natctl string) error {
	if os.Geteuid() != 0 {
		return errors.New("this needs root, for network namespaces: run it with sudo")
	}
	for _, path := range []string{natd, natctl} {
		if _, err := os.Stat(path); err != nil {
			return fmt.Errorf("looking for the program to show: %w; build it first: make build", err)
		}
	}
	var missing []string
	for _, name := range []string{"nft", "nginx", "curl", "tcpdump"} {
		if _, err := exec.LookPath(name); err != nil {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("missing programs: %s; on Debian: apt-get install nftables nginx-light curl tcpdump", strings.Join(missing, ", "))
	}
	return nil
}
