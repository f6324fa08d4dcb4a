package config

import (
	"fmt"
	"iter"
	"math/bits"
	"net/netip"

	"natd/nat"
)

// families is a set of address families.
type families uint8

const (
	ipv4 families = 1 << iota
	ipv6
)

// String is the name of a single family.
func (f families) String() string {
	if f == ipv4 {
		return "IPv4"
	}
	return "IPv6"
}

// has tells whether all of the others are in the set.
func (f families) has(other families) bool { return f&other == other }

// each yields the families of the set one by one.
func (f families) each() iter.Seq[families] {
	return func(yield func(families) bool) {
		for _, one := range [...]families{ipv4, ipv6} {
			if f.has(one) && !yield(one) {
				return
			}
		}
	}
}

// count is how many families the set has.
func (f families) count() int { return bits.OnesCount8(uint8(f)) }

func familyOf(a netip.Addr) families {
	if a.Is4() {
		return ipv4
	}
	return ipv6
}

func familiesOfNetworks(list []netip.Prefix) (all families) {
	for _, p := range list {
		all |= familyOf(p.Addr())
	}
	return all
}

func familiesOfAddrs(list []netip.Addr) (all families) {
	for _, a := range list {
		all |= familyOf(a)
	}
	return all
}

// familiesOfBackends returns what the backends have. A name may have both, and so may one that is wrong or missing.
func familiesOfBackends(list []nat.Backend) (all families) {
	if len(list) == 0 {
		return ipv4 | ipv6
	}
	for _, b := range list {
		if !b.Addr.IsValid() {
			return ipv4 | ipv6
		}
		all |= familyOf(b.Addr)
	}
	return all
}

// served returns the families of clients that the relay serves: it never turns one into the other.
func served(r *nat.Relay) families {
	if r.Listen.Addr.IsValid() {
		return familyOf(r.Listen.Addr)
	}
	all := familiesOfBackends(r.Backends)
	if len(r.From) > 0 {
		all &= familiesOfNetworks(r.From)
	}
	return all
}

// checkFamilies refuses what could never take part, because everything else is of the other family.
func (t *table) checkFamilies(r *nat.Relay) {
	if !isListening(r) {
		return
	}
	if r.Listen.Any() {
		t.checkServed(r)
		return
	}
	f := familyOf(r.Listen.Addr)
	for i, b := range r.Backends {
		if b.Addr.IsValid() && familyOf(b.Addr) != f {
			t.failItem("to", i, fmt.Sprintf("%s, but listen is %s: natd does not turn one into the other; "+
				`write an %s backend, or listen = ":%s" to serve both, each with its own`, familyOf(b.Addr), f, f, r.Listen.Ports))
		}
	}
	t.checkFamily("from", f, r.From, "listen")
	t.checkPool(f, f, r.SNAT, "listen")
}

// checkServed is for a relay on every local address, which serves the families that its backends have.
func (t *table) checkServed(r *nat.Relay) {
	have := familiesOfBackends(r.Backends)
	if !t.checkFamily("from", have, r.From, "every backend") {
		return
	}
	var named bool
	for i, b := range r.Backends {
		named = named || !b.Addr.IsValid()
		if b.Addr.IsValid() && len(r.From) > 0 && !familiesOfNetworks(r.From).has(familyOf(b.Addr)) {
			t.failItem("to", i, fmt.Sprintf("%s, but no source in from is: nobody could use this backend", familyOf(b.Addr)))
		}
	}
	need := served(r)
	if named {
		need = 0 // the answers decide
	}
	t.checkPool(have, need, r.SNAT, "every backend")
}

// checkFamily refuses networks of a family that is not possible, for what says so is of the other one.
func (t *table) checkFamily(key string, possible families, list []netip.Prefix, because string) bool {
	for _, p := range list {
		if f := familyOf(p.Addr()); !possible.has(f) {
			t.fail(key, fmt.Sprintf("%q is %s, but %s is %s: write an %s network", p, f, because, possible, possible))
			return false
		}
	}
	return true
}

// checkPool is checkFamily for the source address, of which there must be one in each family that is needed.
func (t *table) checkPool(possible, need families, snat nat.SNAT, because string) {
	if snat.Mode != nat.SNATFixed {
		return
	}
	for _, a := range snat.Addrs {
		if f := familyOf(a); !possible.has(f) {
			t.fail("snat", fmt.Sprintf("%q is %s, but %s is %s: write an %s address", a, f, because, possible, possible))
			return
		}
	}
	for f := range (need &^ familiesOfAddrs(snat.Addrs)).each() {
		t.fail("snat", fmt.Sprintf(`has no %s address, which %s connections need: list one of each family, or write "auto"`, f, f))
	}
}
