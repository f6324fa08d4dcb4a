package words

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"natd/internal/control"
)

// HasRow tells whether a reason is that of a relay, gateway or static: it stands under the row of that.
func HasRow(reason string) bool {
	kind, rest, _ := strings.Cut(reason, " ")
	return slices.Contains([]string{control.KindRelay, control.KindGateway, control.KindStatic}, kind) && strings.Contains(rest, ": ")
}

// RelayNotes is what a person should know of a relay, beside its row.
func RelayNotes(r *control.Relay) []string {
	notes := []string{r.Reason, "", unanswered(r.Name, r.Connections), refused(r.Refused), ports(r.Ports), ""}
	// Of several backends each has a line, and what the relay says of its only one need not be said twice.
	if len(r.Backends) == 1 && !strings.Contains(r.Reason, r.Backends[0].Reason) {
		notes[1] = r.Backends[0].Reason
	}
	if len(r.Backends) == 1 && r.Connections.Refused > 0 {
		notes[5] = fmt.Sprintf("connections that the backend refused: %d", r.Connections.Refused)
	}
	return said(notes...)
}

// Notes is what a person should know of a gateway or static, beside its row.
func Notes(name, reason string, c control.Connections) []string {
	return said(reason, unanswered(name, c))
}

// FlowLog is the format of the flow log and its window. A format of one's own is too long to be shown.
func FlowLog(l *control.FlowLog) string {
	format, window := l.Format, l.Interval
	if strings.Contains(format, "${") {
		format = "own format"
	}
	switch d, err := time.ParseDuration(window); {
	case err != nil:
	case d%time.Minute == 0:
		window = Span(d)
	case d%time.Second == 0:
		window = fmt.Sprintf("%d s", d/time.Second)
	}
	return format + " every " + window
}

// said is what there is to say, without what is "".
func said(notes ...string) []string {
	return slices.DeleteFunc(notes, func(note string) bool { return note == "" })
}

// unanswered points at connections that nobody behind this host has answered, while none is there that somebody did.
func unanswered(name string, c control.Connections) string {
	if c.Unreplied == 0 || c.Active > 0 {
		return ""
	}
	return fmt.Sprintf("connections without an answer: %d; natctl connections --relay %s", c.Unreplied, name)
}

// refused is what the limits of a relay kept out; "" for nothing.
func refused(r control.Refused) string {
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

// ports is how many source ports are taken, from three quarters on; "" below.
func ports(p *control.PortUse) string {
	if p == nil || p.Max <= 0 || 4*p.Used < 3*p.Max {
		return ""
	}
	return fmt.Sprintf("%d of %d ports (%d %%) from %s to %s are taken: each further address in snat adds as many",
		p.Used, p.Max, 100*p.Used/p.Max, p.Source, p.Target)
}
