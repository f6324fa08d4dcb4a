package nat

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
)

// Kinds of the sets of gateways: from and to, and for those with an egress the interface.
const (
	setGateways   = "gateways"
	setMasquerade = "masquerade" // that leave with the address of the interface
	setGatePools  = "gatepools"  // and slot -> source address

	byInterface = "by"
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

// exactly is one interface.
func exactly(iface string) interval {
	name := []byte(iface + strings.Repeat("\x00", max(0, ifaceField().size-len(iface))))
	return interval{name, name}
}

// slotsFor is the slots of the n-th address of so many.
func slotsFor(n, of int) interval {
	edge := func(i int) uint32 { return uint32((i*hashSlots + of - 1) / of) }
	return interval{binary.BigEndian.AppendUint32(nil, edge(n)), binary.BigEndian.AppendUint32(nil, edge(n+1)-1)}
}

// pool deals the slots to the addresses, in order; each gets the same number or one less.
func (b *builder) pool(f *familyUse, name string, fields []Field, counter bool, addrs []netip.Addr, comment string, key ...interval) {
	s := b.intervals(name, append(fields, slotField()), []Field{f.dest})
	s.Counter = counter
	for i, a := range addrs {
		s.add(intervalKey(append(slices.Clip(key), slotsFor(i, len(addrs)))...), addrValue(a), comment)
	}
}

func (b *builder) gateway(g *Gateway) {
	for i, f := range b.families {
		prefix := func(p netip.Prefix) netip.Addr { return p.Addr() }
		addrs := ofFamily(g.SNAT.Addrs, i, func(a netip.Addr) netip.Addr { return a })
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
	fields, name := f.pair(), f.name
	if g.Egress != "" {
		fields, pair = append(fields, ifaceField()), append(pair, exactly(g.Egress))
		name = func(kind string) string { return f.nameOf(kind, byInterface) }
	}
	b.intervals(name(setGateways), fields, nil).add(intervalKey(pair...), "", comment)
	if g.SNAT.Mode == SNATFixed {
		b.pool(f, name(setGatePools), fields, true, addrs, comment, pair...)
		return
	}
	s := b.intervals(name(setMasquerade), fields, nil)
	s.Counter = true
	s.add(intervalKey(pair...), "", comment)
}

// gatewayKeys calls each with the name of the sets of a kind, and the key that they are looked into by: those of gateways
// with an egress last.
func (f *familyUse) gatewayKeys(each func(name func(kind string) string, operands []operand)) {
	pair := []operand{f.ipSaddr(), f.ipDaddr()}
	each(f.name, pair)
	each(func(kind string) string { return f.nameOf(kind, byInterface) }, append(pair, oifname()))
}

// gatewayForward lets connections out. Their first segment is not translated yet, so that it is clamped here.
func (b *builder) gatewayForward(f *familyUse) (rules []Rule) {
	f.gatewayKeys(func(name func(string) string, operands []operand) {
		set := name(setGateways)
		rules = slices.Concat(rules, b.opening(f, set, "gateways", join(key(operands...), in(set))))
	})
	return rules
}

// opening accepts connections that match, and clamps their first segment.
func (b *builder) opening(f *familyUse, set, what string, match part) []Rule {
	return slices.Concat(
		b.ruleFor(set, "segment size of "+what, ctNew(), f.is(), match, tcpSyn(), mssOfRoutes()),
		b.ruleFor(set, "new connections of "+what, ctNew(), f.is(), match, accept()))
}

// gatewaySNAT gives connections a source address of the host. A relay's and a static's have one already, or keep theirs.
func (b *builder) gatewaySNAT(f *familyUse) (rules []Rule) {
	f.gatewayKeys(func(name func(string) string, operands []operand) {
		set, pools := name(setMasquerade), name(setGatePools)
		rules = slices.Concat(rules,
			b.ruleFor(set, "gateways", ctNotDNAT(), f.is(), key(operands...), in(set), masquerade()),
			b.ruleFor(pools, "gateways with a pool", ctNotDNAT(), f.is(),
				f.snatBy(pools, key(append(slices.Clip(operands), f.hashSlot().inNetworkOrder())...))))
	})
	return rules
}
