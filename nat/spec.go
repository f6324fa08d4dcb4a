package nat

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Protocol is a transport protocol by its IP protocol number.
// Source: IANA "Assigned Internet Protocol Numbers".
type Protocol uint8

// The protocols that a relay can carry.
const (
	TCP  Protocol = 6
	UDP  Protocol = 17
	SCTP Protocol = 132
)

// String names the protocol as nft and the configuration do.
func (p Protocol) String() string {
	switch p {
	case TCP:
		return "tcp"
	case UDP:
		return "udp"
	case SCTP:
		return "sctp"
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

// Backend is a place where a relay's connections go. Its Ports are as wide as those of the Listen: the n-th
// port that clients dial becomes the n-th port here.
type Backend struct {
	Addr   netip.Addr
	Name   string // the DNS name that stands for its addresses, in lower case and without the last dot; then Addr is zero
	Ports  PortRange
	Weight int  // its share of the connections, relative to the other backends: 1 to MaxWeight
	Backup bool // takes connections only while every other one is down
}

// MaxWeight is the largest weight of a backend.
const MaxWeight = 256

// String is ADDR:PORTS or NAME:PORTS.
func (b Backend) String() string {
	if b.Name != "" {
		return b.Name + ":" + b.Ports.String()
	}
	return hostPorts(b.Addr, b.Ports)
}

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
	SNATFixed                 // one of SNAT.Addrs, the same for all connections of one client
	SNATOff                   // the client's address stays
)

// SNAT is the source translation of a relay, gateway or static.
type SNAT struct {
	Mode  SNATMode
	Addrs []netip.Addr // for SNATFixed: at least one, each once, at most MaxPool
}

// MaxPool is the most addresses that a pool can have.
const MaxPool = 256

// Balance is how a relay spreads new connections over its backends.
type Balance uint8

// The ways to choose a backend, each in proportion to the weights.
const (
	RoundRobin Balance = iota // in turn
	Random
	Source // the same client, the same backend, as long as that takes connections
)

// String is the word the configuration uses.
func (b Balance) String() string {
	return [...]string{"round-robin", "random", "source"}[b]
}

// Health is how backends are checked: by TCP connections. The zero value is no check.
type Health struct {
	Interval time.Duration // from one check to the next; 0 = no check
	Timeout  time.Duration // a check that takes longer has failed
	Rise     int           // successes in a row that bring a backend back
	Fall     int           // failures in a row that take it out
	Port     uint16        // 0 = the first port of the backend
}

// Checks tells whether there is a check at all.
func (h Health) Checks() bool { return h.Interval > 0 }

// Fail is what becomes of new connections when every backend is down.
type Fail uint8

// The answers to having no backend that is up.
const (
	FailOpen   Fail = iota // they go to the backends all the same
	FailClosed             // they are refused
)

// String is the word the configuration uses.
func (f Fail) String() string {
	return [...]string{"open", "closed"}[f]
}

// MSS is what natd does to the maximum segment size that the two ends of a TCP connection announce.
type MSS struct {
	Off  bool   // it is left as it is
	Size uint16 // lowered to this, in bytes; 0 = to what the routes to both sides can carry
}

// Rate is a limit of new connections for each source; the zero value is no limit.
type Rate struct {
	Count int
	Per   time.Duration // a second, a minute or an hour
}

// String is "100/s", or "" for no limit.
func (r Rate) String() string {
	if r.Count == 0 {
		return ""
	}
	unit := map[time.Duration]string{time.Second: "s", time.Minute: "m", time.Hour: "h"}[r.Per]
	return fmt.Sprintf("%d/%s", r.Count, unit)
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
	Backends      []Backend      // at least one that is no backup
	SNAT          SNAT
	Egress        string // the interface towards the backends; "" = what the route says
	Balance       Balance
	Health        Health
	OnChange      OnChange
	Fail          Fail
	MSS           MSS
	Log           bool
	Enabled       bool
	OverrideLocal bool // may take a port that a local service listens on

	MaxConnections int // open at a time; 0 = no limit
	MaxPerSource   int // the same for each source
	Rate           Rate
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

// Gateway is NAPT for hosts behind this one: what they send out gets an address of this host.
type Gateway struct {
	Name    string
	From    []netip.Prefix // the hosts behind; at least one
	To      []netip.Prefix // where they may go; at least one of each family that From has
	SNAT    SNAT           // SNATAuto is the address of the interface that a connection leaves by; SNATOff does not occur
	Egress  string         // what leaves by another interface is none of the gateway's; "" = every interface
	Enabled bool
}

// Static is 1:1 NAT of an address or a prefix: the host part is kept.
type Static struct {
	Name          string
	External      netip.Prefix   // what clients dial
	Internal      netip.Prefix   // what it becomes, of the same family and length
	From          []netip.Prefix // clients that may use it, and that the hosts inside may reach by it; empty = everyone
	SNAT          SNAT           // of what clients send; what the hosts inside send first gets their External address
	Enabled       bool
	OverrideLocal bool // may take addresses of this host that local services listen on
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
	Gateways   []Gateway
	Statics    []Static

	FastPath       bool // established connections take the kernel's fast path, if the host has it: see Placements.FastLinks
	ReportRefused  bool // what the rules refuse goes to RefusedGroup, too
	ReportRepeated bool // what connection tracking does not count goes to RepeatedGroup, too
}
