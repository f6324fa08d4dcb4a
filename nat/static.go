package nat

import (
	"net/netip"
	"slices"

	"github.com/google/nftables/expr"
)

// Kinds of the sets of statics. Inside is where their Internal networks are, outside the clients in From.
const (
	setStatic      = "static"      // outside and External -> Internal
	setStaticMasq  = "staticmasq"  // outside and External, for those that get the host's address
	setStaticPools = "staticpools" // -> the chain that chooses one of several source addresses
	setStaticIn    = "staticin"    // outside and Internal: what came in
	setStaticOut   = "staticout"   // inside and outside -> External
	setStaticFrom  = "staticfrom"  // inside and outside: what goes out
)

// static adds a static; pool is the source addresses of its clients, unless that is of the interface or their own.
func (b *builder) static(s *Static, pool []netip.Addr) {
	i := familyIndex(s.External.Addr())
	f := b.families[i]
	f.used = true
	clients := ofFamily(s.From, i, func(p netip.Prefix) netip.Addr { return p.Addr() })
	if len(s.From) == 0 {
		clients = []netip.Prefix{netip.PrefixFrom(f.zero(), 0)}
	}
	comment := kindStatic + s.Name
	external, internal := network(s.External), network(s.Internal)
	for _, prefix := range clients {
		from := network(prefix)
		b.networks(f.name(setStatic), f, comment, s.Internal, from, external)
		b.intervals(f.name(setStaticIn), f.pair, nil).add(intervalKey(from, internal), "", comment)
		b.networks(f.name(setStaticOut), f, comment, s.External, internal, from)
		b.intervals(f.name(setStaticFrom), f.pair, nil).add(intervalKey(internal, from), "", comment)
		switch s.SNAT.Mode {
		case SNATAuto:
			b.intervals(f.name(setStaticMasq), f.pair, nil).add(intervalKey(from, external), "", comment)
		case SNATFixed:
			b.intervals(f.name(setStaticPools), f.pair, []Field{chainField()}).
				add(intervalKey(from, external), b.pool(f, setStaticPool, s.Name, comment, pool), comment)
		case SNATOff:
		}
	}
}

// networks adds a pair of networks to a map that has another network for it.
func (b *builder) networks(name string, f *familyUse, comment string, value netip.Prefix, pair ...interval) {
	s := b.intervals(name, f.pair, []Field{f.dest})
	s.setPrefixes()
	s.Counter = true
	s.add(intervalKey(pair...), networkValue(value), comment)
}

// staticDNAT comes after the relays, which are one port each: theirs is the more precise claim.
func (b *builder) staticDNAT(f *familyUse) []Rule {
	set := f.name(setStatic)
	return b.ruleFor(set, "statics", f.is(), f.prefixBy("dnat", expr.NATTypeDestNAT, set, key(f.ipSaddr(), f.ipDaddr())))
}

// staticForward lets through what was translated on its way in, and what the hosts inside open.
func (b *builder) staticForward(f *familyUse) []Rule {
	came, out := f.name(setStaticIn), f.name(setStaticFrom)
	pair := key(f.ipSaddr(), f.ipDaddr())
	return slices.Concat(
		b.ruleFor(came, "new connections to statics", ctNew(), ctDNAT(), f.is(), pair, in(came), accept()),
		b.opening(f, out, "statics", join(f.is(), pair, in(out))))
}

// staticSNAT gives clients a source address of the host, and the hosts inside their external address.
func (b *builder) staticSNAT(f *familyUse) []Rule {
	masq, pools, out := f.name(setStaticMasq), f.name(setStaticPools), f.name(setStaticOut)
	dialled := []operand{f.ipSaddr(), f.ctOriginalDaddr()}
	return slices.Concat(
		b.ruleFor(masq, "clients of statics", f.is(), key(dialled...), in(masq), masquerade()),
		b.ruleFor(pools, "clients of statics with a pool", f.is(), goBy(pools, key(dialled...))),
		b.ruleFor(out, "hosts inside statics", ctNotDNAT(), f.is(),
			f.prefixBy("snat", expr.NATTypeSourceNAT, out, key(f.ipSaddr(), f.ipDaddr()))))
}
