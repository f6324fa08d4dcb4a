package flow

import (
	"cmp"
	"net/netip"

	"natd/nat"
)

// SourcePorts is how many connections one source address can have to one address and port: the ports from 1024 to 65535.
// A client's port below 1024 is replaced by one below 1024 (nf_nat_l4proto_unique_tuple in net/netfilter/nf_nat_core.c,
// after the classes of RFC 4787, section 4.2.1).
const SourcePorts = 65535 - 1024 + 1

// Ports is the source ports that connections to one address and port of a backend take of one source address. All relays,
// gateways and statics that send there from that address share them.
type Ports struct {
	Proto  nat.Protocol
	Source netip.Addr
	Target netip.AddrPort
}

// PortUse counts how many source ports are in use. The zero value is ready for use, and takes memory for each Ports and
// each owner that it has met, not for each connection.
type PortUse struct {
	used   map[Ports]int
	owners map[ownedPorts]struct{}
}

type ownedPorts struct {
	owner Owner
	ports Ports
}

// Add counts a connection of the owner. One that keeps the client's address takes no port.
func (u *PortUse) Add(owner Owner, e *Entry) {
	if e.status&statusSrcNAT == 0 || e.Reply.Dst.Port() < 1024 {
		return
	}
	if u.used == nil {
		u.used, u.owners = make(map[Ports]int), make(map[ownedPorts]struct{})
	}
	p := Ports{e.Proto, e.Reply.Dst.Addr(), e.Reply.Src}
	u.used[p]++
	u.owners[ownedPorts{owner, p}] = struct{}{}
}

// Worst is, for each owner that was counted, the Ports of which most are in use, and how many those are of
// SourcePorts.
func (u *PortUse) Worst() map[Owner]Use {
	worst := make(map[Owner]Use)
	for o := range u.owners {
		if use := (Use{o.ports, u.used[o.ports]}); use.compare(worst[o.owner]) > 0 {
			worst[o.owner] = use
		}
	}
	return worst
}

// Use is how many of the Ports are in use.
type Use struct {
	Ports
	Used int
}

// compare orders by how many are in use, and among equals so that the answer is the same every time.
func (u Use) compare(o Use) int {
	return cmp.Or(cmp.Compare(u.Used, o.Used), u.Source.Compare(o.Source), u.Target.Compare(o.Target), cmp.Compare(u.Proto, o.Proto))
}
