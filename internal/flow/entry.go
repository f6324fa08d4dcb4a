package flow

import (
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

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
	ctaTimestamp     = 20

	ctaTupleIP    = 1
	ctaTupleProto = 2
	ctaIPv4Src    = 1
	ctaIPv4Dst    = 2
	ctaIPv6Src    = 3
	ctaIPv6Dst    = 4
	ctaProtoNum   = 1
	ctaProtoSrc   = 2
	ctaProtoDst   = 3

	ctaProtoInfoTCP   = 1
	ctaProtoInfoSCTP  = 3
	ctaProtoInfoState = 1 // CTA_PROTOINFO_TCP_STATE, CTA_PROTOINFO_SCTP_STATE

	ctaCountersPackets = 1
	ctaCountersBytes   = 2

	ctaTimestampStart = 1
	ctaTimestampStop  = 2
)

// Bits of an entry's status: enum ip_conntrack_status in linux/netfilter/nf_conntrack_common.h.
const (
	statusSeenReply = 1 << 1
	statusAssured   = 1 << 2
	statusSrcNAT    = 1 << 4
	statusDstNAT    = 1 << 5
	statusDying     = 1 << 9
	statusOffload   = 1 << 14
)

// Tuple is one direction of a connection. The ports are 0 where the protocol has none.
type Tuple struct {
	Src, Dst netip.AddrPort
}

// Volume is what went in one direction. It is zero unless net.netfilter.nf_conntrack_acct was on when the connection began.
type Volume struct {
	Packets, Bytes uint64
}

// Entry is one tracked connection, of any protocol. Orig is what the client sent before any translation, Reply what the answers look
// like before they are translated back: its Src is the real target and its Dst the real source address.
type Entry struct {
	Proto       nat.Protocol
	Orig, Reply Tuple
	Timeout     uint32 // seconds until it is forgotten, if nothing comes
	ToTarget    Volume
	ToClient    Volume

	began  uint64 // when it was confirmed, in ns since 1970; 0 unless net.netfilter.nf_conntrack_timestamp was on then
	ended  uint64 // likewise, when the kernel forgot it; 0 while it is tracked
	status uint32
	state  uint8  // of TCP and SCTP
	tuple  []byte // Orig as the kernel wrote it: what takes the place of ports differs by protocol
	id     []byte // likewise: it tells this connection from a later one with the same tuple
	zone   []byte
}

// Listen is what the client dialled.
func (e *Entry) Listen() nat.Endpoint {
	return nat.Endpoint{Addr: e.Orig.Dst.Addr(), Proto: e.Proto, Port: e.Orig.Dst.Port()}
}

// Translated tells whether the destination was translated.
func (e *Entry) Translated() bool { return e.status&statusDstNAT != 0 }

// Replied tells whether the target has answered.
func (e *Entry) Replied() bool { return e.status&statusSeenReply != 0 }

// Masqueraded tells whether the source was translated, and the destination was not.
func (e *Entry) Masqueraded() bool { return e.status&(statusSrcNAT|statusDstNAT) == statusSrcNAT }

// Assured tells whether the connection was established: the handshake of TCP or SCTP was completed, or datagrams have gone
// back and forth.
func (e *Entry) Assured() bool { return e.status&statusAssured != 0 }

// Refused tells whether the target refused the connection: it answered the first packet of TCP with a reset, or ended an SCTP
// association that was not yet established. A refusal by ICMP leaves no trace in the entry: it looks like no answer. Some kernels, Linux 5.10 for one, do
// not tell the state of a connection that they forget; that of SCTP has to be known for it.
func (e *Entry) Refused() bool {
	switch {
	case e.ToClient.Packets == 0:
		return false
	case e.Proto == nat.TCP:
		return !e.Replied() && (e.Over() || e.state == 0)
	}
	return e.Over() && !e.Assured()
}

// Fast tells whether the connection has the kernel's fast path. The kernel then tells neither its state nor a timeout: it does not forget it.
func (e *Entry) Fast() bool { return e.status&statusOffload != 0 }

// Dying tells whether the kernel is about to forget the entry: its event has been sent, or will be.
func (e *Entry) Dying() bool { return e.status&statusDying != 0 }

// Began is when the connection began; 1970 when the kernel does not tell.
func (e *Entry) Began() time.Time { return time.Unix(0, int64(e.began)) }

// connects tells whether the protocol has connections, with a beginning and an end.
func (e *Entry) connects() bool { return e.Proto == nat.TCP || e.Proto == nat.SCTP }

// tcpEstablished is TCP_CONNTRACK_ESTABLISHED of enum tcp_conntrack.
const tcpEstablished = 3

// Over tells whether the connection has ended and is only remembered, so that late packets find their way: TCP's
// TIME_WAIT and CLOSE (enum tcp_conntrack), SCTP's CLOSED (enum sctp_conntrack). Datagrams never say that they are the last.
func (e *Entry) Over() bool {
	const tcpTimeWait, tcpClose, sctpClosed = 7, 8, 1
	return e.Proto == nat.TCP && (e.state == tcpTimeWait || e.state == tcpClose) ||
		e.Proto == nat.SCTP && e.state == sctpClosed
}

// State is the state as `conntrack -L` has it: that of TCP or SCTP, else whether there was a reply.
func (e *Entry) State() string {
	switch states := stateNames(e.Proto); {
	case int(e.state) < len(states):
		return states[e.state]
	case e.Replied():
		return "REPLIED"
	}
	return "UNREPLIED"
}

// States are all words that [Entry.State] may say.
func States() []string {
	all := slices.Concat(stateNames(nat.TCP), stateNames(nat.SCTP), []string{"REPLIED", "UNREPLIED"})
	slices.Sort(all)
	return slices.Compact(all)
}

// stateNames is the names of a protocol's states, in the order of enum tcp_conntrack and enum sctp_conntrack.
func stateNames(p nat.Protocol) []string {
	switch p {
	case nat.TCP:
		return []string{
			"NONE", "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT", "CLOSE", "SYN_SENT2",
		}
	case nat.SCTP:
		return []string{
			"NONE", "CLOSED", "COOKIE_WAIT", "COOKIE_ECHOED", "ESTABLISHED", "SHUTDOWN_SENT", "SHUTDOWN_RECD",
			"SHUTDOWN_ACK_SENT", "HEARTBEAT_SENT", "HEARTBEAT_ACKED",
		}
	default:
		return nil
	}
}

// decodeEntry reads an entry from the attributes of a message; false when it is not a connection.
func decodeEntry(attrs []byte, e *Entry) bool {
	*e = Entry{tuple: e.tuple[:0], id: e.id[:0], zone: e.zone[:0]}
	for typ, b := range nfnl.Attrs(attrs) {
		switch typ {
		case ctaTupleOrig:
			e.Orig, e.Proto = decodeTuple(b)
			e.tuple = append(e.tuple[:0], b...)
		case ctaTupleReply:
			e.Reply, _ = decodeTuple(b)
		case ctaStatus:
			e.status = nfnl.Uint32(b)
		case ctaTimeout:
			e.Timeout = nfnl.Uint32(b)
		case ctaProtoInfo:
			e.state = decodeState(b)
		case ctaCountersOrig:
			e.ToTarget = decodeVolume(b)
		case ctaCountersReply:
			e.ToClient = decodeVolume(b)
		case ctaTimestamp:
			e.began, e.ended = nfnl.Uint64(nfnl.Attr(b, ctaTimestampStart)), nfnl.Uint64(nfnl.Attr(b, ctaTimestampStop))
		case ctaID:
			e.id = append(e.id[:0], b...)
		case ctaZone:
			e.zone = append(e.zone[:0], b...)
		}
	}
	if e.Fast() && e.Proto == nat.TCP && e.state == 0 {
		e.state = tcpEstablished // others are not let in (nft_flow_offload_eval in net/netfilter/nft_flow_offload.c)
	}
	return e.Orig.Dst.IsValid() && e.Reply.Src.IsValid()
}

// decodeState reads the state of the protocol that the information is of.
func decodeState(b []byte) uint8 {
	for typ, info := range nfnl.Attrs(b) {
		if typ != ctaProtoInfoTCP && typ != ctaProtoInfoSCTP {
			continue
		}
		if state := nfnl.Attr(info, ctaProtoInfoState); len(state) == 1 {
			return state[0]
		}
	}
	return 0
}

func decodeTuple(b []byte) (t Tuple, proto nat.Protocol) {
	var src, dst netip.Addr
	var ports [2]uint16
	ok := false
	for typ, part := range nfnl.Attrs(b) {
		switch typ {
		case ctaTupleIP:
			src, dst, ok = decodeAddrs(part)
		case ctaTupleProto:
			proto, ports = decodePorts(part)
		}
	}
	if !ok {
		return Tuple{}, proto
	}
	return Tuple{Src: netip.AddrPortFrom(src, ports[0]), Dst: netip.AddrPortFrom(dst, ports[1])}, proto
}

// decodePorts reads the protocol of a tuple, and its ports: 0 where it has none.
func decodePorts(b []byte) (proto nat.Protocol, ports [2]uint16) {
	for typ, value := range nfnl.Attrs(b) {
		switch {
		case typ == ctaProtoNum && len(value) == 1:
			proto = nat.Protocol(value[0])
		case typ == ctaProtoSrc:
			ports[0] = nfnl.Uint16(value)
		case typ == ctaProtoDst:
			ports[1] = nfnl.Uint16(value)
		}
	}
	return proto, ports
}

// decodeAddrs reads the two addresses of a tuple, which are of the same family.
func decodeAddrs(ip []byte) (src, dst netip.Addr, ok bool) {
	for typ, b := range nfnl.Attrs(ip) {
		addr, _ := netip.AddrFromSlice(b)
		switch typ {
		case ctaIPv4Src, ctaIPv6Src:
			src = addr
		case ctaIPv4Dst, ctaIPv6Dst:
			dst = addr
		}
	}
	return src, dst, src.IsValid() && src.BitLen() == dst.BitLen()
}

func decodeVolume(b []byte) (v Volume) {
	for typ, value := range nfnl.Attrs(b) {
		switch typ {
		case ctaCountersPackets:
			v.Packets = nfnl.Uint64(value)
		case ctaCountersBytes:
			v.Bytes = nfnl.Uint64(value)
		}
	}
	return v
}

// family is the address family that requests about the entry name.
func (e *Entry) family() uint8 {
	if e.Orig.Dst.Addr().Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}
