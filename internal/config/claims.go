package config

import (
	"fmt"
	"hash/maphash"
	"net/netip"

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

func newClaims(relays []nat.Relay) *claims {
	c := &claims{relays: relays, seed: maphash.MakeSeed()}
	ports := 0
	for i := range relays {
		if r := &relays[i]; isListening(r) {
			ports += r.Listen.Ports.Width() * len(r.Protocols) * served(r).count()
			c.anyone = c.anyone || r.Listen.Any()
		}
	}
	if c.anyone {
		ports *= 2
	}
	c.index = newIndex(ports)
	return c
}

// add claims the ports of the i-th relay. When an earlier relay has one of them, it returns that relay and the ports
// that both want.
func (c *claims) add(i int) (other int, ports string, taken bool) {
	r := &c.relays[i]
	if !isListening(r) {
		return 0, "", false
	}
	for f := range served(r).each() {
		addr, rival := r.Listen.Addr, everywhere(f).Addr()
		if r.Listen.Any() {
			addr, rival = everywhere(f).Addr(), whatever(f)
		}
		for _, protocol := range r.Protocols {
			for port := int(r.Listen.Ports.First); port <= int(r.Listen.Ports.Last); port++ {
				j, found := c.claim(endpointOf(addr, protocol, port), i)
				if c.anyone && (!found || j == i) {
					j, found = c.holder(endpointOf(rival, protocol, port))
					c.claim(endpointOf(whatever(f), protocol, port), i)
				}
				if found && !taken && j != i {
					other, ports, taken = j, shared(protocol, r.Listen.Ports, c.relays[j].Listen.Ports), true
				}
			}
		}
	}
	return other, ports, taken
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
	for i, b := range r.Backends {
		if !b.Addr.IsValid() {
			continue
		}
		for _, protocol := range r.Protocols {
			for port := int(b.Ports.First); port <= int(b.Ports.Last); port++ {
				if j, found := c.holder(endpointOf(b.Addr, protocol, port)); found {
					return i, j, true
				}
			}
		}
	}
	return 0, 0, false
}

// shared names the ports that both ranges have.
func shared(protocol nat.Protocol, a, b nat.PortRange) string {
	both := nat.PortRange{First: max(a.First, b.First), Last: min(a.Last, b.Last)}
	if both.Width() == 1 {
		return fmt.Sprintf("%s port %s is", protocol, both)
	}
	return fmt.Sprintf("%s ports %s are", protocol, both)
}
