package nat

import "net/netip"

// Kinds of the maps of pools, slot -> source address: each has its own, and a chain of that name. nft has no registers for
// two IPv6 addresses, a slot and what that is the hash of, hence the two steps.
const (
	setGatePool   = "gatepool"
	setStaticPool = "staticpool"
)

// pool is the source addresses of a gateway or a static.
type pool struct {
	kind, name, comment string
	sizes               map[string]int // by the digit of the family
}

func (p *pool) chain() string { return p.kind + "_" + p.name }

// pool makes the map and the chain, if they are not there yet, and returns the way to the chain.
func (b *builder) pool(f *familyUse, kind, name, comment string, addrs []netip.Addr) Value {
	p := &pool{kind, name, comment, make(map[string]int)}
	if old := b.pools[p.chain()]; old != nil {
		p = old
	}
	b.pools[p.chain()] = p
	if p.sizes[f.digit] == 0 {
		p.sizes[f.digit] = len(addrs)
		s := b.set(f.nameOf(kind, name), []Field{slotField()}, []Field{f.dest})
		for slot, a := range addrs {
			s.add(Key(b.keys.keep(appendSlot(b.buf[:0], slot))), addrValue(a), comment)
		}
	}
	return Value(p.chain())
}

// rules gives every client one of the addresses, always the same.
func (p *pool) rules(b *builder) (rules []Rule) {
	for _, f := range b.families {
		if size := p.sizes[f.digit]; size > 0 {
			rules = append(rules, rule("pool of "+p.comment, f.is(), f.snatBy(f.nameOf(p.kind, p.name), key(f.hashSlot(size)))))
		}
	}
	return rules
}
