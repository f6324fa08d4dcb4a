package config

import (
	"fmt"
	"net/netip"

	"natd/nat"
)

// written is the tables of a Spec: the n-th of each kind says what the n-th there is.
type written struct {
	relays, gateways, statics []table
}

// checkConflicts looks for contradictions between tables. Those with errors of their own take part as far as they are
// known: what is wrong in them is zero, and claims nothing.
func checkConflicts(spec *nat.Spec, in *written) {
	checkUnique(spec, in)
	checkValues(spec.Relays, in.relays)
	if !checkElements(spec, in) {
		return // what follows goes port by port, and network by network
	}
	checkListens(spec.Relays, in.relays)
	checkGateways(spec.Gateways, in)
	checkStatics(spec, in)
}

func checkListens(relays []nat.Relay, tables []table) {
	claims := make(claims, 2*len(relays))
	for i := range relays {
		if other, ports, taken := claims.add(relays, i); taken {
			tables[i].fail("listen", fmt.Sprintf("%s also claimed by %s", ports, tables[other].place()))
		}
	}
	for i := range relays {
		switch backend, target, loops := claims.target(&relays[i]); {
		case loops && target == i:
			tables[i].failItem("to", backend, "loop: this is where the relay itself listens")
		case loops:
			tables[i].failItem("to", backend, fmt.Sprintf("loop: this is where %s listens; write its backend instead", tables[target].place()))
		}
	}
}

// checkUnique holds a name for one thing, of whatever kind.
func checkUnique(spec *nat.Spec, in *written) {
	first := make(map[string]*table, len(spec.Relays))
	unique := func(name string, t *table) {
		if name == "" {
			return
		}
		if other, taken := first[name]; taken {
			t.fail("name", fmt.Sprintf("must be unique, but is also the name of the %s in line %d", other.kind, other.lines.line))
			return
		}
		first[name] = t
	}
	for i := range spec.Relays {
		unique(spec.Relays[i].Name, &in.relays[i])
	}
	for i := range spec.Gateways {
		unique(spec.Gateways[i].Name, &in.gateways[i])
	}
	for i := range spec.Statics {
		unique(spec.Statics[i].Name, &in.statics[i])
	}
}

// maxValues is how many different values of a limit the relays can have: each takes a set and a rule in the kernel, of
// which there is to be a fixed number.
const maxValues = 32

func checkValues(relays []nat.Relay, tables []table) {
	connections, perSource, rates := make(map[int]bool), make(map[int]bool), make(map[nat.Rate]bool)
	for i := range relays {
		checkValue(&tables[i], "max_connections", relays[i].MaxConnections, connections)
		checkValue(&tables[i], "max_per_source", relays[i].MaxPerSource, perSource)
		checkValue(&tables[i], "rate", relays[i].Rate, rates)
	}
}

func checkValue[T comparable](t *table, key string, value T, seen map[T]bool) {
	var unlimited T
	if value == unlimited || seen[value] {
		return
	}
	if len(seen) == maxValues {
		t.fail(key, fmt.Sprintf("the relays have %d other values of it already, which is the limit: use one of those", maxValues))
		return
	}
	seen[value] = true
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

// claims holds the first relay that takes a port: on an address; under the unspecified address of a family, on every local one of
// the family; under the loopback address, on whatever address of the family.
type claims map[endpoint]int32

// add claims the ports of the i-th relay. When an earlier relay has one of them, it returns that relay and the ports
// that both want.
func (c claims) add(relays []nat.Relay, i int) (other int, ports string, taken bool) {
	r := &relays[i]
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
				here := endpointOf(addr, protocol, port)
				if j, found := c.holder(here, endpointOf(rival, protocol, port)); found && !taken && j != i {
					other, ports, taken = j, shared(protocol, r.Listen.Ports, relays[j].Listen.Ports), true
				}
				c.claim(here, i)
				c.claim(endpointOf(whatever(f), protocol, port), i)
			}
		}
	}
	return other, ports, taken
}

func whatever(f families) netip.Addr {
	if f == ipv4 {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return netip.IPv6Loopback()
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

// target returns the first backend that is where a relay listens, and that relay. A listen on every local address says nothing
// here: which addresses are local is for the host to tell.
func (c claims) target(r *nat.Relay) (backend, relay int, loops bool) {
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
