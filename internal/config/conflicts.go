package config

import (
	"fmt"
	"net/netip"

	"natd/nat"
)

// maxElements bounds the memory of the kernel and the time of a transaction: twice all ports of two protocols. The kernel holds
// each of them in up to four sets.
const maxElements = 1 << 18

// checkConflicts looks for contradictions between relays. Relays with errors of their own take part as far as they are
// known: what is wrong in them is zero, and claims no name and no port.
func checkConflicts(relays []nat.Relay, tables []table) {
	checkUnique(relays, tables)
	if !checkElements(relays, tables) {
		return // what follows goes port by port
	}
	claims := make(claims, 2*len(relays))
	for i := range relays {
		if other, ports, taken := claims.add(relays, i); taken {
			tables[i].fail("listen", fmt.Sprintf("%s also claimed by %s", ports, tables[other].place()))
		}
	}
	for i := range relays {
		switch target, loops := claims.target(&relays[i]); {
		case loops && target == i:
			tables[i].fail("to", "loop: this is where the relay itself listens")
		case loops:
			tables[i].fail("to", fmt.Sprintf("loop: this is where %s listens; write its backend instead", tables[target].place()))
		}
	}
}

func checkUnique(relays []nat.Relay, tables []table) {
	first := make(map[string]int, len(relays))
	for i := range relays {
		name := relays[i].Name
		if name == "" {
			continue
		}
		if j, taken := first[name]; taken {
			tables[i].fail("name", fmt.Sprintf("must be unique, but is also the name of the relay in line %d", tables[j].lines.line))
			continue
		}
		first[name] = i
	}
}

// checkElements counts elements as the kernel will hold them: one for each port, protocol and source.
func checkElements(relays []nat.Relay, tables []table) bool {
	total := 0
	for i := range relays {
		r := &relays[i]
		if !isListening(r) {
			continue
		}
		total += r.Listen.Ports.Width() * len(r.Protocols) * max(1, len(r.From))
		if total > maxElements {
			tables[i].fail("listen", fmt.Sprintf("ranges cost one kernel element per port, protocol and source: "+
				"the relays up to this one need %d, more than the limit of %d", total, maxElements))
			return false
		}
	}
	return true
}

// isListening tells whether the relay's listen is free of errors.
func isListening(r *nat.Relay) bool { return r.Listen.Ports.First != 0 }

// endpoint is one port that a relay takes. It has no pointer: there may be two million of them, and the garbage collector
// would look at each.
type endpoint struct {
	addr     [16]byte
	protocol nat.Protocol
	port     uint16
}

func endpointOf(addr netip.Addr, protocol nat.Protocol, port int) endpoint {
	return endpoint{addr.As16(), protocol, uint16(port)}
}

// claims holds the first relay that takes a port: on an address; under the zero Addr, on every local address; under the
// unspecified address, on whatever address.
type claims map[endpoint]int32

// add claims the ports of the i-th relay. When an earlier relay has one of them, it returns that relay and the ports
// that both want.
func (c claims) add(relays []nat.Relay, i int) (other int, ports string, taken bool) {
	r := &relays[i]
	if !isListening(r) {
		return 0, "", false
	}
	for _, protocol := range r.Protocols {
		for port := int(r.Listen.Ports.First); port <= int(r.Listen.Ports.Last); port++ {
			here := endpointOf(r.Listen.Addr, protocol, port)
			whatever := endpointOf(netip.IPv4Unspecified(), protocol, port)
			rival := whatever
			if !r.Listen.Any() {
				rival = endpointOf(netip.Addr{}, protocol, port)
			}
			if j, found := c.holder(here, rival); found && !taken {
				other, ports, taken = j, shared(protocol, r.Listen.Ports, relays[j].Listen.Ports), true
			}
			c.claim(here, i)
			c.claim(whatever, i)
		}
	}
	return other, ports, taken
}

func (c claims) claim(at endpoint, i int) {
	if _, taken := c[at]; !taken {
		c[at] = int32(i)
	}
}

// holder returns the relay that has claimed one of the endpoints.
func (c claims) holder(endpoints ...endpoint) (int, bool) {
	for _, at := range endpoints {
		if i, found := c[at]; found {
			return int(i), true
		}
	}
	return 0, false
}

// target returns the relay that listens where the backend is. A listen on every local address says nothing here: which
// addresses are local is for the host to tell.
func (c claims) target(r *nat.Relay) (int, bool) {
	if !r.Backend.Addr.IsValid() {
		return 0, false
	}
	for _, protocol := range r.Protocols {
		for port := int(r.Backend.Ports.First); port <= int(r.Backend.Ports.Last); port++ {
			if i, found := c.holder(endpointOf(r.Backend.Addr, protocol, port)); found {
				return i, true
			}
		}
	}
	return 0, false
}

// shared names the ports that both ranges have.
func shared(protocol nat.Protocol, a, b nat.PortRange) string {
	both := nat.PortRange{First: max(a.First, b.First), Last: min(a.Last, b.Last)}
	if both.Width() == 1 {
		return fmt.Sprintf("%s port %s is", protocol, both)
	}
	return fmt.Sprintf("%s ports %s are", protocol, both)
}
