package main

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/spf13/cobra"

	"natd/internal/config"
	"natd/internal/control"
	"natd/internal/diagnose"
)

// diagnoseFlags is the command line of diagnose.
type diagnoseFlags struct {
	from    string
	watch   bool
	timeout time.Duration
	config  string
}

func (a *app) diagnoseCommand() *cobra.Command {
	var f diagnoseFlags
	cmd := &cobra.Command{
		Use:   "diagnose [RELAY]",
		Short: "Say why a connection does not get through, and what to do about it",
		Long: `Walk the way of a relay's packets, from the client to the host, to the target and back, and
say what was looked at, what was found, and what follows: causes with a stable code, the
evidence, and a remedy that can be pasted. It looks at natd, the kernel's tables, routes,
all chains of the packet filter and the tracked connections, and tries the target with a
few packets of its own. It changes nothing, and needs root.

RELAY is the name of a relay or the ADDR:PORT that a client dials; the default is every
relay that is enabled. It works without natd, too, with the configuration that --config names.

Exit codes: 0 no fault was found, 6 a path is broken or natd does not run, 7 not permitted.`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completeRelay,
		RunE: func(cmd *cobra.Command, args []string) error {
			q, err := f.question(args)
			if err != nil {
				return err
			}
			return a.diagnose(cmd.Context(), q, f.config)
		},
	}
	cmd.Flags().StringVar(&f.from, "from", "", "the `address` of the client that cannot connect")
	cmd.Flags().BoolVar(&f.watch, "watch", false, "wait for a client to try, and explain that attempt")
	cmd.Flags().DurationVar(&f.timeout, "timeout", time.Minute, "how long --watch waits")
	cmd.Flags().StringVar(&f.config, "config", defaultConfig, "the configuration `file`, when natd does not answer")
	return cmd
}

// question is what the command line asks.
func (f *diagnoseFlags) question(args []string) (q diagnose.Question, err error) {
	if len(args) == 1 {
		q.Relay = args[0]
	}
	if f.from != "" {
		if q.Client, err = netip.ParseAddr(f.from); err != nil {
			return q, control.Errorf(control.CodeUsage, "--from %q is no address: write it like 10.1.0.100", f.from)
		}
	}
	if !f.watch {
		return q, nil
	}
	switch {
	case q.Relay == "":
		return q, control.Errorf(control.CodeUsage, "--watch needs to know what the client dials: the name of a relay, or ADDR:PORT")
	case f.timeout < time.Second:
		return q, control.Errorf(control.CodeUsage, "--timeout must be at least 1s")
	}
	q.Watch = f.timeout
	return q, nil
}

// daemonPatience is how long natd may take to say how it is: one that hangs is evidence, too.
const daemonPatience = 5 * time.Second

func (a *app) diagnose(ctx context.Context, q diagnose.Question, file string) error {
	l, err := a.looker(ctx, file)
	if err != nil {
		return err
	}
	ev, err := a.local.look(ctx, l, q)
	if err != nil {
		return fmt.Errorf("diagnose: %w", permitted(err))
	}
	r := diagnose.Conclude(ev)
	a.show(r, a.reportText(r, q.Relay != ""))
	if !r.Sound() {
		return verdict(control.CodeDegraded)
	}
	return nil
}

// looker is what gathers the evidence, with what natd says, or with why it does not.
func (a *app) looker(ctx context.Context, file string) (*diagnose.Looker, error) {
	ask := func(ctx context.Context) (*control.Status, error) {
		ctx, cancel := context.WithTimeout(ctx, daemonPatience)
		defer cancel()
		return a.status(ctx, nil)
	}
	l := &diagnose.Looker{
		Now: a.now, Again: ask,
		Progress: func(text string) { fmt.Fprintln(a.stderr, printable(text)) },
	}
	l.Status, l.Silence = ask(ctx)
	var err error
	if l.Status != nil {
		l.Config, err = load(l.Status.Config.Path)
		if err != nil {
			l.Config = nil // it was edited since, and is wrong now: natd's own words count
		}
	} else if l.Config, err = load(file); err != nil {
		return nil, err
	}
	l.Changes = func(ctx context.Context) ([]string, error) { return a.changes(ctx, l.Config) }
	return l, nil
}

// changes is what a natd that starts now would change in its table.
func (a *app) changes(ctx context.Context, cfg *config.Config) ([]string, error) {
	o, err := a.local.plan(ctx, func() (*config.Config, error) { return cfg, nil }, nil)
	if err != nil {
		return nil, err
	}
	return diagnose.TableChanges(o.Changes, &cfg.NAT), nil
}
