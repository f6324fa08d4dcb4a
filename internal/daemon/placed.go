package daemon

import (
	"fmt"
	"net/netip"
	"slices"

	"natd/nat"
)

// placed is what this host makes of everything in the configuration, and the facts that it follows from.
type placed struct {
	facts      *facts
	spec       *nat.Spec
	relays     []place
	placements []nat.Placement // of the relays
	gateways   []spot
	statics    []spot
	fast       fast

	news *news // once somebody has asked
}

// news is what there is to say of everything that was placed.
type news struct{ served, wrong []string }

// told is what there is to say of everything. A pass that changes nothing says it, too: it is put together once.
func (p *placed) told() *news {
	if p.news == nil {
		p.news = &news{p.served(), shortfalls(p)}
	}
	return p.news
}

// placeOn decides about everything. refused holds the reasons why relays and statics, by name, may not take what they want.
func placeOn(f *facts, spec *nat.Spec, refused map[string]string) *placed {
	return new(placed).anew(f, spec, refused)
}

// anew is placeOn, and takes over what was decided before about relays of which nothing has changed.
func (p *placed) anew(f *facts, spec *nat.Spec, refused map[string]string) *placed {
	next := &placed{
		facts: f, spec: spec, relays: make([]place, len(spec.Relays)), placements: make([]nat.Placement, len(spec.Relays)),
		gateways: f.placeGateways(spec), statics: f.placeStatics(spec, refused),
	}
	all := placing{facts: f, local: f.local(), left: maxAnswered, spread: maxSpread, refused: refused}
	former := counterparts(p.spec, spec)
	for i := range spec.Relays {
		one := &next.relays[i]
		if j := former(i); p.facts == f && j >= 0 && all.stays(&p.relays[j], &p.spec.Relays[j], &spec.Relays[i]) {
			*one, next.placements[i] = p.relays[j], *p.relays[j].Placement
			one.Placement = &next.placements[i]
			continue
		}
		one.Placement = &next.placements[i]
		all.place(&spec.Relays[i], one)
	}
	next.fast = f.placeFast(spec, next)
	return next
}

// stays tells whether the place of a relay is what it was, with the same facts. A relay is the same if it has its backends in
// the same memory: that is made for one relay, and never changed.
func (f *placing) stays(p *place, before, now *nat.Relay) bool {
	if _, refused := f.refused[now.Name]; refused || !p.fixed || &before.Backends[0] != &now.Backends[0] {
		return false
	}
	return !slices.ContainsFunc(p.backends, func(b backend) bool {
		_, drained := f.live.drained(now.Name, b.conf, b.addr)
		return drained
	})
}

// same tells whether two decisions agree in all that is done about them, and in their reasons.
func (p *placed) same(o *placed) bool {
	samePlace := func(a, b place) bool { return a.same(&b) }
	sameSpot := func(a, b spot) bool { return a.same(&b) }
	return p.facts.answered == o.facts.answered && p.fast.same(&o.fast) && slices.EqualFunc(p.relays, o.relays, samePlace) &&
		slices.EqualFunc(p.gateways, o.gateways, sameSpot) && slices.EqualFunc(p.statics, o.statics, sameSpot)
}

// all is the part of it that the ruleset is built from.
func (p *placed) all() *nat.Placements {
	return &nat.Placements{
		Relays: p.placements, Gateways: spotPlacements(p.gateways), Statics: spotPlacements(p.statics),
		Answered: p.facts.answered, FastLinks: p.fast.names(),
	}
}

// presumes tells whether the health of a backend is what it was before natd started, for want of a later word.
func (p *placed) presumes() bool {
	return slices.ContainsFunc(p.relays, func(p place) bool {
		return slices.ContainsFunc(p.backends, func(b backend) bool { return b.found().presumed })
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
