package daemon

import (
	"fmt"
	"slices"
	"strings"

	"natd/internal/control"
	"natd/nat"
)

// backendsNamed is how many backends a reason names one by one.
const backendsNamed = 3

// explainBackends says what is wrong with the backends. What the network is to blame for is told from what the backends
// themselves are.
func (p *place) explainBackends(r *nat.Relay) {
	var unfit, down, drained []string
	fit := 0
	for i := range p.backends {
		b := &p.backends[i]
		if b.fit {
			fit++
		}
		switch {
		case !b.addr.IsValid():
			p.ail("backend %s has no address: %s", b.text(), b.found().why)
		case !b.fit:
			unfit = add(unfit, b.found().why)
		case b.state == control.BackendDown:
			down = append(down, fmt.Sprintf("backend %s is down: %s", b.text(), b.found().why))
		case b.state == control.BackendDraining:
			drained = append(drained, b.text())
		}
		if lacks := b.found().lacks; b.fit && lacks != "" {
			p.note().reasons = add(p.note().reasons, lacks)
		}
	}
	if len(unfit) > 0 {
		p.note().reasons = append(p.note().reasons, first(unfit)...)
	}
	p.explainUnfit(fit)
	if fit == 0 || len(down)+len(drained) < fit {
		if len(down) > 0 {
			p.note().unwell = append(p.note().unwell, first(down)...)
		}
		p.explainFamilies()
		return
	}
	why := outage(r, down, len(drained))
	p.note().down, p.note().unreached = true, why
	p.ail("%s", why)
}

// explainUnfit says where a relay breaks that has no backend to send to.
func (p *place) explainUnfit(fit int) {
	for i := range p.backends {
		switch found := p.backends[i].found(); {
		case fit > 0:
		case found.ours:
			p.note().faults = add(p.note().faults, found.why)
		case p.noted().unreached == "" && found.why != "":
			p.note().unreached = found.why
		}
	}
}

// outage says why no backend of the relay is well, what becomes of new connections, and what a person can undo.
func outage(r *nat.Relay, down []string, drained int) string {
	enable := "natctl enable " + r.Name
	if len(down) == 0 {
		return "every backend is drained, so new connections are refused: " + enable
	}
	every, them, why := "every backend is down", "them", strings.Join(first(down), "; ")
	if drained > 0 {
		every, them = every+" or drained", "those that are down"
		why += fmt.Sprintf("; %d drained: %s", drained, enable)
	}
	if r.Fail == nat.FailOpen {
		return fmt.Sprintf("%s, connections go to %s all the same (fail = \"open\"): %s", every, them, why)
	}
	return fmt.Sprintf("%s, new connections are refused (fail = \"closed\"): %s", every, why)
}

// explainFamilies says which clients are refused where others are served: those of a family all of whose backends are down or
// drained.
func (p *place) explainFamilies() {
	if len(p.backends) < 2 { // the only one takes them
		return
	}
	for _, is4 := range []bool{true, false} {
		fit, taking := 0, 0
		for _, b := range p.ofFamily(is4) {
			if b.fit {
				fit++
			}
			if b.fit && b.weight > 0 {
				taking++
			}
		}
		if fit > 0 && taking == 0 {
			p.ail("no backend takes new connections over %s, so they are refused", familyName(is4))
		}
	}
}

func familyName(is4 bool) string {
	if is4 {
		return "IPv4"
	}
	return "IPv6"
}

// add appends what the list does not have yet.
func add(list []string, text string) []string {
	if slices.Contains(list, text) {
		return list
	}
	return append(list, text)
}

// first shortens a list that nobody would read to its end.
func first(list []string) []string {
	if len(list) <= backendsNamed {
		return list
	}
	return append(slices.Clone(list[:backendsNamed]), fmt.Sprintf("and %d more backends", len(list)-backendsNamed))
}
