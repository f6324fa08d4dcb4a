package flow

import (
	"encoding/binary"
	"net/netip"

	"natd/internal/nfnl"
	"natd/nat"
)

// Attribute numbers: enum ctattr_type and its relatives in linux/netfilter/nfnetlink_conntrack.h.
const (
	ctaTupleOrig     = 1
	ctaTupleReply    = 2
	ctaStatus        = 3
	ctaProtoInfo     = 4
	ctaTimeout       = 7
	ctaCountersOrig  = 9
	ctaCountersReply = 10
	ctaID            = 12
	ctaZone          = 18

	ctaTupleIP    = 1
	ctaTupleProto = 2
	ctaIPv4Src    = 1
	ctaIPv4Dst    = 2
	ctaProtoNum   = 1
	ctaProtoSrc   = 2
	ctaProtoDst   = 3

	ctaProtoInfoTCP      = 1
	ctaProtoInfoTCPState = 1

	ctaCountersPackets = 1
	ctaCountersBytes   = 2
)

// Bits of an entry's status: enum ip_conntrack_status in linux/netfilter/nf_conntrack_common.h.
const (
	statusSeenReply = 1 << 1
	statusAssured   = 1 << 2
	statusDstNAT    = 1 << 5
)

// Tuple is one direction of a connection.
type Tuple struct {
	Src, Dst netip.AddrPort
}

// Volume is what went in one direction. It is zero unless net.netfilter.nf_conntrack_acct was on when the connection began.
type Volume struct {
	Packets, Bytes uint64
}

// Entry is one tracked connection. Orig is what the client sent before any translation, Reply what the answers look
// like before they are translated back: its Src is the real target and its Dst the real source address.
type Entry struct {
	Proto       nat.Protocol
	Orig, Reply Tuple
	Timeout     uint32 // seconds until it is forgotten, if nothing comes
	ToTarget    Volume
	ToClient    Volume

	status   uint32
	tcpState uint8
	id       []byte // as the kernel wrote it: it tells this connection from a later one with the same tuple
	zone     []byte
}

// Listen is what the client dialled.
func (e *Entry) Listen() nat.Endpoint {
	return nat.Endpoint{Addr: e.Orig.Dst.Addr(), Proto: e.Proto, Port: e.Orig.Dst.Port()}
}

// Translated tells whether the destination was translated.
func (e *Entry) Translated() bool { return e.status&statusDstNAT != 0 }

// Replied tells whether the target has answered.
func (e *Entry) Replied() bool { return e.status&statusSeenReply != 0 }

// Assured tells whether the connection was established: the handshake of TCP was completed, or datagrams have gone back
// and forth.
func (e *Entry) Assured() bool { return e.status&statusAssured != 0 }

// Over tells whether the connection has ended and is only remembered, so that late packets find their way: TCP's
// TIME_WAIT and CLOSE (enum tcp_conntrack). Datagrams never say that they are the last.
func (e *Entry) Over() bool {
	const timeWait, closed = 7, 8
	return e.Proto == nat.TCP && (e.tcpState == timeWait || e.tcpState == closed)
}

// State is the state as `conntrack -L` has it: that of TCP (enum tcp_conntrack), else whether there was a reply.
func (e *Entry) State() string {
	states := [...]string{
		"NONE", "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT", "CLOSE", "SYN_SENT2",
	}
	switch {
	case e.Proto == nat.TCP && int(e.tcpState) < len(states):
		return states[e.tcpState]
	case e.Replied():
		return "REPLIED"
	}
	return "UNREPLIED"
}

// decodeEntry reads an entry from the attributes of a message; false when it is none of IPv4 TCP or UDP.
func decodeEntry(attrs []byte, e *Entry) bool {
	*e = Entry{id: e.id[:0], zone: e.zone[:0]}
	for typ, b := range nfnl.Attrs(attrs) {
		switch typ {
		case ctaTupleOrig:
			e.Orig, e.Proto = decodeTuple(b)
		case ctaTupleReply:
			e.Reply, _ = decodeTuple(b)
		case ctaStatus:
			e.status = nfnl.Uint32(b)
		case ctaTimeout:
			e.Timeout = nfnl.Uint32(b)
		case ctaProtoInfo:
			if state := nfnl.Attr(nfnl.Attr(b, ctaProtoInfoTCP), ctaProtoInfoTCPState); len(state) == 1 {
				e.tcpState = state[0]
			}
		case ctaCountersOrig:
			e.ToTarget = decodeVolume(b)
		case ctaCountersReply:
			e.ToClient = decodeVolume(b)
		case ctaID:
			e.id = append(e.id, b...)
		case ctaZone:
			e.zone = append(e.zone, b...)
		}
	}
	known := e.Proto == nat.TCP || e.Proto == nat.UDP
	return known && e.Orig.Dst.IsValid() && e.Reply.Src.IsValid()
}

func decodeTuple(b []byte) (t Tuple, proto nat.Protocol) {
	ip, l4 := nfnl.Attr(b, ctaTupleIP), nfnl.Attr(b, ctaTupleProto)
	if num := nfnl.Attr(l4, ctaProtoNum); len(num) == 1 {
		proto = nat.Protocol(num[0])
	}
	src, okSrc := netip.AddrFromSlice(nfnl.Attr(ip, ctaIPv4Src))
	dst, okDst := netip.AddrFromSlice(nfnl.Attr(ip, ctaIPv4Dst))
	if !okSrc || !okDst {
		return Tuple{}, proto
	}
	return Tuple{
		Src: netip.AddrPortFrom(src, nfnl.Uint16(nfnl.Attr(l4, ctaProtoSrc))),
		Dst: netip.AddrPortFrom(dst, nfnl.Uint16(nfnl.Attr(l4, ctaProtoDst))),
	}, proto
}

func decodeVolume(b []byte) Volume {
	return Volume{
		Packets: nfnl.Uint64(nfnl.Attr(b, ctaCountersPackets)),
		Bytes:   nfnl.Uint64(nfnl.Attr(b, ctaCountersBytes)),
	}
}

// encodeTuple writes the original tuple, by which the kernel finds the entry.
func encodeTuple(b *nfnl.Builder, e *Entry) {
	tuple := b.Nest(ctaTupleOrig)
	ip := b.Nest(ctaTupleIP)
	b.Bytes(ctaIPv4Src, e.Orig.Src.Addr().AsSlice())
	b.Bytes(ctaIPv4Dst, e.Orig.Dst.Addr().AsSlice())
	b.Unnest(ip)
	l4 := b.Nest(ctaTupleProto)
	b.Uint8(ctaProtoNum, uint8(e.Proto))
	b.Bytes(ctaProtoSrc, binary.BigEndian.AppendUint16(nil, e.Orig.Src.Port()))
	b.Bytes(ctaProtoDst, binary.BigEndian.AppendUint16(nil, e.Orig.Dst.Port()))
	b.Unnest(l4)
	b.Unnest(tuple)
}
