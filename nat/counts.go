package nat

import (
	"net/netip"
	"strings"
)

// Totals is how many connections the kernel has let through since the table was made, by the name of the relay, gateway
// or static.
type Totals struct {
	Relays, Gateways, Statics map[string]uint64
}

// Connections counts the connections of each relay, gateway and static that had any.
func (r *Ruleset) Connections() Totals {
	t := Totals{make(map[string]uint64), make(map[string]uint64), make(map[string]uint64)}
	r.counted(func(kind string, e *Element) {
		name, isGateway := strings.CutPrefix(e.Comment, kindGateway)
		name, isStatic := strings.CutPrefix(name, kindStatic)
		switch {
		case kind == setRefused || e.Packets() == 0:
		case isGateway:
			t.Gateways[name] += e.Packets()
		case isStatic:
			t.Statics[name] += e.Packets()
		default:
			t.Relays[name] += e.Packets()
		}
	})
	return t
}

// TargetConnections counts the connections to each target of each relay, also where there were none, by the relay's name.
func (r *Ruleset) TargetConnections() map[string]map[netip.AddrPort]uint64 {
	total := make(map[string]map[netip.AddrPort]uint64)
	r.EachTarget(func(relay string, target netip.AddrPort, connections uint64) {
		if total[relay] == nil {
			total[relay] = make(map[netip.AddrPort]uint64)
		}
		total[relay][target] += connections
	})
	return total
}

// EachTarget tells how many connections were led to a target of a relay by one element, of which there may be several.
func (r *Ruleset) EachTarget(each func(relay string, target netip.AddrPort, connections uint64)) {
	r.counted(func(kind string, e *Element) {
		if kind == setRelays || kind == setTurns {
			each(e.Comment, e.Value.addrPort(), e.Packets())
		}
	})
}

// Idle is the targets of relays that take no new connections, by the relay's name.
func (r *Ruleset) Idle() map[string]map[netip.AddrPort]bool {
	idle := make(map[string]map[netip.AddrPort]bool)
	r.counted(func(kind string, e *Element) {
		if kind != setTurns || !e.Key.idle() {
			return
		}
		if idle[e.Comment] == nil {
			idle[e.Comment] = make(map[netip.AddrPort]bool)
		}
		idle[e.Comment][e.Value.addrPort()] = true
	})
	return idle
}

// Refusals is how many connections of a relay were refused by each of its limits.
type Refusals struct {
	Connections, Sources, Rate uint64
}

// Refused counts what limits refused, by the relay's name. Relays without a limit are not in it.
func (r *Ruleset) Refused() map[string]Refusals {
	total := make(map[string]Refusals)
	for i := range r.Sets {
		s := &r.Sets[i]
		if kindOf(s.Name) != setRefused {
			continue
		}
		for j := range s.Elements {
			e := &s.Elements[j]
			sum := total[e.Comment]
			switch {
			case strings.HasSuffix(s.Name, limitConnections):
				sum.Connections += e.Packets()
			case strings.HasSuffix(s.Name, limitSources):
				sum.Sources += e.Packets()
			default:
				sum.Rate += e.Packets()
			}
			total[e.Comment] = sum
		}
	}
	return total
}

// counted calls each with every element that has a counter, and the kind of its set.
func (r *Ruleset) counted(each func(kind string, e *Element)) {
	for i := range r.Sets {
		if s := &r.Sets[i]; s.Counter {
			kind := kindOf(s.Name)
			for j := range s.Elements {
				each(kind, &s.Elements[j])
			}
		}
	}
}

// Listens is what the kernel's table listens on.
func (r *Ruleset) Listens() (listens []Endpoint) {
	for _, f := range families() {
		if set := find(r.Sets, f.name(setListens)); set != nil {
			for i := range set.Elements {
				listens = append(listens, set.Elements[i].Listen())
			}
		}
	}
	return listens
}
