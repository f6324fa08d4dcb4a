package trace

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"natd/internal/icmp"
)

// Protocol is an IP protocol number (IANA, "Protocol Numbers").
type Protocol uint8

// The protocols that are read further than their addresses.
const (
	ICMP   Protocol = unix.IPPROTO_ICMP
	TCP    Protocol = unix.IPPROTO_TCP
	UDP    Protocol = unix.IPPROTO_UDP
	ICMPv6 Protocol = unix.IPPROTO_ICMPV6
	SCTP   Protocol = unix.IPPROTO_SCTP
)

// String is "tcp".
func (p Protocol) String() string {
	switch p {
	case ICMP:
		return "icmp"
	case TCP:
		return "tcp"
	case UDP:
		return "udp"
	case ICMPv6:
		return "icmp6"
	case SCTP:
		return "sctp"
	}
	return fmt.Sprintf("proto %d", uint8(p))
}

// Flags are those of TCP (RFC 9293, 3.1).
type Flags uint8

// The flags.
const (
	FIN Flags = 1 << iota
	SYN
	RST
	PSH
	ACK
)

// String is as tcpdump prints them, such as "S." for a SYN-ACK.
func (f Flags) String() string {
	var b strings.Builder
	for i, letter := range "FSRP.UEW" {
		if f&(1<<i) != 0 {
			b.WriteRune(letter)
		}
	}
	if b.Len() == 0 {
		return "none"
	}
	return b.String()
}

// Tuple is who speaks to whom. What has no ports has zero ones.
type Tuple struct {
	Proto    Protocol
	Src, Dst netip.AddrPort
}

// String is "10.1.0.100.54012 > 10.2.0.100.80", as tcpdump prints it.
func (t Tuple) String() string { return dotted(t.Src) + " > " + dotted(t.Dst) }

func dotted(a netip.AddrPort) string {
	if a.Port() == 0 {
		return a.Addr().String()
	}
	return fmt.Sprintf("%v.%d", a.Addr(), a.Port())
}

// Packet is one packet, or several that the kernel has put together (generic receive offload): then its size exceeds any MTU.
type Packet struct {
	Time     time.Time
	Device   string // the interface
	Index    int    // its index
	Outgoing bool
	VLAN     uint16 // the identifier of its VLAN; 0 for none

	Tuple
	Size      int    // of the IP packet, in bytes
	Length    int    // of the payload of TCP or UDP, and of the chunks of SCTP, in bytes
	Fragment  bool   // a fragment, and not the first: it has no ports
	Truncated bool   // there was less of it than its headers need: it has no ports, flags or quotation
	Flags     Flags  // of TCP, as are the next two
	Seq, Ack  uint32 // absolute
	Digest    uint64 // of the payload's beginning: what is left of it when ports have changed. Not of TCP

	ICMP   icmp.Message // of ICMP
	MTU    int          // of an error that says that a packet was too big
	Quoted Tuple        // what an ICMP error is about; its Proto is 0 when that is not there
}

// Opens tells whether the packet is one that a client begins with: a SYN, an INIT of SCTP, or any datagram of UDP.
func (p Packet) Opens() bool {
	switch {
	case p.Fragment || p.Truncated:
		return false
	case p.Proto == TCP:
		return p.Flags&(SYN|ACK|RST) == SYN
	case p.Proto == SCTP:
		return p.Seq == sctpInit
	}
	return p.Proto == UDP
}

// String is the packet as "tcpdump -i any -nn -S" prints it, but for what is of no use here.
func (p Packet) String() string {
	way, family := "In ", "IP"
	if p.Outgoing {
		way = "Out"
	}
	if p.Src.Addr().Is6() {
		family = "IP6"
	}
	return fmt.Sprintf("%s %s %s %s %v: %s", p.Time.Format("15:04:05.000000"), p.Device, way, family, p.Tuple, p.content())
}

func (p Packet) content() string {
	switch {
	case p.Fragment:
		return fmt.Sprintf("%v fragment, size %d", p.Proto, p.Size)
	case p.Truncated:
		return fmt.Sprintf("[|%v]", p.Proto)
	case p.Proto == TCP:
		return fmt.Sprintf("Flags [%v], %slength %d", p.Flags, p.numbers(), p.Length)
	case p.Proto == UDP:
		return fmt.Sprintf("UDP, length %d", p.Length)
	case p.Quoted.Proto != 0:
		return fmt.Sprintf("%s %v, about %v %v", strings.ToUpper(p.Proto.String()), p.ICMP, p.Quoted, p.Quoted.Proto)
	case p.Proto == ICMP || p.Proto == ICMPv6:
		return fmt.Sprintf("%s %v", strings.ToUpper(p.Proto.String()), p.ICMP)
	}
	return fmt.Sprintf("%v, size %d", p.Proto, p.Size)
}

// numbers are the sequence numbers that say something, as tcpdump chooses them.
func (p Packet) numbers() string {
	s := ""
	switch {
	case p.Length > 0:
		s = fmt.Sprintf("seq %d:%d, ", p.Seq, p.Seq+uint32(p.Length))
	case p.Flags&(SYN|FIN|RST) != 0:
		s = fmt.Sprintf("seq %d, ", p.Seq)
	}
	if p.Flags&ACK != 0 {
		s += fmt.Sprintf("ack %d, ", p.Ack)
	}
	return s
}
