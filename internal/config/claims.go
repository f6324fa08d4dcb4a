package config

import (
	"fmt"
	"hash/maphash"
	"iter"
	"net/netip"
	"slices"

	"natd/nat"
)

// endpoint is one port that a relay takes: on an address; under the unspecified address of a family, on every local one of the family;
// under the loopback address, on whatever address of the family.
type endpoint struct {
	addr     [16]byte
	protocol nat.Protocol
	port     uint16
}

func endpointOf(addr netip.Addr, protocol nat.Protocol, port int) endpoint {
	return endpoint{addr.As16(), protocol, uint16(port)}
}

func whatever(f families) netip.Addr {
	if f == ipv4 {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return netip.IPv6Loopback()
}

// takenBy tells whether the relay takes the endpoint.
func (e endpoint) takenBy(r *nat.Relay) bool {
	if !r.Listen.Ports.Contains(e.port) || !r.Carries(e.protocol) {
		return false
	}
	if !r.Listen.Any() && r.Listen.Addr.As16() == e.addr {
		return true
	}
	for f := range served(r).each() {
		if whatever(f).As16() == e.addr || r.Listen.Any() && everywhere(f).Addr().As16() == e.addr {
			return true
		}
	}
	return false
}

// claims finds the first relay that takes an endpoint.
type claims struct {
	relays []nat.Relay
	seed   maphash.Seed
	index  index
	anyone bool // listens on every local address: else nobody asks for whatever address
}

func newClaims(relays []nat.Relay, anyone bool) *claims {
	c := &claims{relays: relays, seed: maphash.MakeSeed(), anyone: anyone}
	ports := 0
	for i := range relays {
		if r := &relays[i]; isListening(r) {
			ports += r.Listen.Ports.Width() * len(r.Protocols) * served(r).count()
		}
	}
	if c.anyone {
		ports *= 2
	}
	c.index = newIndex(ports)
	return c
}

// listensAnywhere tells whether one of the relays listens on every local address.
func listensAnywhere(relays []nat.Relay) bool {
	return slices.ContainsFunc(relays, func(r nat.Relay) bool { return isListening(&r) && r.Listen.Any() })
}

// add claims the ports of the i-th relay. When an earlier relay has one of them, it returns that relay and the ports
// that both want.
func (c *claims) add(i int) (other int, ports string, clashes bool) {
	r := &c.relays[i]
	if !isListening(r) {
		return 0, "", false
	}
	for f, e := range taken(r) {
		j, found := c.claim(e, i)
		if c.anyone && (!found || j == i) {
			j, found = c.holder(e.rival(r, f))
			c.claim(e.at(whatever(f)), i)
		}
		if found && !clashes && j != i {
			other, ports, clashes = j, shared(e.protocol, r.Listen.Ports, c.relays[j].Listen.Ports), true
		}
	}
	return other, ports, clashes
}

// taken is the endpoints that the relay takes.
func taken(r *nat.Relay) iter.Seq2[families, endpoint] {
	return func(yield func(families, endpoint) bool) {
		for f := range served(r).each() {
			addr := r.Listen.Addr
			if r.Listen.Any() {
				addr = everywhere(f).Addr()
			}
			for _, protocol := range r.Protocols {
				for port := int(r.Listen.Ports.First); port <= int(r.Listen.Ports.Last); port++ {
					if !yield(f, endpointOf(addr, protocol, port)) {
						return
					}
				}
			}
		}
	}
}

// at is the same port on another address.
func (e endpoint) at(addr netip.Addr) endpoint { return endpoint{addr.As16(), e.protocol, e.port} }

// rival is what stands in the way of the relay that takes the endpoint, besides the same: for one on an address that on every local address, and
// the other way about.
func (e endpoint) rival(r *nat.Relay, f families) endpoint {
	if r.Listen.Any() {
		return e.at(whatever(f))
	}
	return e.at(everywhere(f).Addr())
}

// claim notes that the i-th relay takes the endpoint, unless an earlier one does, which it returns.
func (c *claims) claim(e endpoint, i int) (first int, taken bool) {
	return c.index.put(maphash.Comparable(c.seed, e), i, func(j int) bool { return e.takenBy(&c.relays[j]) })
}

// holder returns the first relay that has claimed the endpoint.
func (c *claims) holder(e endpoint) (i int, found bool) {
	return c.index.get(maphash.Comparable(c.seed, e), func(j int) bool { return e.takenBy(&c.relays[j]) })
}

// target returns the first backend that is where a relay listens, and that relay. A listen on every local address says nothing
// here: which addresses are local is for the host to tell.
func (c *claims) target(r *nat.Relay) (backend, relay int, loops bool) {
	for i, e := range led(r) {
		if j, found := c.holder(e); found {
			return i, j, true
		}
	}
	return 0, 0, false
}

// led is the endpoints that the relay leads to, as far as they have an address, each with the number of the backend.
func led(r *nat.Relay) iter.Seq2[int, endpoint] {
	return func(yield func(int, endpoint) bool) {
		for i := range r.Backends {
			b := &r.Backends[i]
			if !b.Addr.IsValid() {
				continue
			}
			for _, protocol := range r.Protocols {
				for port := int(b.Ports.First); port <= int(b.Ports.Last); port++ {
					if !yield(i, endpointOf(b.Addr, protocol, port)) {
						return
					}
				}
			}
		}
	}
}

// shared names the ports that both ranges have.
func shared(protocol nat.Protocol, a, b nat.PortRange) string {
	both := nat.PortRange{First: max(a.First, b.First), Last: min(a.Last, b.Last)}
	if both.Width() == 1 {
		return fmt.Sprintf("%s port %s is", protocol, both)
	}
	return fmt.Sprintf("%s ports %s are", protocol, both)
}
