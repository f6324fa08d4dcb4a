package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"natd/internal/control"
	"natd/internal/words"
)

// tables are those of all that natd relays, each kind in its own.
func tables(s *control.Status, now time.Time) (all []*table) {
	if len(s.Relays) > 0 {
		all = append(all, relayTable(s.Relays, now))
	}
	if len(s.Gateways) > 0 {
		all = append(all, gatewayTable(s.Gateways))
	}
	if len(s.Statics) > 0 {
		all = append(all, staticTable(s.Statics))
	}
	return all
}

// leftOut says how many relays are not shown, and how they are; "" when all are.
func leftOut(s *control.Status) string {
	if s.Summary.Left == 0 {
		return ""
	}
	var states []string
	for _, state := range []string{control.RelayReady, control.RelayDegraded, control.RelayDown, control.RelayDisabled} {
		if n := s.Summary.States[state]; n > 0 {
			states = append(states, fmt.Sprintf("%d %s", n, state))
		}
	}
	return fmt.Sprintf("\n%d relays: %s; %d are not shown: choose with --relay PATTERN or --state STATE, --json has them all\n",
		s.Summary.Total, strings.Join(states, ", "), s.Summary.Left)
}

// idle says below the tables why nothing at all is relayed although nothing is wrong; "" when something is.
func idle(s *control.Status) string {
	enabled := func(state string) bool { return state != control.RelayDisabled }
	switch {
	case s.Summary.Total > len(s.Relays):
		return "" // of those that are not shown the summary speaks
	case len(s.Relays)+len(s.Gateways)+len(s.Statics) == 0:
		return "\nno relay, gateway or static is configured\n"
	case slices.ContainsFunc(s.Relays, func(r control.Relay) bool { return enabled(r.State) }),
		slices.ContainsFunc(s.Gateways, func(g control.Gateway) bool { return enabled(g.State) }),
		slices.ContainsFunc(s.Statics, func(st control.Static) bool { return enabled(st.State) }):
		return ""
	case len(s.Gateways)+len(s.Statics) == 0:
		return "note: every relay is disabled\n"
	}
	return "note: every relay, gateway and static is disabled\n"
}

func relayTable(relays []control.Relay, now time.Time) *table {
	t := &table{columns: append([]column{
		{title: "NAME"},
		{title: "STATE", state: true},
		{title: "LISTEN"},
		{title: "PROTO", spare: 2},
		{title: "BACKEND"},
		{title: "SNAT", spare: 3},
		{title: "EGRESS", spare: 4},
	}, countColumns()...)}
	for i := range relays {
		r := &relays[i]
		below := row{notes: words.RelayNotes(r)}
		if len(r.Backends) > 1 && r.State != control.RelayDisabled {
			below.parts, below.rest = backendTable(r.Backends, now)
		}
		below.cells = append([]string{
			r.Name, r.State, words.List(r.Listen), strings.Join(r.Protocol, ","), words.Backends(r.Backends), words.List(r.SNAT), r.Egress,
		}, counts(r.Connections, r.Bytes)...)
		t.add(below)
	}
	return t
}

func gatewayTable(gateways []control.Gateway) *table {
	t := &table{columns: append([]column{
		{title: "GATEWAY"},
		{title: "STATE", state: true},
		{title: "FROM"},
		{title: "TO", spare: 2},
		{title: "SNAT", spare: 3},
		{title: "EGRESS", spare: 4},
	}, countColumns()...)}
	for i := range gateways {
		g := &gateways[i]
		t.add(row{notes: words.Notes(g.Name, g.Reason, g.Connections), cells: append([]string{
			g.Name, g.State, words.List(g.From), words.List(g.To), words.List(g.SNAT), g.Egress,
		}, counts(g.Connections, g.Bytes)...)})
	}
	return t
}

func staticTable(statics []control.Static) *table {
	t := &table{columns: append([]column{
		{title: "STATIC"},
		{title: "STATE", state: true},
		{title: "EXTERNAL"},
		{title: "INTERNAL"},
		{title: "FROM", spare: 2},
		{title: "SNAT", spare: 3},
	}, countColumns()...)}
	for i := range statics {
		st := &statics[i]
		t.add(row{notes: words.Notes(st.Name, st.Reason, st.Connections), cells: append([]string{
			st.Name, st.State, st.External, st.Internal, cmp.Or(words.List(st.From), "any"), words.List(st.SNAT),
		}, counts(st.Connections, st.Bytes)...)})
	}
	return t
}

// countColumns are the last columns of every kind, for what counts gives.
func countColumns() []column {
	return []column{
		{title: "CONNS", right: true},
		{title: "TOTAL", right: true, spare: 5},
		{title: "BYTES→", right: true, spare: 1},
		{title: "BYTES←", right: true, spare: 1},
	}
}

func counts(c control.Connections, v control.Volume) []string {
	return []string{fmt.Sprint(c.Active), fmt.Sprint(c.Total), words.Size(v.ToTarget), words.Size(v.ToClient)}
}
