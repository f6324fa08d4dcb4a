package daemon

import (
	"fmt"
	"net/netip"
	"slices"

	"natd/nat"
)

// placed is what this host makes of everything in the configuration, and the facts that it follows from.
type placed struct {
	facts    *facts
	relays   []place
	gateways []spot
	statics  []spot
	fast     fast
}

// placeOn decides about everything. refused holds the reasons why relays and statics, by name, may not take what they want.
func placeOn(f *facts, spec *nat.Spec, refused map[string]string) *placed {
	p := &placed{
		facts: f, relays: f.place(spec, refused), gateways: f.placeGateways(spec), statics: f.placeStatics(spec, refused),
	}
	p.fast = f.placeFast(spec, p)
	return p
}

// same tells whether two decisions agree in all that is done about them, and in their reasons.
func (p *placed) same(o *placed) bool {
	samePlace := func(a, b place) bool { return a.same(&b) }
	sameSpot := func(a, b spot) bool { return a.same(&b) }
	return p.facts.answered == o.facts.answered && p.fast.same(&o.fast) && slices.EqualFunc(p.relays, o.relays, samePlace) &&
		slices.EqualFunc(p.gateways, o.gateways, sameSpot) && slices.EqualFunc(p.statics, o.statics, sameSpot)
}

// placements is the part of it that the ruleset is built from.
func (p *placed) placements() *nat.Placements {
	return &nat.Placements{
		Relays: relayPlacements(p.relays), Gateways: spotPlacements(p.gateways), Statics: spotPlacements(p.statics),
		Answered: p.facts.answered, FastLinks: p.fast.names(),
	}
}

// presumes tells whether the health of a backend is what it was before natd started, for want of a later word.
func (p *placed) presumes() bool {
	return slices.ContainsFunc(p.relays, func(p place) bool {
		return slices.ContainsFunc(p.backends, func(b backend) bool { return b.presumed })
	})
}

// any tells whether something is in the kernel.
func (p *placed) any() bool { return p.anyRelay() || p.anySpot() }

func (p *placed) anyRelay() bool {
	return slices.ContainsFunc(p.relays, func(p place) bool { return !p.Held })
}

func (p *placed) anySpot() bool {
	stands := func(s spot) bool { return !s.Held }
	return slices.ContainsFunc(p.gateways, stands) || slices.ContainsFunc(p.statics, stands)
}

// needs tells whether something that is in the kernel needs the host to forward the family.
func (p *placed) needs(spec *nat.Spec, is4 bool) bool {
	if !is4 && p.facts.noIPv6 != nil {
		return false
	}
	forwards := func(b backend) bool { return b.fit && !b.route.Local && b.addr.Is4() == is4 }
	for i := range p.relays {
		if !p.relays[i].Held && slices.ContainsFunc(p.relays[i].backends, forwards) {
			return true
		}
	}
	for i := range p.gateways {
		of := func(from netip.Prefix) bool { return from.Addr().Is4() == is4 }
		if !p.gateways[i].Held && slices.ContainsFunc(spec.Gateways[i].From, of) {
			return true
		}
	}
	for i := range p.statics {
		if !p.statics[i].Held && spec.Statics[i].External.Addr().Is4() == is4 {
			return true
		}
	}
	return false
}

// served counts what is in the kernel, a line for each kind that there is.
func (p *placed) served() []string {
	standing := func(spots []spot) (n int) {
		for i := range spots {
			if !spots[i].Held {
				n++
			}
		}
		return n
	}
	relays := 0
	for i := range p.relays {
		if !p.relays[i].Held {
			relays++
		}
	}
	lines := []string{fmt.Sprintf("%d of %d relays in the kernel", relays, len(p.relays))}
	if n := len(p.gateways); n > 0 {
		lines = append(lines, fmt.Sprintf("%d of %d gateways", standing(p.gateways), n))
	}
	if n := len(p.statics); n > 0 {
		lines = append(lines, fmt.Sprintf("%d of %d statics", standing(p.statics), n))
	}
	return lines
}
