package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"natd/internal/control"
	"natd/internal/words"
)

func (a *app) connectionsCommand() *cobra.Command {
	var args control.ConnectionsArgs
	cmd := &cobra.Command{
		Use:   "connections",
		Short: "List the tracked connections that natd translates, with both of their legs",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var list control.ConnectionList
			if err := control.Call(cmd.Context(), a.socket, control.OpConnections, args, &list); err != nil {
				return err
			}
			a.show(&list, a.connectionsText(&list, args.Relay))
			return nil
		},
	}
	cmd.Flags().StringVar(&args.Relay, "relay", "", "only those of this `relay`, gateway or static")
	// Neither the flag nor the function can be missing, which is all that this could fail for.
	_ = cmd.RegisterFlagCompletionFunc("relay", a.completeName)
	return cmd
}

// completeRelay completes the name of a relay.
func (a *app) completeRelay(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return a.complete(cmd, relayNames)
}

// completeName completes the name of a relay, gateway or static.
func (a *app) completeName(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return a.complete(cmd, func(s *control.Status) []string {
		names := relayNames(s)
		for i := range s.Gateways {
			names = append(names, s.Gateways[i].Name)
		}
		for i := range s.Statics {
			names = append(names, s.Statics[i].Name)
		}
		return names
	})
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
	s, err := a.status(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return names(s), cobra.ShellCompDirectiveNoFileComp
}

func (a *app) connectionsText(list *control.ConnectionList, relay string) string {
	var b strings.Builder
	if len(list.Connections) == 0 {
		b.WriteString("no connections")
		if relay != "" {
			b.WriteString(" of " + relay)
		}
		b.WriteByte('\n')
		return b.String()
	}
	connectionTable(list.Connections).write(&b, a.screen())
	if list.Truncated {
		fmt.Fprintf(&b, "there are more than these %d; --relay narrows the list\n", len(list.Connections))
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
			words.Size(c.Bytes.ToTarget), words.Size(c.Bytes.ToClient), fmt.Sprintf("%d s", c.Timeout),
		}})
	}
	return t
}
