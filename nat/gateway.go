package nat

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// Kinds of the sets of gateways: from and to. Those with an egress have sets for each interface: nft has no registers for
// two IPv6 addresses and the name of an interface in one key.
const (
	setGateways   = "gateways"
	setMasquerade = "masquerade" // that leave with the address of the interface
	setGatePools  = "gatepools"  // -> the chain that chooses one of several source addresses
)

// kindGateway is in front of a gateway's name in the comments of its elements, kindStatic of a static's. A name has no
// space, so that a relay's comment, its name alone, is none of them.
const (
	kindGateway = "gateway "
	kindStatic  = "static "
)

// intervals is the set of that name, with keys of intervals.
func (b *builder) intervals(name string, key, data []Field) *Set {
	s := b.set(name, key, data)
	s.Interval = true
	return s
}

// interval is the first and the last value of a field of an interval.
type interval struct{ first, last []byte }

// intervalKey is the key of all values between the firsts and the lasts of the fields.
func intervalKey(spans ...interval) Key {
	var first, last []byte
	for _, s := range spans {
		first, last = append(first, s.first...), append(last, s.last...)
	}
	return Key(append(first, last...))
}

// network is the addresses of the prefix.
func network(p netip.Prefix) interval {
	first := p.Masked().Addr().AsSlice()
	last := slices.Clone(first)
	for bit := p.Bits(); bit < 8*len(last); bit++ {
		last[bit/8] |= 0x80 >> (bit % 8)
	}
	return interval{first, last}
}

// networkValue is a network as the value of a map.
func networkValue(p netip.Prefix) Value {
	s := network(p)
	return Value(append(s.first, s.last...))
}

// gateway adds a gateway; pool is the source addresses, unless it is that of the interface.
func (b *builder) gateway(g *Gateway, pool []netip.Addr) {
	for i, f := range b.families {
		prefix := func(p netip.Prefix) netip.Addr { return p.Addr() }
		addrs := ofFamily(pool, i, func(a netip.Addr) netip.Addr { return a })
		if g.SNAT.Mode == SNATFixed && len(addrs) == 0 {
			continue // nothing that it could go out with
		}
		for _, from := range ofFamily(g.From, i, prefix) {
			for _, to := range ofFamily(g.To, i, prefix) {
				b.gatewayPair(f, g, addrs, network(from), network(to))
			}
		}
	}
}

// gatewayPair adds what goes from one network to another.
func (b *builder) gatewayPair(f *familyUse, g *Gateway, addrs []netip.Addr, pair ...interval) {
	comment := kindGateway + g.Name
	f.used, f.egresses[g.Egress] = true, true
	b.intervals(f.gatewayName(setGateways, g.Egress), f.pair, nil).add(intervalKey(pair...), "", comment)
	if g.SNAT.Mode == SNATFixed {
		s := b.intervals(f.gatewayName(setGatePools, g.Egress), f.pair, []Field{chainField()})
		s.Counter = true
		s.add(intervalKey(pair...), b.pool(f, setGatePool, g.Name, comment, addrs), comment)
		return
	}
	s := b.intervals(f.gatewayName(setMasquerade, g.Egress), f.pair, nil)
	s.Counter = true
	s.add(intervalKey(pair...), "", comment)
}

// gatewayName is the name of the set of a kind for one interface, with what nft takes in no name as hexadecimal number.
func (f family) gatewayName(kind, egress string) string {
	if egress == "" {
		return f.name(kind)
	}
	var which strings.Builder
	for _, c := range []byte(egress) {
		if c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' || c == '-' || c == '.' {
			which.WriteByte(c)
		} else {
			fmt.Fprintf(&which, "_%02x", c)
		}
	}
	return f.nameOf(kind, which.String())
}

// eachEgress calls each with the interfaces that gateways name, and what matches packets that leave by it.
func (f *familyUse) eachEgress(each func(egress string, match part)) {
	for _, egress := range slices.Sorted(maps.Keys(f.egresses)) {
		match := part{}
		if egress != "" {
			match = leavingBy(egress)
		}
		each(egress, match)
	}
}

// gatewayForward lets connections out. Their first segment is not translated yet, so that it is clamped here.
func (b *builder) gatewayForward(f *familyUse) (rules []Rule) {
	f.eachEgress(func(egress string, leaving part) {
		set := f.gatewayName(setGateways, egress)
		rules = slices.Concat(rules, b.opening(f, set, "gateways", join(leaving, f.is(), key(f.ipSaddr(), f.ipDaddr()), in(set))))
	})
	return rules
}

// opening accepts connections that match, and clamps their first segment. None leads to services that are this host's own.
func (b *builder) opening(f *familyUse, set, what string, match part) []Rule {
	return slices.Concat(
		b.ruleFor(set, "services that "+what+" leave to this host", ctNew(), match, f.toOwnServices(), b.refuseSilently()),
		b.ruleFor(set, "segment size of "+what, ctNew(), match, tcpSyn(), mssOfRoutes()),
		b.ruleFor(set, "new connections of "+what, ctNew(), match, accept()))
}

// gatewaySNAT gives connections a source address of the host. A relay's and a static's have one already, or keep theirs.
func (b *builder) gatewaySNAT(f *familyUse) (rules []Rule) {
	pair := []operand{f.ipSaddr(), f.ipDaddr()}
	f.eachEgress(func(egress string, leaving part) {
		set, pools := f.gatewayName(setMasquerade, egress), f.gatewayName(setGatePools, egress)
		rules = slices.Concat(rules,
			b.ruleFor(set, "gateways", ctNotDNAT(), leaving, f.is(), key(pair...), in(set), masquerade()),
			b.ruleFor(pools, "gateways with a pool", ctNotDNAT(), leaving, f.is(), goBy(pools, key(pair...))))
	})
	return rules
}
