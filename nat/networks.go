package nat

import (
	"net/netip"
)

// Networks is what the gateways and statics in the table translate, by the networks that first packets go between. To is what
// the destination becomes; it is zero where only the source is translated.
type Networks struct {
	Src, Dst, To netip.Prefix
}

// Networks is what the gateways and statics in the table translate.
func (r *Ruleset) Networks() (all []Networks) {
	for i := range r.Sets {
		s := &r.Sets[i]
		kind := kindOf(s.Name)
		if kind != setGateways && kind != setStaticFrom && kind != setStatic {
			continue
		}
		for j := range s.Elements {
			if n, ok := s.networks(&s.Elements[j]); ok {
				all = append(all, n)
			}
		}
	}
	return all
}

// networks reads an element back: the first addresses of both networks, perhaps an interface, and the last ones.
func (s *Set) networks(e *Element) (n Networks, ok bool) {
	size := s.Key[0].size
	half := len(e.Key) / 2
	if half < 2*size {
		return n, false
	}
	if n.Src, ok = prefixOf(string(e.Key[:size]), string(e.Key[half:half+size])); !ok {
		return n, false
	}
	if n.Dst, ok = prefixOf(string(e.Key[size:2*size]), string(e.Key[half+size:half+2*size])); !ok || e.Value == "" {
		return n, ok
	}
	half = len(e.Value) / 2
	n.To, ok = prefixOf(string(e.Value[:half]), string(e.Value[half:]))
	return n, ok
}

// prefixOf is the network between two addresses; false when they are not its first and last.
func prefixOf(first, last string) (netip.Prefix, bool) {
	bits := 8 * len(first)
	for i := range first {
		if diff := first[i] ^ last[i]; diff != 0 {
			bits = 8 * i
			for mask := byte(0x80); diff&mask == 0; mask >>= 1 {
				bits++
			}
			break
		}
	}
	addr, ok := netip.AddrFromSlice([]byte(first))
	if !ok {
		return netip.Prefix{}, false
	}
	p := netip.PrefixFrom(addr, bits)
	return p, string(network(p).first) == first && string(network(p).last) == last
}
