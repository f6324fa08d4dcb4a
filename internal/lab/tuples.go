package lab

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Tuple is who spoke to whom: what a translation changes in a packet, without ports.
type Tuple struct {
	Src, Dst netip.Addr
	Proto    string // as in Packet
}

// String is "10.1.0.100 > 10.2.0.100 tcp".
func (t Tuple) String() string { return fmt.Sprintf("%v > %v %s", t.Src, t.Dst, t.Proto) }

// Tuples is who spoke to whom in a capture, each once and in order: by source, destination and protocol. What IPv6 says to its
// neighbours, which no router passes on, is left out.
func Tuples(packets []Packet) []Tuple {
	var tuples []Tuple
	for _, p := range packets {
		if !p.neighbourly() {
			tuples = append(tuples, Tuple{Src: p.Src.Addr(), Dst: p.Dst.Addr(), Proto: p.Proto})
		}
	}
	slices.SortFunc(tuples, func(a, b Tuple) int {
		return cmp.Or(a.Src.Compare(b.Src), a.Dst.Compare(b.Dst), cmp.Compare(a.Proto, b.Proto))
	})
	return slices.Compact(tuples)
}

// neighbourly tells whether the packet is for the link alone: neighbour discovery (RFC 4861) and multicast listeners (RFC 3810).
func (p Packet) neighbourly() bool {
	src, dst := p.Src.Addr(), p.Dst.Addr()
	return src.IsLinkLocalUnicast() || dst.IsLinkLocalUnicast() || dst.IsLinkLocalMulticast() ||
		strings.Contains(p.Line, "ICMP6, neighbor ")
}
