package nat

import (
	"fmt"
	"net/netip"
	"slices"
)

// Protocol is a transport protocol by its IP protocol number.
// Source: IANA "Assigned Internet Protocol Numbers".
type Protocol uint8

// The protocols that a relay can carry.
const (
	TCP Protocol = 6
	UDP Protocol = 17
)

// String names the protocol as nft and the configuration do.
func (p Protocol) String() string {
	switch p {
	case TCP:
		return "tcp"
	case UDP:
		return "udp"
	}
	return fmt.Sprintf("%d", uint8(p))
}

// PortRange is the ports from First to Last, both included. A single port has First == Last.
type PortRange struct {
	First, Last uint16
}

// Width is the number of ports in the range.
func (r PortRange) Width() int { return int(r.Last) - int(r.First) + 1 }

// Contains tells whether the port lies in the range.
func (r PortRange) Contains(port uint16) bool { return r.First <= port && port <= r.Last }

// Overlaps tells whether the two ranges share a port.
func (r PortRange) Overlaps(o PortRange) bool { return r.First <= o.Last && o.First <= r.Last }

// String is "80" or "8000-8099".
func (r PortRange) String() string {
	if r.First == r.Last {
		return fmt.Sprintf("%d", r.First)
	}
	return fmt.Sprintf("%d-%d", r.First, r.Last)
}

// Listen is what clients dial: an address of the host, or every local address, and its ports.
type Listen struct {
	Addr  netip.Addr // the zero Addr stands for every local address
	Ports PortRange
}

// Any tells whether the relay listens on every local address.
func (l Listen) Any() bool { return !l.Addr.IsValid() }

// String is ADDR:PORTS, or :PORTS for every local address.
func (l Listen) String() string { return hostPorts(l.Addr, l.Ports) }

// Backend is where a relay's connections go. Its Ports are as wide as those of the Listen: the n-th
// port that clients dial becomes the n-th port here.
type Backend struct {
	Addr  netip.Addr
	Ports PortRange
}

// String is ADDR:PORTS.
func (b Backend) String() string { return hostPorts(b.Addr, b.Ports) }

func hostPorts(a netip.Addr, r PortRange) string {
	switch {
	case !a.IsValid():
		return ":" + r.String()
	case a.Is6():
		return "[" + a.String() + "]:" + r.String()
	}
	return a.String() + ":" + r.String()
}

// SNATMode is how the source address towards the backend is chosen.
type SNATMode uint8

// The ways to choose the source address.
const (
	SNATAuto  SNATMode = iota // the address the host itself would use towards the backend
	SNATFixed                 // SNAT.Addr
	SNATOff                   // the client's address stays
)

// SNAT is the source translation of a relay.
type SNAT struct {
	Mode SNATMode
	Addr netip.Addr // for SNATFixed
}

// OnChange is what happens to established connections to a backend that left the relay.
type OnChange uint8

// The answers to a backend that left.
const (
	Drain OnChange = iota // TCP connections end by themselves; datagrams go to the new backend at once
	Close                 // they are cut
)

// Relay is one DNAT + SNAT relay as the configuration asks for it.
type Relay struct {
	Name          string
	Listen        Listen
	Protocols     []Protocol     // at least one, each once, ascending
	From          []netip.Prefix // sources that may use it; empty = every source
	Backend       Backend
	SNAT          SNAT
	Egress        string // the interface towards the backend; "" = what the route says
	OnChange      OnChange
	Log           bool
	Enabled       bool
	OverrideLocal bool // may take a port that a local service listens on
}

// Admits tells whether the source may use the relay.
func (r *Relay) Admits(src netip.Addr) bool {
	if len(r.From) == 0 {
		return true
	}
	for _, p := range r.From {
		if p.Contains(src) {
			return true
		}
	}
	return false
}

// Carries tells whether the relay carries the protocol.
func (r *Relay) Carries(p Protocol) bool {
	return slices.Contains(r.Protocols, p)
}

// Target is the backend port that a listen port becomes.
func (r *Relay) Target(listenPort uint16) netip.AddrPort {
	return netip.AddrPortFrom(r.Backend.Addr, r.Backend.Ports.First+(listenPort-r.Listen.Ports.First))
}

// Forwarding is the policy for packets that are forwarded but belong to nothing that natd relays.
type Forwarding uint8

// The forwarding policies.
const (
	ForwardStrict Forwarding = iota // dropped
	ForwardOpen                     // left to other tables and the routes
)

// Protect is how the table is held against other programs.
type Protect uint8

// The ways to protect the table. See the package documentation.
const (
	ProtectAuto  Protect = iota // own where the kernel can, else guard, else off
	ProtectOwn                  // owner + persist on the table (Linux 6.9)
	ProtectGuard                // a second, owned table keeps the NAT hooks (Linux 5.12)
	ProtectOff
)

// String is the word the configuration uses.
func (p Protect) String() string {
	return [...]string{"auto", "own", "guard", "off"}[p]
}

// Spec is all the NAT that is wanted, free of anything that depends on the state of the host.
type Spec struct {
	Forwarding Forwarding
	Relays     []Relay
}
