package firewall

import (
	"golang.org/x/sys/unix"

	"natd/internal/nfnl"
)

// payload loads bytes of a header, or writes them.
type payload struct {
	base, offset, size uint32
	dest, source       uint32
	write              bool
}

func decodePayload(b []byte) expression {
	return &payload{
		base:   nfnl.Uint32(nfnl.Attr(b, unix.NFTA_PAYLOAD_BASE)),
		offset: nfnl.Uint32(nfnl.Attr(b, unix.NFTA_PAYLOAD_OFFSET)),
		size:   nfnl.Uint32(nfnl.Attr(b, unix.NFTA_PAYLOAD_LEN)),
		dest:   nfnl.Uint32(nfnl.Attr(b, unix.NFTA_PAYLOAD_DREG)),
		source: nfnl.Uint32(nfnl.Attr(b, unix.NFTA_PAYLOAD_SREG)),
		write:  nfnl.Attr(b, unix.NFTA_PAYLOAD_SREG) != nil,
	}
}

// span is where in the state the bytes are. What is behind the headers that every packet has is not there.
func (l *payload) span(m *machine) (span, bool) {
	var header span
	switch l.base {
	case unix.NFT_PAYLOAD_NETWORK_HEADER:
		header = networkSpan()
		if !m.packet.is6() {
			header.n = 20
		}
	case unix.NFT_PAYLOAD_TRANSPORT_HEADER:
		header = transportSpan()
		header.n = transportLen(m.packet.Proto)
	}
	if uint64(l.offset)+uint64(l.size) > uint64(header.n) {
		return span{}, false
	}
	return span{header.at + int(l.offset), int(l.size)}, true
}

// transportLen is the length in bytes of the smallest header of the protocol.
func transportLen(proto uint8) int {
	switch proto {
	case unix.IPPROTO_TCP:
		return 20
	case unix.IPPROTO_SCTP:
		return 12
	case unix.IPPROTO_UDP, unix.IPPROTO_UDPLITE, unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6:
		return 8
	}
	return 0
}

func (l *payload) eval(m *machine) tri {
	where, ok := l.span(m)
	switch {
	case l.write && ok:
		m.change(where, m.regs.load(l.source, where.n))
		return yes
	case l.write:
		return maybe
	case !ok:
		m.regs.store(l.dest, unknown(int(min(l.size, 64))))
		return maybe
	}
	m.regs.store(l.dest, m.state.get(where))
	return yes
}

// source is an expression that loads something that is known only by chance, or not at all.
type source struct {
	dest   uint32
	size   int
	result tri // whether there always is such a thing
	words  operand
}

func (s *source) eval(m *machine) tri {
	m.regs.store(s.dest, unknown(s.size))
	return s.result
}

func (s *source) text(p *printer) { p.set(s.dest, s.words) }

// decodeNumgen reads numgen and hash, which give some number always. Both have the register first.
func decodeNumgen(name string, b []byte) expression {
	attr := uint16(unix.NFTA_NG_DREG)
	if name == "hash" {
		attr = unix.NFTA_HASH_DREG
	}
	return &source{nfnl.Uint32(nfnl.Attr(b, attr)), 4, yes, operand{words: name}}
}

// decodeUnseen reads loads of what this package never knows: routes, sockets, IPsec, tunnels.
func decodeUnseen(name string, b []byte) expression {
	attr := map[string]uint16{"rt": unix.NFTA_RT_DREG, "socket": 2, "xfrm": 1, "tunnel": 2, "osf": 1}[name]
	return &source{nfnl.Uint32(nfnl.Attr(b, attr)), 16, maybe, operand{words: name}}
}

// decodeExthdr reads a load of an extension header or a TCP option. Whether one is there is always answered.
func decodeExthdr(b []byte) expression {
	const presence = 1 // NFT_EXTHDR_F_PRESENT
	dest := nfnl.Attr(b, unix.NFTA_EXTHDR_DREG)
	if dest == nil {
		return &plain{maybe, "exthdr set"} // it writes, or takes away, what may not be there
	}
	size, result := int(min(nfnl.Uint32(nfnl.Attr(b, unix.NFTA_EXTHDR_LEN)), 64)), maybe
	if nfnl.Uint32(nfnl.Attr(b, unix.NFTA_EXTHDR_FLAGS))&presence != 0 {
		size, result = 1, yes
	}
	return &source{nfnl.Uint32(dest), size, result, operand{words: "exthdr"}}
}
