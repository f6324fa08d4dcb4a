package nat

import (
	"net/netip"
	"slices"
	"time"
)

// Placements is what the host decides about everything in a Spec: the n-th of each kind is about the n-th in the Spec.
type Placements struct {
	Relays   []Placement
	Gateways []Placement // of which only Held counts, and Addrs: those of its pool that the host has
	Statics  []Placement // likewise

	// FastLinks is the interfaces that the fast path is for, each once; none for no fast path.
	FastLinks []string

	// Answered is how long connection tracking remembers a connection after the first answer, if nothing more comes
	// (net.netfilter.nf_conntrack_tcp_timeout_syn_recv); 0 = not known. Only Spec.ReportRepeated needs it.
	Answered time.Duration
}

// Placement is what the host decides about a relay, gateway or static.
type Placement struct {
	Held    bool         // it is kept out of the kernel
	Addrs   []netip.Addr // the addresses that its Listen stands for, or a pool for
	Targets []Target     // its backends, each address and port once, of the families of Addrs; sorted by neither
}

// Target is a backend as the host, its health and its name's answer have it.
type Target struct {
	Addr    netip.Addr
	Ports   PortRange
	Weight  int          // its share of the new connections; 0 = it takes none
	Closing bool         // takes none, and connections to it are ended
	SNAT    []netip.Addr // source addresses towards it; none = the client's stays
}

// Port is the target's port that a port of the listen becomes.
func (t *Target) Port(listen PortRange, port uint16) uint16 {
	return t.Ports.First + (port - listen.First)
}

// Target is the target that a connection to the listen port was sent to; nil when none of the relay's is there.
func (p *Placement) Target(listen PortRange, port uint16, to netip.AddrPort) *Target {
	i := slices.IndexFunc(p.Targets, func(t Target) bool {
		return t.Addr == to.Addr() && t.Port(listen, port) == to.Port()
	})
	if i < 0 {
		return nil
	}
	return &p.Targets[i]
}
