package page

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"natd/internal/control"
	"natd/internal/words"
)

// backendsShown is how many backends of a relay have a line. Of more, those that are not well come first.
const backendsShown = 100

// detail is what stands below an open row.
type detail struct {
	Way      *way
	Pictures []scene // the same twice: for wide screens, and for narrow ones
	Facts    []cell
	Backends []backendRow
	Rest     int // backends that are not shown
}

type backendRow struct {
	Place, State, Level string
	For                 string // how long it has been down or draining
	Role                string // weight, backup, in use
	Active, Total       uint64
	ToTarget, ToClient  string
	Reason              string
}

func newDetail(w *way, facts ...cell) *detail {
	facts = slices.DeleteFunc(facts, func(c cell) bool { return c.Text == "" })
	return &detail{Way: w, Pictures: []scene{wide(w), tall(w)}, Facts: facts}
}

func relayDetail(r *control.Relay, now time.Time) *detail {
	d := newDetail(relayWay(r),
		cell{"From", cmp.Or(strings.Join(r.From, ", "), "anyone who reaches the address")},
		cell{"Source towards backends", strings.Join(r.SNAT, ", ")},
		cell{"Leaves by", r.Egress},
		cell{"Balance", r.Balance},
		cell{"Without an answer", some(r.Connections.Unreplied)},
		cell{"Refused by a backend", some(r.Connections.Refused)},
		volumeCell(r.Bytes, r.Packets),
		portsCell(r.Ports),
	)
	known := words.HealthKnown(r.Backends)
	backends := slices.Clone(r.Backends)
	if d.Rest = len(backends) - backendsShown; d.Rest > 0 {
		slices.SortStableFunc(backends, func(x, y control.Backend) int { return cmp.Compare(words.Wellness(&x), words.Wellness(&y)) })
		backends = backends[:backendsShown]
	}
	d.Rest = max(0, d.Rest)
	for i := range backends {
		d.Backends = append(d.Backends, newBackendRow(&backends[i], known, now))
	}
	if len(d.Backends) == 1 {
		d.Backends[0].Reason = "" // it stands with the relay, see words.RelayNotes
	}
	return d
}

func newBackendRow(b *control.Backend, known bool, now time.Time) backendRow {
	state := b.State
	if state == control.BackendUnknown && !known {
		state = "not checked"
	}
	return backendRow{
		Place: words.Place(b), State: state, Level: level(b.State), For: words.Since(b, now),
		Role:   strings.Join(nonempty(words.Weight(b.Weight), words.Role(b)), ", "),
		Active: b.Active, Total: b.Total, Reason: b.Reason,
		ToTarget: words.Size(b.Bytes.ToTarget), ToClient: words.Size(b.Bytes.ToClient),
	}
}

func gatewayDetail(g *control.Gateway) *detail {
	return newDetail(gatewayWay(g),
		cell{"From", strings.Join(g.From, ", ")},
		cell{"To", strings.Join(g.To, ", ")},
		cell{"Source", strings.Join(g.SNAT, ", ")},
		cell{"Leaves by", g.Egress},
		cell{"Without an answer", some(g.Connections.Unreplied)},
		volumeCell(g.Bytes, g.Packets),
	)
}

func staticDetail(s *control.Static) *detail {
	return newDetail(staticWay(s),
		cell{"From", cmp.Or(strings.Join(s.From, ", "), "anyone who reaches the addresses")},
		cell{"Source", strings.Join(s.SNAT, ", ")},
		cell{"Without an answer", some(s.Connections.Unreplied)},
		volumeCell(s.Bytes, s.Packets),
	)
}

func volumeCell(bytes, packets control.Volume) cell {
	return cell{"Volume", fmt.Sprintf("%s in %s there, %s in %s back",
		words.Size(bytes.ToTarget), packetsText(packets.ToTarget), words.Size(bytes.ToClient), packetsText(packets.ToClient))}
}

func packetsText(n uint64) string {
	if n == 1 {
		return "1 packet"
	}
	return fmt.Sprintf("%d packets", n)
}

func portsCell(p *control.PortUse) cell {
	if p == nil {
		return cell{}
	}
	return cell{"Source ports", fmt.Sprintf("%d of %d taken from %s to %s", p.Used, p.Max, p.Source, p.Target)}
}

// some is a count that is worth a word.
func some(n uint64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

func nonempty(texts ...string) []string {
	return slices.DeleteFunc(texts, func(text string) bool { return text == "" })
}
