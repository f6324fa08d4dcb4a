package trace

import (
	"encoding/binary"
	"hash/fnv"
	"net/netip"

	"golang.org/x/sys/unix"

	"natd/internal/icmp"
)

// IPv6 extension headers that may stand before the payload: IANA "IPv6 Extension Header Types".
const (
	extHopByHop    = 0
	extRouting     = 43
	extFragment    = 44
	extAuth        = 51
	extDestination = 60
	extMobility    = 135
	extHIP         = 139
	extShim6       = 140
)

// maxExtensions bounds the walk over extension headers. RFC 8200, section 4.1 recommends an order in which there are at most six.
const maxExtensions = 8

// sctpInit is the first chunk of an association (RFC 9260, 3.2), which a Packet has in place of a sequence number.
const sctpInit = 1

// header is what an IP header says.
type header struct {
	proto     Protocol
	src, dst  netip.Addr
	size      int    // of the whole packet
	before    int    // bytes before the payload
	payload   []byte // as much of it as there is
	fragment  bool
	truncated bool // within the headers
}

// decode reads a packet that begins with its IP header. What was captured may end anywhere; onWire is the packet's real size.
func decode(b []byte, onWire int) (p Packet, ok bool) {
	h, ok := decodeIP(b, onWire)
	if !ok {
		return p, false
	}
	p = Packet{
		Tuple: Tuple{Proto: h.proto, Src: netip.AddrPortFrom(h.src, 0), Dst: netip.AddrPortFrom(h.dst, 0)},
		Size:  h.size, Fragment: h.fragment, Truncated: h.truncated,
	}
	if !h.fragment && !h.truncated {
		p.decodePayload(h)
	}
	return p, true
}

func decodeIP(b []byte, onWire int) (h header, ok bool) {
	if len(b) == 0 {
		return h, false
	}
	switch b[0] >> 4 {
	case 4:
		return decodeIPv4(b, onWire)
	case 6:
		return decodeIPv6(b, onWire)
	}
	return h, false
}

// decodeIPv4 reads a header of RFC 791. A length of zero is that of a packet larger than 64 KiB that the kernel has put together.
func decodeIPv4(b []byte, onWire int) (h header, ok bool) {
	const shortest = 20
	if len(b) < shortest {
		return h, false
	}
	h = header{
		proto: Protocol(b[9]), src: netip.AddrFrom4([4]byte(b[12:16])), dst: netip.AddrFrom4([4]byte(b[16:20])),
		size: int(binary.BigEndian.Uint16(b[2:])), before: int(b[0]&0xf) * 4,
		fragment: binary.BigEndian.Uint16(b[6:])&0x1fff != 0,
	}
	if h.size == 0 {
		h.size = onWire
	}
	if h.truncated = h.before < shortest || len(b) < h.before; !h.truncated {
		h.payload = b[h.before:]
	}
	return h, true
}

// decodeIPv6 reads a header of RFC 8200 and skips its extensions.
func decodeIPv6(b []byte, onWire int) (h header, ok bool) {
	const fixed = 40
	if len(b) < fixed {
		return h, false
	}
	h = header{
		proto: Protocol(b[6]), src: netip.AddrFrom16([16]byte(b[8:24])), dst: netip.AddrFrom16([16]byte(b[24:40])),
		size: fixed + int(binary.BigEndian.Uint16(b[4:])), before: fixed,
	}
	if h.size == fixed {
		h.size = onWire
	}
	rest := b[fixed:]
	for range maxExtensions {
		size, extends := extensionSize(h.proto, rest)
		if !extends {
			h.payload = rest
			return h, true
		}
		if size > len(rest) {
			break
		}
		if h.proto == extFragment && binary.BigEndian.Uint16(rest[2:])&0xfff8 != 0 {
			h.proto, h.fragment = Protocol(rest[0]), true
			return h, true
		}
		h.proto, h.before, rest = Protocol(rest[0]), h.before+size, rest[size:]
	}
	h.truncated = true
	return h, true
}

// extensionSize is the size in bytes of the extension header that b begins with; false when the number is none's.
func extensionSize(number Protocol, b []byte) (int, bool) {
	const shortest = 8
	length := 0
	if len(b) >= shortest {
		length = int(b[1])
	}
	switch uint8(number) {
	case extHopByHop, extRouting, extDestination, extMobility, extHIP, extShim6:
		return 8 + 8*length, true // RFC 8200
	case extFragment:
		return shortest, true
	case extAuth:
		return 8 + 4*length, true // RFC 4302
	}
	return 0, false
}

// The sizes in bytes of headers without options: RFC 9293, 768, 9260 and 792.
const (
	tcpHeader  = 20
	udpHeader  = 8
	sctpHeader = 12
	icmpHeader = 8
)

func (p *Packet) decodePayload(h header) {
	b := h.payload
	switch {
	case h.proto == TCP && len(b) >= tcpHeader:
		p.Seq, p.Ack = binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:])
		p.Flags = Flags(b[13])
		p.Length = h.size - h.before - int(b[12]>>4)*4
	case h.proto == UDP && len(b) >= udpHeader:
		p.Length = h.size - h.before - udpHeader
		p.Digest = digest(b[udpHeader:], p.Length)
	case h.proto == SCTP && len(b) > sctpHeader:
		p.Seq = uint32(b[sctpHeader])
		p.Length = h.size - h.before - sctpHeader
		p.Digest = digest(b[sctpHeader:], p.Length)
	case (h.proto == ICMP || h.proto == ICMPv6) && len(b) >= icmpHeader:
		p.decodeICMP(b)
		return
	case h.proto == TCP || h.proto == UDP || h.proto == SCTP || h.proto == ICMP || h.proto == ICMPv6:
		p.Truncated = true
		return
	default:
		return
	}
	p.Length = max(p.Length, 0)
	p.Tuple = p.withPorts(b)
}

// decodeICMP reads a message, and whom an error is about: it quotes at least the ports (RFC 792, RFC 4443).
func (p *Packet) decodeICMP(b []byte) {
	p.ICMP = icmp.Message{V6: p.Proto == ICMPv6, Type: b[0], Code: b[1]}
	if p.ICMP.IsTooBig() {
		p.MTU = int(binary.BigEndian.Uint16(b[6:])) // RFC 1191
		if p.ICMP.V6 {
			p.MTU = int(binary.BigEndian.Uint32(b[4:]))
		}
	}
	if !p.ICMP.IsError() {
		return
	}
	h, ok := decodeIP(b[icmpHeader:], 0)
	if !ok || h.truncated {
		return
	}
	p.Quoted = Tuple{Proto: h.proto, Src: netip.AddrPortFrom(h.src, 0), Dst: netip.AddrPortFrom(h.dst, 0)}
	if ports := h.proto == TCP || h.proto == UDP || h.proto == SCTP; ports && !h.fragment && len(h.payload) >= 4 {
		p.Quoted = p.Quoted.withPorts(h.payload)
	}
}

// withPorts is the tuple with the ports that TCP, UDP and SCTP begin with.
func (t Tuple) withPorts(b []byte) Tuple {
	t.Src = netip.AddrPortFrom(t.Src.Addr(), binary.BigEndian.Uint16(b))
	t.Dst = netip.AddrPortFrom(t.Dst.Addr(), binary.BigEndian.Uint16(b[2:]))
	return t
}

// digested is how much of a payload makes its digest, in bytes: less than is captured of any, on both legs.
const digested = 96

// digest is a hash of a payload's beginning. Padding behind a short one (Ethernet's least is 60 bytes) is not part of it.
func digest(b []byte, length int) uint64 {
	h := fnv.New64a()
	_, _ = h.Write(b[:max(0, min(len(b), length, digested))]) // it never fails
	return h.Sum64()
}

// untagged takes off the VLAN tags that stand before the IP header, where the interface has not (IEEE 802.1Q: two bytes of tag, two of
// type). What the kernel says of the protocol may be that of the tag or of what follows it, whether the tag is there or not (packet_rcv
// in net/packet/af_packet.c), so that a tag counts as one when what it announces follows.
func untagged(b []byte, protocol uint16) (rest []byte, vlan uint16) {
	const tag = 4
	for range 2 { // as many as there may be: IEEE 802.1ad
		if len(b) <= tag || isIP(protocol, b) {
			break
		}
		next := binary.BigEndian.Uint16(b[2:])
		if !isTag(next) && !isIP(next, b[tag:]) {
			break
		}
		vlan, protocol, b = binary.BigEndian.Uint16(b)&0x0fff, next, b[tag:]
	}
	return b, vlan
}

func isTag(protocol uint16) bool {
	return protocol == unix.ETH_P_8021Q || protocol == unix.ETH_P_8021AD
}

// isIP tells whether a packet is one of IP, as it is said to be.
func isIP(protocol uint16, b []byte) bool {
	return protocol == unix.ETH_P_IP && b[0]>>4 == 4 || protocol == unix.ETH_P_IPV6 && b[0]>>4 == 6
}
