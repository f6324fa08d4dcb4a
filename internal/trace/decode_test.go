package trace

import (
	"encoding/binary"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"natd/internal/icmp"
)

// The two sides of the packets made here.
const (
	client, host   = "10.1.0.100", "10.2.0.100"
	client6, host6 = "fd00:10:1::100", "fd00:10:2::100"
)

// ipv4Packet is a packet from the client to the host.
func ipv4Packet(proto Protocol, payload []byte) []byte {
	b := make([]byte, 20)
	b[0], b[8], b[9] = 0x45, 64, byte(proto)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)+len(payload)))
	copy(b[12:], netip.MustParseAddr(client).AsSlice())
	copy(b[16:], netip.MustParseAddr(host).AsSlice())
	return append(b, payload...)
}

// ipv6Packet is likewise, with extension headers: the number and the bytes of each, behind their first.
func ipv6Packet(proto Protocol, payload []byte, extensions ...[]byte) []byte {
	b := make([]byte, 40)
	b[0], b[7] = 0x60, 64
	copy(b[8:], netip.MustParseAddr(client6).AsSlice())
	copy(b[24:], netip.MustParseAddr(host6).AsSlice())
	next := 6 // where the number of what follows stands
	for _, e := range extensions {
		b[next], next = e[0], len(b)
		b = append(append(b, 0), e[1:]...)
	}
	b[next] = byte(proto)
	b = append(b, payload...)
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)-40))
	return b
}

// segmentOf is one to port 80, with four bytes of options.
func segmentOf(flags Flags, payload string) []byte {
	b := make([]byte, 24)
	binary.BigEndian.PutUint16(b, 40000)
	binary.BigEndian.PutUint16(b[2:], 80)
	binary.BigEndian.PutUint32(b[4:], 1000)
	binary.BigEndian.PutUint32(b[8:], 2000)
	b[12], b[13] = 6<<4, byte(flags)
	return append(b, payload...)
}

func udpTo(port uint16, payload string) []byte {
	b := make([]byte, 8)
	binary.BigEndian.PutUint16(b, 40000)
	binary.BigEndian.PutUint16(b[2:], port)
	binary.BigEndian.PutUint16(b[4:], uint16(8+len(payload)))
	return append(b, payload...)
}

func icmpError(kind, code byte, mtu uint16, quoted []byte) []byte {
	return append([]byte{kind, code, 0, 0, 0, 0, byte(mtu >> 8), byte(mtu)}, quoted...)
}

func tuple(proto Protocol, src, dst string, from, to uint16) Tuple {
	return Tuple{proto, netip.AddrPortFrom(netip.MustParseAddr(src), from), netip.AddrPortFrom(netip.MustParseAddr(dst), to)}
}

// options is an IPv4 packet with options of four bytes.
func options(b []byte) []byte {
	b[0]++
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)+4))
	return slices.Insert(b, 20, 1, 1, 1, 1)
}

// later is an IPv4 packet that is a fragment, not the first.
func later(b []byte) []byte {
	binary.BigEndian.PutUint16(b[6:], 100)
	return b
}

func TestDecode(t *testing.T) {
	t.Parallel()
	syn := segmentOf(SYN, "")
	first, other := []byte{extFragment, 0, 0, 1, 0, 0, 0, 7}, []byte{extFragment, 0, 0x10, 1, 0, 0, 0, 7}
	hop, auth := []byte{extHopByHop, 0, 1, 4, 0, 0, 0, 0}, []byte{extAuth, 1, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1}
	seg := Packet{Tuple: tuple(TCP, client, host, 40000, 80), Size: 44, Flags: SYN, Seq: 1000, Ack: 2000}
	seg6 := seg
	seg6.Tuple, seg6.Size = tuple(TCP, client6, host6, 40000, 80), 64
	with := func(p Packet, change func(*Packet)) Packet { change(&p); return p }
	for name, tt := range map[string]struct {
		b    []byte
		want Packet
	}{
		"TCP":                 {ipv4Packet(TCP, syn), seg},
		"TCP data":            {ipv4Packet(TCP, segmentOf(PSH|ACK, "natd")), with(seg, func(p *Packet) { p.Size, p.Length, p.Flags = 48, 4, PSH|ACK })},
		"options":             {options(ipv4Packet(TCP, syn)), with(seg, func(p *Packet) { p.Size = 48 })},
		"IPv6":                {ipv6Packet(TCP, syn), seg6},
		"extensions":          {ipv6Packet(TCP, syn, hop, auth), with(seg6, func(p *Packet) { p.Size = 84 })},
		"first fragment":      {ipv6Packet(TCP, syn, first), with(seg6, func(p *Packet) { p.Size = 72 })},
		"later fragment":      {ipv6Packet(TCP, syn, other), Packet{Tuple: tuple(TCP, client6, host6, 0, 0), Size: 72, Fragment: true}},
		"later IPv4 fragment": {later(ipv4Packet(TCP, syn)), Packet{Tuple: tuple(TCP, client, host, 0, 0), Size: 44, Fragment: true}},
		"truncated":           {ipv4Packet(TCP, syn)[:30], Packet{Tuple: tuple(TCP, client, host, 0, 0), Size: 44, Truncated: true}},
		"truncated options":   {options(ipv4Packet(TCP, syn))[:22], Packet{Tuple: tuple(TCP, client, host, 0, 0), Size: 48, Truncated: true}},
		"truncated extension": {ipv6Packet(TCP, syn, hop)[:44], Packet{Tuple: tuple(extHopByHop, client6, host6, 0, 0), Size: 72, Truncated: true}},
		"other protocol":      {ipv4Packet(47, syn), Packet{Tuple: tuple(47, client, host, 0, 0), Size: 44}},
		"UDP": {ipv4Packet(UDP, udpTo(53, "natd")), Packet{
			Tuple: tuple(UDP, client, host, 40000, 53), Size: 32, Length: 4, Digest: digest([]byte("natd"), 4),
		}},
		"padded": {append(ipv4Packet(UDP, udpTo(53, "natd")), 0, 0), Packet{
			Tuple: tuple(UDP, client, host, 40000, 53), Size: 32, Length: 4, Digest: digest([]byte("natd"), 4),
		}},
		"ICMP error": {ipv4Packet(ICMP, icmpError(3, 4, 1400, ipv4Packet(TCP, syn)[:28])), Packet{
			Tuple: tuple(ICMP, client, host, 0, 0), Size: 56, ICMP: icmp.Message{Type: 3, Code: 4}, MTU: 1400, Quoted: tuple(TCP, client, host, 40000, 80),
		}},
		"ICMPv6 error": {ipv6Packet(ICMPv6, icmpError(2, 0, 1280, ipv6Packet(UDP, udpTo(53, ""), hop))), Packet{
			Tuple: tuple(ICMPv6, client6, host6, 0, 0), Size: 104, ICMP: icmp.Message{V6: true, Type: 2}, MTU: 1280, Quoted: tuple(UDP, client6, host6, 40000, 53),
		}},
		"echo":          {ipv4Packet(ICMP, icmpError(8, 0, 0, nil)), Packet{Tuple: tuple(ICMP, client, host, 0, 0), Size: 28, ICMP: icmp.Message{Type: 8}}},
		"quotes little": {ipv4Packet(ICMP, icmpError(3, 1, 0, []byte{0x45})), Packet{Tuple: tuple(ICMP, client, host, 0, 0), Size: 29, ICMP: icmp.Message{Type: 3, Code: 1}}},
	} {
		if got, ok := decode(tt.b, len(tt.b)); !ok || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %+v, %v, want %+v", name, got, ok, tt.want)
		}
	}
	for _, b := range [][]byte{nil, {0x45}, ipv6Packet(TCP, syn)[:39], make([]byte, 100)} {
		if p, ok := decode(b, len(b)); ok {
			t.Errorf("%x is %+v", b, p)
		}
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	for want, b := range map[string][]byte{
		"IP 10.1.0.100.40000 > 10.2.0.100.80: Flags [S], seq 1000, length 0":                            ipv4Packet(TCP, segmentOf(SYN, "")),
		"IP6 fd00:10:1::100.40000 > fd00:10:2::100.80: Flags [P.], seq 1000:1004, ack 2000, length 4":   ipv6Packet(TCP, segmentOf(PSH|ACK, "natd")),
		"IP 10.1.0.100.40000 > 10.2.0.100.53: UDP, length 4":                                            ipv4Packet(UDP, udpTo(53, "natd")),
		"IP 10.1.0.100 > 10.2.0.100: ICMP admin-prohibited, about 10.1.0.100.40000 > 10.2.0.100.53 udp": ipv4Packet(ICMP, icmpError(3, 13, 0, ipv4Packet(UDP, udpTo(53, "natd")))),
		"IP 10.1.0.100 > 10.2.0.100: ICMP icmp type 8 code 0":                                           ipv4Packet(ICMP, icmpError(8, 0, 0, nil)),
		"IP 10.1.0.100 > 10.2.0.100: tcp fragment, size 44":                                             later(ipv4Packet(TCP, segmentOf(SYN, ""))),
		"IP 10.1.0.100 > 10.2.0.100: [|tcp]":                                                            ipv4Packet(TCP, segmentOf(SYN, ""))[:30],
		"IP 10.1.0.100 > 10.2.0.100: proto 47, size 44":                                                 ipv4Packet(47, segmentOf(SYN, "")),
	} {
		p, _ := decode(b, len(b))
		p.Device = "ens5"
		if got := p.String(); got != "00:00:00.000000 ens5 In  "+want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestDigest wants the payload of a datagram to be recognised whatever was captured of it, and another not to be.
func TestDigest(t *testing.T) {
	t.Parallel()
	long := make([]byte, 2*digested)
	if digest(long, len(long)) != digest(long[:digested], len(long)) {
		t.Error("what was captured matters")
	}
	if digest([]byte("natd"), 4) == digest([]byte("nat"), 3) {
		t.Error("the content does not matter")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(ipv4Packet(TCP, segmentOf(SYN, "natd")), uint16(0x0800))
	f.Add(options(ipv4Packet(UDP, udpTo(53, "natd"))), uint16(0x0800))
	f.Add(ipv4Packet(ICMP, icmpError(3, 4, 1400, ipv4Packet(TCP, segmentOf(SYN, "")))), uint16(0x8100))
	f.Add(ipv6Packet(SCTP, segmentOf(0, ""), []byte{extHopByHop, 0, 1, 4, 0, 0, 0, 0}), uint16(0x88a8))
	f.Add(ipv6Packet(ICMPv6, icmpError(2, 0, 1280, ipv6Packet(UDP, udpTo(53, "")))), uint16(0x86dd))
	f.Fuzz(func(t *testing.T, b []byte, protocol uint16) {
		rest, _ := untagged(b, protocol)
		p, ok := decode(rest, len(rest))
		if ok != p.Src.Addr().IsValid() || p.Length < 0 || (p.Fragment || p.Truncated) && p.Src.Port() != 0 {
			t.Errorf("%+v, %v", p, ok)
		}
		_ = p.String()
		r := Relay{Listen: []End{{Proto: p.Proto}}}
		if a, begins := r.Begin(p); begins {
			a.See(p)
			_ = a.Whole()
		}
		r.Filter().passes(p)
	})
}
