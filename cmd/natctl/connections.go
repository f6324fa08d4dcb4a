package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"natd/internal/control"
	"natd/internal/flow"
	"natd/internal/words"
)

// connectionsFlags is the command line of connections.
type connectionsFlags struct {
	args     control.ConnectionsArgs
	top      bool
	by       string
	interval time.Duration
}

func (a *app) connectionsCommand() *cobra.Command {
	f := connectionsFlags{interval: time.Second}
	cmd := &cobra.Command{
		Use:   "connections",
		Short: "List the tracked connections that natd translates, with both of their legs",
		Long: `List the tracked connections that natd translates, with both of their legs. What several
options ask for must all be true of a connection.

With --top the view refreshes, with how much each connection carries a second: q quits, any
other key refreshes at once. To what is no terminal, and with --json, --top is one round.`,
		Args: noArguments,
		PreRunE: func(cmd *cobra.Command, _ []string) error {
			return f.check(cmd.Flags().Changed("interval"))
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return a.connections(cmd.Context(), &f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.args.Relay, "relay", "", "only those of this `relay`, gateway or static")
	flags.StringVar(&f.args.Client, "client", "", "only those of this client, an `address` or a network such as 10.1.0.0/16")
	flags.StringVar(&f.args.Target, "target", "", "only those to this target, `ADDR` or ADDR:PORT")
	flags.StringVar(&f.args.SNAT, "snat", "", "only those that reach their target from this source, `ADDR` or ADDR:PORT")
	flags.StringVar(&f.args.State, "state", "", "only those in this `state`, such as ESTABLISHED or UNREPLIED")
	flags.StringVar(&f.args.Protocol, "protocol", "", "only those of this `protocol`: tcp, udp, sctp, icmp, ipv6-icmp or a number")
	flags.StringVar(&f.args.Sort, "sort", "", "`order`: bytes, packets or rate, the most first; timeout; client (default rate with --top)")
	flags.IntVar(&f.args.Limit, "limit", 0, "at most this `number` of rows, after sorting")
	flags.BoolVar(&f.top, "top", false, "refresh, with rates")
	flags.StringVar(&f.by, "by", byConnection, "a row of --top is one `what`: connection, client, relay or target")
	flags.Var((*pace)(&f.interval), "interval", "pause between two rounds of --top, and the time that rates are of")
	// Neither the flags nor the functions can be missing, which is all that this could fail for.
	_ = cmd.RegisterFlagCompletionFunc("relay", a.completeName)
	for flag, words := range map[string][]string{
		"state": flow.States(), "protocol": {"tcp", "udp", "sctp", "icmp", "ipv6-icmp"}, "sort": orders(), "by": groupings(),
	} {
		_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
	}
	return cmd
}

// orders are the words of --sort.
func orders() []string {
	return []string{control.SortByBytes, control.SortByPackets, sortByRate, control.SortByTimeout, control.SortByClient}
}

// groupings are the words of --by.
func groupings() []string { return []string{byConnection, byClient, byRelay, byTarget} }

// check refuses before natd is asked what it would refuse, and what contradicts itself.
func (f *connectionsFlags) check(paced bool) error {
	args := f.args
	if !slices.Contains(orders(), args.Sort) && args.Sort != "" {
		return control.Errorf(control.CodeUsage, "sort %q must be one of %s", args.Sort, strings.Join(orders(), ", "))
	}
	if args.Sort == sortByRate {
		args.Sort = ""
	}
	if _, err := args.Filter(); err != nil {
		return err
	}
	if states := flow.States(); args.State != "" && !slices.Contains(states, strings.ToUpper(args.State)) {
		return control.Errorf(control.CodeUsage, "state %q must be one of %s", args.State, strings.Join(states, ", "))
	}
	switch {
	case !slices.Contains(groupings(), f.by):
		return control.Errorf(control.CodeUsage, "--by %q must be one of %s", f.by, strings.Join(groupings(), ", "))
	case f.by != byConnection && !f.top:
		return control.Errorf(control.CodeUsage, "--by is for --top")
	case f.by != byConnection && f.args.Sort == control.SortByTimeout:
		return control.Errorf(control.CodeUsage, "only connections have a timeout to sort by")
	case paced && !f.top && f.args.Sort != sortByRate:
		return control.Errorf(control.CodeUsage, "--interval is for --top and --sort rate")
	}
	return nil
}

// connections lists once, or refreshes. Rates take two looks, so that their order is a round of the view, too.
func (a *app) connections(ctx context.Context, f *connectionsFlags) error {
	if f.top || f.args.Sort == sortByRate {
		v := &topView{a: a, args: f.args, sort: f.args.Sort, by: f.by, limit: f.args.Limit, interval: f.interval, once: !f.top}
		if v.sort == "" {
			v.sort = sortByRate
		}
		return v.show(ctx)
	}
	var list control.ConnectionList
	if err := control.Call(ctx, a.socket, control.OpConnections, f.args, &list); err != nil {
		return err
	}
	a.show(&list, a.connectionsText(&list, &f.args))
	return nil
}

// completeRelay completes the name of a relay.
func (a *app) completeRelay(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return a.complete(cmd, relayNames)
}

// completeName completes the name of a relay, gateway or static.
func (a *app) completeName(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return a.complete(cmd, allNames)
}

// allNames is the names of relays, gateways and statics.
func allNames(s *control.Status) []string {
	names := relayNames(s)
	for i := range s.Gateways {
		names = append(names, s.Gateways[i].Name)
	}
	for i := range s.Statics {
		names = append(names, s.Statics[i].Name)
	}
	return names
}

func relayNames(s *control.Status) []string {
	names := make([]string, len(s.Relays))
	for i := range s.Relays {
		names[i] = s.Relays[i].Name
	}
	return names
}

// complete offers the names that a status has.
func (a *app) complete(cmd *cobra.Command, names func(*control.Status) []string) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(cmd.Context(), glance)
	defer cancel()
	s, err := a.status(ctx, nil)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return names(s), cobra.ShellCompDirectiveNoFileComp
}

func (a *app) connectionsText(list *control.ConnectionList, args *control.ConnectionsArgs) string {
	var b strings.Builder
	if len(list.Connections) == 0 {
		b.WriteString("no connections")
		if args.Relay != "" {
			b.WriteString(" of " + args.Relay)
		}
		if *args != (control.ConnectionsArgs{Relay: args.Relay, Sort: args.Sort, Limit: args.Limit}) {
			b.WriteString(" that match")
		}
		b.WriteByte('\n')
		return b.String()
	}
	connectionTable(list.Connections).write(&b, a.screen())
	switch {
	case args.Limit > 0 && list.Truncated:
		fmt.Fprintf(&b, "%d of %d connections\n", len(list.Connections), list.Matched)
	case list.Truncated:
		fmt.Fprintf(&b, "there are more than these %d; --relay and the other filters narrow the list\n", len(list.Connections))
	}
	return b.String()
}

func connectionTable(connections []control.Connection) *table {
	t := &table{columns: []column{
		{title: "KIND", spare: 6},
		{title: "NAME", spare: 5},
		{title: "PROTO"},
		{title: "STATE"},
		{title: "CLIENT"},
		{title: "LISTEN", spare: 3},
		{title: "SNAT", spare: 2},
		{title: "TARGET"},
		{title: "BYTES→", right: true, spare: 1},
		{title: "BYTES←", right: true, spare: 1},
		{title: "TIMEOUT", right: true, spare: 4},
	}}
	for _, c := range connections {
		t.add(row{cells: []string{
			c.Kind, c.Relay, c.Protocol, c.State, c.Client, c.Listen, c.SNAT, c.Target,
			words.Size(c.Bytes.ToTarget), words.Size(c.Bytes.ToClient), timeoutText(&c),
		}})
	}
	return t
}

// timeoutText is how long the kernel remembers the connection if nothing comes.
func timeoutText(c *control.Connection) string {
	if c.Fast {
		return "fast path"
	}
	return fmt.Sprintf("%d s", c.Timeout)
}
