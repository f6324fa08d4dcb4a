package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"natd/internal/control"
	"natd/internal/words"
)

func (a *app) reloadCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "reload",
		Short: "Make natd read its configuration again and bring the kernel in line with it",
		Long: `Make natd read its configuration again and bring the kernel in line with it.

It answers when the kernel holds the new configuration. An invalid one is refused
with exit code 3, and the old one stays in force. Only root may do this.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := a.change(cmd.Context(), control.OpReload, nil, "reloading")
			if err != nil {
				return err
			}
			a.showOutcome(o, "nothing to change in the kernel")
			return nil
		},
	}
}

func (a *app) flushCommand() *cobra.Command {
	var state string
	cmd := &cobra.Command{
		Use:   "flush",
		Short: "Remove everything that natd made: rules, connections of relays, sysctls",
		Long: `Remove everything that natd made in the kernel, and restore what it changed.

A running natd does it, and relays nothing until it is told to reload; without one
natctl does it itself. Only root may do this.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := a.flush(cmd.Context(), state)
			if err != nil {
				return err
			}
			a.showOutcome(o, "nothing to remove")
			return nil
		},
	}
	cmd.Flags().StringVar(&state, "state", defaultState, "the `directory` where natd keeps its state, for when it does not run")
	return cmd
}

// flush asks natd, because it would repair what somebody else removes. Only when none runs is that left to natctl; one that
// hangs has to be stopped first.
func (a *app) flush(ctx context.Context, state string) (*control.Outcome, error) {
	o, err := a.change(ctx, control.OpFlush, nil, "flushing")
	if !control.NotRunning(err) {
		return o, err
	}
	defer a.progress("flushing")()
	if o, err = a.local.flush(ctx, state); err != nil {
		return nil, fmt.Errorf("flush without a running natd: %w", permitted(err))
	}
	return o, nil
}

func (a *app) change(ctx context.Context, op string, args any, doing string) (*control.Outcome, error) {
	defer a.progress(doing)()
	var o control.Outcome
	err := control.Call(ctx, a.socket, op, args, &o)
	switch {
	case err == nil:
		return &o, nil
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%w: natd goes on %s, see natctl status", err, doing)
	}
	return nil, err
}

// changesShown is how many changes a person is shown.
const changesShown = 30

func (a *app) showOutcome(o *control.Outcome, nothing string) {
	var b strings.Builder
	if len(o.Changes) == 0 {
		fmt.Fprintln(&b, nothing)
	} else {
		fmt.Fprintln(&b, words.Count(len(o.Changes), "change"))
	}
	for _, line := range o.Changes[:min(len(o.Changes), changesShown)] {
		fmt.Fprintf(&b, "  %s\n", printable(line))
	}
	if more := len(o.Changes) - changesShown; more > 0 {
		fmt.Fprintf(&b, "  and %d more (--json lists them)\n", more)
	}
	for _, line := range o.Notes {
		fmt.Fprintf(&b, "note: %s\n", printable(line))
	}
	a.show(o, b.String())
}

// progress tells a person at a terminal each second what takes so long. The function that it returns ends that and
// wipes the line.
func (a *app) progress(doing string) (done func()) {
	if _, ok := terminal(a.stderr); !ok {
		return func() {}
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		for seconds := 1; ; seconds++ {
			select {
			case <-stop:
				if seconds > 1 {
					fmt.Fprint(a.stderr, "\r"+eraseToEOL)
				}
				return
			case <-ticker.C:
				fmt.Fprintf(a.stderr, "\rnatctl: %s, %d s%s", doing, seconds, eraseToEOL)
			}
		}
	})
	return func() {
		close(stop)
		wg.Wait()
	}
}
