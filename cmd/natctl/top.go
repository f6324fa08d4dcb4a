package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"natd/internal/control"
	"natd/internal/words"
)

// topView is natctl connections --top.
type topView struct {
	a        *app
	args     control.ConnectionsArgs
	sort, by string
	limit    int // rows; 0 = as many as have room
	interval time.Duration
	once     bool
	before   *look
}

// look asks natd for all that the filters let through: what is fastest shows only in the difference of two answers.
func (v *topView) look(ctx context.Context) (*measurement, error) {
	args := v.args
	args.Sort, args.Limit = "", 0
	now := look{list: new(control.ConnectionList)}
	if err := control.Call(ctx, v.a.socket, control.OpConnections, args, now.list); err != nil {
		return nil, err
	}
	now.at = time.Now() // with its monotonic part: a clock that is set must not make rates
	m := measure(v.before, now)
	v.before = &now
	return m, nil
}

// twice looks, waits and looks again.
func (v *topView) twice(ctx context.Context) (*measurement, error) {
	if _, err := v.look(ctx); err != nil {
		return nil, err
	}
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("interrupted: %w", context.Cause(ctx))
	case <-time.After(v.interval):
	}
	return v.look(ctx)
}

// show refreshes the view until ctx ends or the user quits. It goes on when natd is away for a moment. To what is no terminal, or as
// JSON, it is one round, as that of "top -b -n 1", with the rates of one interval.
func (v *topView) show(ctx context.Context) error {
	if v.once || v.a.json || !v.a.screen().steered {
		m, err := v.twice(ctx)
		if err != nil {
			return err
		}
		v.a.show(v.document(m), v.text(m, v.limit))
		return nil
	}
	ctx, stage := v.a.openStage(ctx, "natctl connections --top", v.interval)
	defer stage.close()
	for {
		m, err := v.look(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			stage.drawRows(v.text(m, v.limit))
		default:
			// A mistake in what was asked does not go away, and nor does a missing right.
			if e := control.AsError(err); e.Code != control.CodeUnreachable {
				return err
			}
			v.before = nil
			stage.drawRows("natctl: " + printable(err.Error()) + "\n")
		}
		if !stage.wait(ctx) {
			return nil
		}
	}
}

// text is a round: what all connections are together, and a row for each or for each group.
func (v *topView) text(m *measurement, limit int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "conntrack %d/%d, %s, %d active", m.list.Conntrack.Entries, m.list.Conntrack.Max, words.Count(m.list.Matched, "connection"), m.list.Active)
	if m.fresh != nil {
		fmt.Fprintf(&b, ", %.1f new/s", *m.fresh)
	}
	b.WriteByte('\n')
	if m.total != nil {
		fmt.Fprintf(&b, "%s to targets, %s to clients\n", rateText(m.total.ByteRate.ToTarget, m.total.PacketRate.ToTarget), rateText(m.total.ByteRate.ToClient, m.total.PacketRate.ToClient))
	}
	if m.list.Truncated {
		fmt.Fprintf(&b, "natd tells only %d of them: filters narrow the view\n", len(m.list.Connections))
	}
	b.WriteByte('\n')
	v.table(m, limit).write(&b, v.a.screen())
	return b.String()
}

func rateText(bytes, packets float64) string {
	return fmt.Sprintf("%s/s and %.0f packets/s", words.Size(uint64(bytes)), packets)
}

// topDocument is a round as JSON. One of the two lists is there.
type topDocument struct {
	SchemaVersion int               `json:"schema_version"`
	At            time.Time         `json:"at"`
	Interval      float64           `json:"interval_seconds"`
	Conntrack     control.Conntrack `json:"conntrack"`
	Matched       int               `json:"matched"`
	Active        int               `json:"active"`
	Fresh         *float64          `json:"new_per_second"`
	Truncated     bool              `json:"truncated"`
	Total         *rates            `json:"total"`
	Connections   []measured        `json:"connections,omitempty"`
	Groups        []group           `json:"groups,omitempty"`
}

func (v *topView) document(m *measurement) *topDocument {
	d := &topDocument{
		SchemaVersion: control.SchemaVersion, At: v.a.now(), Interval: v.interval.Seconds(), Conntrack: m.list.Conntrack,
		Matched: m.list.Matched, Active: m.list.Active, Fresh: m.fresh, Truncated: m.list.Truncated, Total: m.total,
	}
	if v.by == byConnection {
		d.Connections = v.connections(m)
		d.Connections = first(d.Connections, v.limit)
	} else {
		d.Groups = first(v.groups(m), v.limit)
	}
	return d
}

func (v *topView) connections(m *measurement) []measured {
	sortConnections(m.connections, v.sort)
	return m.connections
}

func (v *topView) groups(m *measurement) []group {
	all := groups(m.connections, v.by)
	sortGroups(all, v.sort)
	return all
}

// first is the first n of a list, or all of it for 0.
func first[T any](all []T, n int) []T {
	if n > 0 {
		return all[:min(n, len(all))]
	}
	return all
}

func (v *topView) table(m *measurement, limit int) *table {
	if v.by == byConnection {
		return rateTable(first(v.connections(m), limit))
	}
	return groupTable(v.by, first(v.groups(m), limit))
}

// rateColumns are those for what rateCells gives.
func rateColumns() []column {
	return []column{
		{title: "B/S→", right: true},
		{title: "B/S←", right: true},
		{title: "PKT/S→", right: true, spare: 2},
		{title: "PKT/S←", right: true, spare: 2},
		{title: "BYTES→", right: true, spare: 4},
		{title: "BYTES←", right: true, spare: 4},
	}
}

func rateCells(r *rates, bytes control.Volume) []string {
	cells := []string{"", "", "", "", words.Size(bytes.ToTarget), words.Size(bytes.ToClient)}
	if r != nil {
		cells[0], cells[1] = words.Size(uint64(r.ByteRate.ToTarget)), words.Size(uint64(r.ByteRate.ToClient))
		cells[2], cells[3] = fmt.Sprintf("%.0f", r.PacketRate.ToTarget), fmt.Sprintf("%.0f", r.PacketRate.ToClient)
	}
	return cells
}

func rateTable(connections []measured) *table {
	t := &table{columns: append([]column{
		{title: "NAME", spare: 3},
		{title: "PROTO", spare: 5},
		{title: "STATE", spare: 6},
		{title: "CLIENT"},
		{title: "LISTEN", spare: 8},
		{title: "SNAT", spare: 7},
		{title: "TARGET"},
	}, rateColumns()...)}
	for i := range connections {
		c := &connections[i]
		t.add(row{cells: append([]string{c.Relay, c.Protocol, c.State, c.Client, c.Listen, c.SNAT, c.Target}, rateCells(c.rates, c.Bytes)...)})
	}
	return t
}

func groupTable(by string, all []group) *table {
	t := &table{columns: append([]column{
		{title: strings.ToUpper(by)},
		{title: "CONNS", right: true},
	}, rateColumns()...)}
	for i := range all {
		g := &all[i]
		name := g.Name
		if g.Kind != "" && g.Kind != control.KindRelay {
			name = g.Kind + " " + name
		}
		t.add(row{cells: append([]string{name, fmt.Sprint(g.Connections)}, rateCells(g.rates, g.Bytes)...)})
	}
	return t
}
