package firewall

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// Hook is a place in the kernel where chains look at packets.
type Hook string

// The hooks, in the order of a packet that is forwarded; Input and Output are the host's own traffic's.
const (
	Ingress     Hook = "ingress" // of a device, before everything
	Prerouting  Hook = "prerouting"
	Input       Hook = "input"
	Forward     Hook = "forward"
	Output      Hook = "output"
	Postrouting Hook = "postrouting"
	Egress      Hook = "egress" // of a device, behind everything
)

// CTState is what connection tracking says of a packet. The zero value is: not known.
type CTState string

// The states.
const (
	New         CTState = "new" // the first packet of its connection
	Established CTState = "established"
	Related     CTState = "related"
	Invalid     CTState = "invalid"
	Untracked   CTState = "untracked"
)

// Status bits of a connection (enum ip_conntrack_status of linux/netfilter/nf_conntrack_common.h).
const (
	StatusSNAT uint32 = 1 << 4
	StatusDNAT uint32 = 1 << 5
)

// Flags in byte 13 of the TCP header (RFC 9293, section 3.1).
const (
	FlagSYN uint8 = 0x02
	FlagRST uint8 = 0x04
	FlagACK uint8 = 0x10
)

// Tuple is the addresses of a packet, or of a direction of a connection.
type Tuple struct {
	Src, Dst netip.AddrPort
}

// Packet is a packet as it comes to a hook. What is zero is not known, unless the field says otherwise.
type Packet struct {
	Hook                Hook
	InDevice, OutDevice string // names; "" is none where the hook has none
	Proto               uint8  // of IANA: 6 is TCP
	Src, Dst            netip.AddrPort
	After               Tuple // Src and Dst behind natd's own translation at this hook; zero = natd does not translate it here
	Original, Answer    Tuple // of the connection: as its first packet was, and as answers to it are
	CTState             CTState
	Reply               bool    // it is an answer; false is known, too
	CTStatus            uint32  // StatusSNAT and StatusDNAT: 0 is known, too
	TCPFlags            uint8   // 0 = SYN for a packet that is New
	ICMPType            uint8   // of ICMP, with ICMPCode
	ICMPCode            uint8   //
	Mark                *uint32 // nil = 0 on the wire side of the host, else not known
	Back                string  // the device by which the host sends to Src, for reverse path checks
}

// is6 tells the packet's family.
func (p *Packet) is6() bool { return p.Src.Addr().Is6() || p.Dst.Addr().Is6() }

// family is nft's name of it.
func (p *Packet) family() string {
	if p.is6() {
		return "ip6"
	}
	return "ip"
}

// flags are the TCP flags, and whether they are known.
func (p *Packet) flags() (uint8, bool) {
	if p.TCPFlags == 0 && p.CTState == New {
		return FlagSYN, true
	}
	return p.TCPFlags, p.TCPFlags != 0
}

// plain tells whether the packet's connection is without a translation: its tuples then follow from each other.
func (p *Packet) plain() bool { return p.CTStatus == 0 && p.After == Tuple{} && p.CTState != Related }

// original is the connection's first tuple, as far as it is known.
func (p *Packet) original() Tuple {
	switch {
	case p.Original != Tuple{} || !p.plain():
		return p.Original
	case p.Reply:
		return Tuple{p.Dst, p.Src}
	}
	return Tuple{p.Src, p.Dst}
}

// answer is the tuple of answers, as far as it is known.
func (p *Packet) answer() Tuple {
	if p.Answer != (Tuple{}) || !p.plain() {
		return p.Answer
	}
	o := p.original()
	return Tuple{o.Dst, o.Src}
}

// isICMP tells ICMP of either family.
func (p *Packet) isICMP() bool { return p.Proto == unix.IPPROTO_ICMP || p.Proto == unix.IPPROTO_ICMPV6 }
