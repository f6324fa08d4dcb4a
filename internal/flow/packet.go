package flow

import (
	"encoding/binary"
	"net/netip"

	"natd/nat"
)

// IPv6 extension headers that may stand before the ports: IANA "IPv6 Extension Header Types". Fragments are not among them:
// connection tracking has put them together before.
const (
	extHopByHop    = 0
	extRouting     = 43
	extAuth        = 51
	extDestination = 60
	extMobility    = 135
	extHIP         = 139
	extShim6       = 140
)

// maxExtensions bounds the walk over extension headers. RFC 8200, section 4.1 recommends an order in which there are at
// most six.
const maxExtensions = 8

// decodePacket reads addresses and ports from the beginning of a packet (RFC 791, 8200) of TCP, UDP or SCTP (RFC 9293, 768,
// 9260), which all begin with the ports.
func decodePacket(b []byte) (d Dialled, ok bool) {
	if len(b) == 0 {
		return d, false
	}
	var src, dst netip.Addr
	var proto nat.Protocol
	var ports []byte
	switch b[0] >> 4 {
	case 4:
		src, dst, proto, ports = decodeIPv4(b)
	case 6:
		src, dst, proto, ports = decodeIPv6(b)
	}
	if len(ports) < 4 || proto != nat.TCP && proto != nat.UDP && proto != nat.SCTP {
		return d, false
	}
	return Dialled{
		Client: netip.AddrPortFrom(src, binary.BigEndian.Uint16(ports)),
		Listen: nat.Endpoint{Addr: dst, Proto: proto, Port: binary.BigEndian.Uint16(ports[2:])},
	}, true
}

// decodeIPv4 reads an IPv4 header. What follows it is nil when it is cut off.
func decodeIPv4(b []byte) (src, dst netip.Addr, proto nat.Protocol, rest []byte) {
	const shortest = 20
	header := int(b[0]&0x0f) * 4
	if header < shortest || len(b) < header {
		return src, dst, 0, nil
	}
	return netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20])), nat.Protocol(b[9]), b[header:]
}

// decodeIPv6 reads an IPv6 header and skips its extensions. What follows them is nil when they are cut off or too many.
func decodeIPv6(b []byte) (src, dst netip.Addr, proto nat.Protocol, rest []byte) {
	const header = 40
	if len(b) < header {
		return src, dst, 0, nil
	}
	next := b[6]
	src, dst = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
	rest = b[header:]
	for range maxExtensions {
		size, extends := extensionSize(next, rest)
		if !extends {
			return src, dst, nat.Protocol(next), rest
		}
		if size > len(rest) {
			break
		}
		next, rest = rest[0], rest[size:]
	}
	return src, dst, 0, nil
}

// extensionSize is the size in bytes of the extension header that b begins with; false when the number is none's.
func extensionSize(number uint8, b []byte) (int, bool) {
	const shortest = 8
	length := 0
	if len(b) >= shortest {
		length = int(b[1])
	}
	switch number {
	case extHopByHop, extRouting, extDestination, extMobility, extHIP, extShim6:
		return 8 + 8*length, true // RFC 8200
	case extAuth:
		return 8 + 4*length, true // RFC 4302
	}
	return 0, false
}
