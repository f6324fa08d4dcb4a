package main

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"natd/internal/control"
)

func (a *app) drainCommand() *cobra.Command {
	return a.onBackend(control.OpDrain, "draining", &cobra.Command{
		Use:   "drain RELAY [BACKEND]",
		Short: "Send no new connections to a backend",
		Long: `Take a backend of a relay, or every one of them, out of use for new connections.

Established TCP connections go on until they end by themselves; "natctl status" counts
them. The backend stays drained when natd is reloaded or restarted, and when its health
checks succeed: "natctl enable" is the way back.

BACKEND is written as in "to" of the configuration or as status shows it: ADDR:PORT, ADDR
or NAME. Without it every backend of the relay is drained, and new connections to the
relay are refused. Only root may do this.`,
	})
}

func (a *app) enableCommand() *cobra.Command {
	return a.onBackend(control.OpEnable, "enabling", &cobra.Command{
		Use:   "enable RELAY [BACKEND]",
		Short: "Send new connections to a drained backend again",
		Long: `Let a backend that "natctl drain" has drained, or every one of the relay, take new
connections again.

A backend that fails its health checks still waits until they succeed. BACKEND is written
as for drain. A relay that the configuration disables is not enabled by this: set its
"enabled" and reload. Only root may do this.`,
	})
}

// onBackend completes a command that changes a backend of a relay, or all of them.
func (a *app) onBackend(op, doing string, cmd *cobra.Command) *cobra.Command {
	cmd.Args = cobra.RangeArgs(1, 2)
	cmd.ValidArgsFunction = a.completeBackend
	cmd.RunE = func(cmd *cobra.Command, words []string) error {
		args := control.BackendArgs{Relay: words[0]}
		if len(words) == 2 {
			args.Backend = words[1]
		}
		o, err := a.change(cmd.Context(), op, args, doing)
		if err != nil {
			return err
		}
		a.showOutcome(o, "nothing to change")
		return nil
	}
	return cmd
}

// completeBackend gives the relays for the first word and the backends of that relay for the second.
func (a *app) completeBackend(cmd *cobra.Command, words []string, typed string) ([]string, cobra.ShellCompDirective) {
	switch len(words) {
	case 0:
		return a.completeRelay(cmd, words, typed)
	case 1:
	default:
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), glance)
	defer cancel()
	s, err := a.status(ctx, nil)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var backends []string
	for _, r := range s.Relays {
		if r.Name != words[0] {
			continue
		}
		for _, b := range r.Backends {
			backends = append(backends, b.Address, b.Name)
		}
	}
	slices.Sort(backends)
	backends = slices.DeleteFunc(slices.Compact(backends), func(s string) bool { return s == "" })
	return backends, cobra.ShellCompDirectiveNoFileComp
}
