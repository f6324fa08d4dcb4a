package config

import (
	"fmt"
	"net/netip"
	"slices"

	"natd/nat"
)

// checkGateways refuses gateways that would translate the same connections. Two that leave by different interfaces never do.
func checkGateways(gateways []nat.Gateway, in *written) {
	const named = "*" // all gateways with an egress; no interface has that name
	var all []region
	for i := range gateways {
		g := &gateways[i]
		r := region{owner: i, holds: []string{""}, against: []string{"", named}}
		if g.Egress != "" {
			r.holds, r.against = []string{g.Egress, named}, []string{g.Egress, ""}
		}
		for _, from := range g.From {
			for _, to := range g.To {
				r.box = box{from, to}
				all = append(all, r)
			}
		}
	}
	blameOverlaps(in.gateways, all, "from", "%s to %s overlaps with %s to %s of %s: a connection can be translated one way only; narrow from or to, or name a different egress in each")
}

// checkStatics refuses statics that would translate the same packets, on their way in or out, and those that take the address of a relay.
func checkStatics(spec *nat.Spec, in *written) {
	var external, internal []region
	for i := range spec.Statics {
		s := &spec.Statics[i]
		if !s.External.IsValid() || !s.Internal.IsValid() {
			continue
		}
		from := s.From
		if len(from) == 0 {
			from = []netip.Prefix{everywhere(familyOf(s.External.Addr()))}
		}
		r := region{owner: i, holds: []string{""}, against: []string{""}}
		for _, p := range from {
			r.box = box{s.External, p}
			external = append(external, r)
			r.box = box{s.Internal, p}
			internal = append(internal, r)
		}
	}
	blameOverlaps(in.statics, external, "external", "%s for clients from %s overlaps with %s from %s of %s: an address can become one other only; use other addresses, or give each clients of its own in from")
	blameOverlaps(in.statics, internal, "internal", "%s towards %s overlaps with %s towards %s of %s: a host has one external address only; give each clients of its own in from")
	checkStaticListens(spec, in)
}

// blameOverlaps blames the later of two tables for the first overlap that it has. The rule has verbs for its networks, those of the
// earlier one, and the place of that.
func blameOverlaps(tables tables, all []region, key, rule string) {
	blamed := make(map[int]bool)
	eachOverlap(all, func(later, earlier *region) {
		if later.owner < earlier.owner {
			later, earlier = earlier, later
		}
		if !blamed[later.owner] {
			blamed[later.owner] = true
			place := tables(earlier.owner).place()
			tables(later.owner).fail(key, fmt.Sprintf(rule, later.box[0], later.box[1], earlier.box[0], earlier.box[1], place))
		}
	})
}

// checkStaticListens refuses a relay on an address that a static takes whole.
func checkStaticListens(spec *nat.Spec, in *written) {
	owners := make(map[netip.Prefix]int)
	var lengths []int
	for i := range spec.Statics {
		p := spec.Statics[i].External
		if _, taken := owners[p]; !taken && p.IsValid() {
			owners[p] = i
			lengths = append(lengths, p.Bits())
		}
	}
	slices.Sort(lengths)
	lengths = slices.Compact(lengths)
	for i := range spec.Relays {
		addr := spec.Relays[i].Listen.Addr
		if !addr.IsValid() {
			continue
		}
		for _, p := range cuts(netip.PrefixFrom(addr, addr.BitLen()), lengths) {
			if j, taken := owners[p]; taken {
				in.relays(i).fail("listen", fmt.Sprintf("%s is external of %s, which takes every port: use another address", addr, in.statics(j).place()))
			}
		}
	}
}
