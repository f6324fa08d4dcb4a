package nat

import (
	"cmp"
	"net/netip"
	"slices"
)

// Index finds the enabled relay that claims an endpoint, whether the host can serve it at the moment or not.
type Index struct {
	spans map[claim][]span
	local map[netip.Addr]bool
}

type claim struct {
	addr  netip.Addr // zero for every local address
	proto Protocol
}

type span struct {
	ports PortRange
	relay int // in Spec.Relays
}

// NewIndex indexes the spec for a host with the local addresses.
func NewIndex(spec *Spec, local []netip.Addr) *Index {
	ix := &Index{spans: make(map[claim][]span), local: make(map[netip.Addr]bool, len(local))}
	for _, a := range local {
		ix.local[a] = true
	}
	for i := range spec.Relays {
		r := &spec.Relays[i]
		if !r.Enabled {
			continue
		}
		for _, p := range r.Protocols {
			c := claim{r.Listen.Addr, p}
			ix.spans[c] = append(ix.spans[c], span{r.Listen.Ports, i})
		}
	}
	for _, spans := range ix.spans {
		slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.ports.First, b.ports.First) })
	}
	return ix
}

// Relay is the position in Spec.Relays of the relay that claims the endpoint. A relay that listens on every local
// address claims only local ones.
func (ix *Index) Relay(e Endpoint) (int, bool) {
	if i, ok := ix.lookup(claim{e.Addr, e.Proto}, e.Port); ok {
		return i, true
	}
	if !ix.Local(e.Addr) {
		return 0, false
	}
	return ix.lookup(claim{proto: e.Proto}, e.Port)
}

// Anywhere tells whether a relay on every local address has the port: its claim to an address that the host lost for
// the moment stands.
func (ix *Index) Anywhere(e Endpoint) bool {
	_, ok := ix.lookup(claim{proto: e.Proto}, e.Port)
	return ok
}

// Local tells whether the address is one of the host's.
func (ix *Index) Local(a netip.Addr) bool { return ix.local[a] }

func (ix *Index) lookup(c claim, port uint16) (int, bool) {
	spans := ix.spans[c]
	// Ranges of one claim do not overlap: the last one that begins at or below the port is the only candidate.
	at, found := slices.BinarySearchFunc(spans, port, func(s span, port uint16) int { return cmp.Compare(s.ports.First, port) })
	if !found {
		at--
	}
	if at < 0 || !spans[at].ports.Contains(port) {
		return 0, false
	}
	return spans[at].relay, true
}
