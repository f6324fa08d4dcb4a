package trace

import (
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// End is one side of the connections to watch.
type End struct {
	Addr        netip.Addr // the zero Addr for any
	Proto       Protocol   // TCP, UDP or SCTP
	First, Last uint16     // the ports; both 0 for any
}

// holds tells whether an address and port are the end's.
func (e End) holds(proto Protocol, a netip.AddrPort) bool {
	return proto == e.Proto && e.holdsAddr(a.Addr()) && (e.anyPort() || a.Port() >= e.First && a.Port() <= e.Last)
}

func (e End) holdsAddr(a netip.Addr) bool { return !e.Addr.IsValid() || e.Addr == a }

func (e End) anyPort() bool { return e.First == 0 && e.Last == 0 }

// Filter says which packets to watch: those from and to the Ends, and ICMP errors about them.
type Filter struct {
	Ends      []End
	Openings  bool // of TCP only the packets with SYN, FIN or RST: few, however busy the host is
	Elsewhere bool // also what opens or refuses connections anywhere: so that a wrong translation is seen
}

// passes is the filter as a whole. What the kernel runs lets more through: it does not look at addresses, nor into errors and fragments.
func (f Filter) passes(p Packet) bool {
	if f.Elsewhere && slices.ContainsFunc(f.Ends, func(e End) bool { return p.elsewhere(e.Proto) }) {
		return true
	}
	if f.Openings && p.Proto == TCP && !p.Fragment && p.Flags&(SYN|FIN|RST) == 0 {
		return false
	}
	return slices.ContainsFunc(f.Ends, func(e End) bool {
		switch {
		case p.Fragment || p.Truncated:
			return p.Proto == e.Proto && (e.holdsAddr(p.Src.Addr()) || e.holdsAddr(p.Dst.Addr()))
		case p.Quoted.Proto != 0:
			return e.holds(p.Quoted.Proto, p.Quoted.Src) || e.holds(p.Quoted.Proto, p.Quoted.Dst)
		}
		return e.holds(p.Proto, p.Src) || e.holds(p.Proto, p.Dst)
	})
}

// elsewhere tells whether the packet may be one of a connection of a protocol that was sent somewhere else: of TCP what opens or refuses
// one, of the others, which do not tell, all that leaves; and all errors.
func (p Packet) elsewhere(proto Protocol) bool {
	switch {
	case p.Fragment || p.Truncated:
		return false
	case p.Quoted.Proto != 0:
		return p.Quoted.Proto == proto
	case proto == TCP:
		return p.Proto == TCP && p.Flags&(SYN|RST) != 0
	}
	return p.Proto == proto && p.Outgoing
}

// snapshot is how much of a packet is captured, in bytes: the longest IPv4 or a usual IPv6 header, that of an ICMP error and of what it
// quotes.
const snapshot = 256

// maxRanges bounds the ranges of ports in the kernel's filter, which has room for 4096 instructions (BPF_MAXINSNS in
// linux/bpf_common.h): two families of three protocols, twice three instructions for each range. With more, it lets all ports pass.
const maxRanges = 64

// packetOutgoing is the type of a packet that leaves (PACKET_OUTGOING in linux/if_packet.h).
const packetOutgoing = 4

type program []bpf.Instruction

// assemble makes the kernel's filter. It runs on packets from their IP header on.
func (f Filter) assemble() ([]unix.SockFilter, error) {
	p := program{bpf.LoadAbsolute{Off: 0, Size: 1}, bpf.ALUOpConstant{Op: bpf.ALUOpShiftRight, Val: 4}}
	p = p.when(4, append(program{
		bpf.LoadAbsolute{Off: 6, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpBitsNotSet, Val: 0x1fff, SkipTrue: 1}, // a fragment has no ports
		pass(),
		bpf.LoadMemShift{Off: 0},
		bpf.LoadAbsolute{Off: 9, Size: 1},
	}, f.protocols(ICMP, 3, 11, 12)...))
	p = p.when(6, append(program{
		bpf.LoadConstant{Dst: bpf.RegX, Val: 40},
		bpf.LoadAbsolute{Off: 6, Size: 1},
	}, f.protocols(ICMPv6, 1, 2, 3, 4)...))
	// A VLAN's tag that the interface has left in the packet, which then begins with neither 4 nor 6.
	p = append(p, bpf.LoadExtension{Num: bpf.ExtProto})
	p = p.when(unix.ETH_P_8021Q, program{pass()}).when(unix.ETH_P_8021AD, program{pass()})
	raw, err := bpf.Assemble(append(p, drop()))
	if err != nil {
		return nil, fmt.Errorf("assembling the packet filter: %w", err)
	}
	filter := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		filter[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	return filter, nil
}

func pass() bpf.Instruction { return bpf.RetConstant{Val: snapshot} }

func drop() bpf.Instruction { return bpf.RetConstant{Val: 0} }

// when appends what is done when the accumulator has a value. The jump over it may be longer than a condition's.
func (p program) when(value uint32, do program) program {
	p = append(p, bpf.JumpIf{Cond: bpf.JumpEqual, Val: value, SkipTrue: 1}, bpf.Jump{Skip: uint32(len(do))})
	return append(p, do...)
}

// protocols decides by the protocol in the accumulator. X is where the payload begins.
func (f Filter) protocols(errors Protocol, types ...uint32) (p program) {
	for _, proto := range []Protocol{TCP, UDP, SCTP} {
		if slices.ContainsFunc(f.Ends, func(e End) bool { return e.Proto == proto }) {
			p = p.when(uint32(proto), f.ports(proto))
		}
	}
	reports := program{bpf.LoadIndirect{Off: 0, Size: 1}}
	for _, t := range types {
		reports = reports.when(t, program{pass()})
	}
	p = p.when(uint32(errors), append(reports, drop()))
	if errors == ICMPv6 {
		for _, extension := range []uint32{extHopByHop, extRouting, extFragment, extAuth, extDestination, extMobility, extHIP, extShim6} {
			p = p.when(extension, program{pass()})
		}
	}
	return append(p, drop())
}

// ports decides by flags and ports.
func (f Filter) ports(proto Protocol) (p program) {
	const flags = 13
	switch {
	case f.Elsewhere && proto == TCP:
		p = append(p, bpf.LoadIndirect{Off: flags, Size: 1},
			bpf.JumpIf{Cond: bpf.JumpBitsNotSet, Val: uint32(SYN | RST), SkipTrue: 1}, pass())
	case f.Elsewhere:
		p = append(p, bpf.LoadExtension{Num: bpf.ExtType}).when(packetOutgoing, program{pass()})
	}
	if f.Openings && proto == TCP {
		p = append(p, bpf.LoadIndirect{Off: flags, Size: 1},
			bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: uint32(SYN | FIN | RST), SkipTrue: 1}, drop())
	}
	ranges := f.ranges(proto)
	if len(ranges) == 0 {
		return append(p, pass())
	}
	for _, offset := range []uint32{0, 2} {
		p = append(p, bpf.LoadIndirect{Off: offset, Size: 2})
		for _, r := range ranges {
			p = append(p, bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: uint32(r[0]), SkipFalse: 2},
				bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: uint32(r[1]), SkipTrue: 1}, pass())
		}
	}
	return append(p, drop())
}

// ranges are the ports of a protocol, each range once. None stands for all.
func (f Filter) ranges(proto Protocol) (ranges [][2]uint16) {
	for _, e := range f.Ends {
		r := [2]uint16{e.First, e.Last}
		switch {
		case e.Proto != proto || slices.Contains(ranges, r):
		case e.anyPort() || len(ranges) == maxRanges:
			return nil
		default:
			ranges = append(ranges, r)
		}
	}
	return ranges
}
