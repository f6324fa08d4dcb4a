package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"natd/internal/control"
)

// backendsCell is where a relay's connections go, in the width of about one address.
func backendsCell(backends []control.Backend) string {
	switch {
	case len(backends) == 0:
		return ""
	case len(backends) == 1:
		return backendText(&backends[0])
	case !healthKnown(backends):
		return count(len(backends), "backend")
	}
	up := 0
	for i := range backends {
		if backends[i].State == control.BackendUp {
			up++
		}
	}
	return fmt.Sprintf("%d/%d up", up, len(backends))
}

// healthKnown tells whether anything is known of the health of the backends.
func healthKnown(backends []control.Backend) bool {
	return slices.ContainsFunc(backends, func(b control.Backend) bool {
		return b.State == control.BackendUp || b.State == control.BackendDown
	})
}

// backendText is a backend's place, and its state where that says something.
func backendText(b *control.Backend) string {
	text := place(b)
	if b.State == control.BackendDown || b.State == control.BackendDraining {
		text += " " + b.State
	}
	return text
}

// place is the address of a backend, and the name that led to it.
func place(b *control.Backend) string {
	switch {
	case b.Address == "":
		return b.Name
	case b.Name != "":
		return b.Address + " (" + b.Name + ")"
	}
	return b.Address
}

// backendsShown is how many of a relay's backends have lines of their own. Of more than these, those that are not
// well come first: one that works looks like the next.
const backendsShown = 10

// backendTable has a line for each of several backends; rest says what it leaves out.
func backendTable(backends []control.Backend, now time.Time) (t *table, rest string) {
	t = &table{columns: []column{
		{}, {state: true}, {}, {}, {}, {right: true}, {right: true}, {right: true, spare: 2}, {right: true, spare: 2}, {}, {},
	}}
	known := healthKnown(backends)
	if more := len(backends) - backendsShown; more > 0 {
		backends = slices.Clone(backends)
		slices.SortStableFunc(backends, func(a, b control.Backend) int { return cmp.Compare(wellness(&a), wellness(&b)) })
		backends = backends[:backendsShown]
		rest = fmt.Sprintf("and %d more (--json lists them)", more)
	}
	for i := range backends {
		b := &backends[i]
		state := b.State
		if state == control.BackendUnknown && !known {
			state = "" // nobody asks for it
		}
		t.add(row{cells: []string{
			place(b), state, since(b, now), weightText(b.Weight), role(b),
			fmt.Sprintf("%d active", b.Active), fmt.Sprintf("%d total", b.Total), carriedText(b.Bytes.ToTarget, "→"), carriedText(b.Bytes.ToClient, "←"),
			failedText(b), strings.ReplaceAll(b.Reason, "\n", " "),
		}})
	}
	return t, rest
}

// carriedText is a number of bytes with its direction; "" for none.
func carriedText(bytes uint64, direction string) string {
	if bytes == 0 {
		return ""
	}
	return size(bytes) + direction
}

// failedText is how many connections a backend refused, and how many wait for its answer now; "" for none.
func failedText(b *control.Backend) string {
	var parts []string
	if b.Refused > 0 {
		parts = append(parts, fmt.Sprintf("%d refused", b.Refused))
	}
	if b.Unreplied > 0 {
		parts = append(parts, fmt.Sprintf("%d unanswered", b.Unreplied))
	}
	return strings.Join(parts, ", ")
}

// wellness orders backends by how much they need a look.
func wellness(b *control.Backend) int {
	switch {
	case b.State == control.BackendDown:
		return 0
	case b.State == control.BackendDraining:
		return 1
	case b.Reason != "":
		return 2
	}
	return 3
}

// since is how long a backend has taken no connections, where that was not always so.
func since(b *control.Backend, now time.Time) string {
	if b.Since.IsZero() || (b.State != control.BackendDown && b.State != control.BackendDraining) {
		return ""
	}
	return "for " + span(now.Sub(b.Since))
}

// weightText leaves the usual weight out.
func weightText(weight int) string {
	if weight <= 1 {
		return ""
	}
	return fmt.Sprintf("weight %d", weight)
}

// role is what a backend does that its state does not tell.
func role(b *control.Backend) string {
	switch {
	case b.Backup && b.InUse:
		return "backup, in use"
	case b.Backup:
		return "backup"
	case b.State == control.BackendDown && b.InUse:
		return "in use" // as every other one is down, too
	}
	return ""
}

// refusedText is what the limits of a relay kept out; "" for nothing.
func refusedText(r control.Refused) string {
	var parts []string
	for _, limit := range []struct {
		key   string
		count uint64
	}{
		{"max_connections", r.Connections},
		{"max_per_source", r.PerSource},
		{"rate", r.Rate},
	} {
		if limit.count > 0 {
			parts = append(parts, fmt.Sprintf("%d over %s", limit.count, limit.key))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return "refused new connections: " + strings.Join(parts, ", ")
}

// portsText is how many source ports are taken, from three quarters on; "" below.
func portsText(p *control.PortUse) string {
	if p == nil || p.Max <= 0 || 4*p.Used < 3*p.Max {
		return ""
	}
	return fmt.Sprintf("%d of %d ports (%d %%) from %s to %s are taken: each further address in snat adds as many",
		p.Used, p.Max, 100*p.Used/p.Max, p.Source, p.Target)
}
