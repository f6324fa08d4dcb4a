package flow

import (
	"encoding/binary"
	"testing"

	"natd/nat"
)

// packet is the beginning of an IPv4 packet with a header of so many words, between the client and the host's port 80.
func packet(words int, proto nat.Protocol) []byte {
	b := make([]byte, words*4)
	b[0] = 4<<4 | byte(words)
	b[9] = byte(proto)
	copy(b[12:], []byte{10, 1, 0, 5, 10, 2, 0, 100})
	b = binary.BigEndian.AppendUint16(b, 40000)
	return binary.BigEndian.AppendUint16(b, 80)
}

// packet6 is the beginning of an IPv6 packet between the client and the host's port 80, with extension headers: the number
// and the size in bytes of each.
func packet6(proto nat.Protocol, extensions ...[2]byte) []byte {
	b := make([]byte, 40)
	b[0] = 6 << 4
	copy(b[8:], addrPort(client6).Addr().AsSlice())
	copy(b[24:], addrPort("["+host6+"]:80").Addr().AsSlice())
	next := 6 // where the number of what follows stands
	for _, e := range extensions {
		b[next], next = e[0], len(b)
		header := make([]byte, e[1])
		header[1] = e[1]/8 - 1
		if e[0] == extAuth {
			header[1] = e[1]/4 - 2
		}
		b = append(b, header...)
	}
	b[next] = byte(proto)
	b = binary.BigEndian.AppendUint16(b, 40000)
	return binary.BigEndian.AppendUint16(b, 80)
}

func TestDecodePacket6(t *testing.T) {
	t.Parallel()
	many := make([][2]byte, maxExtensions)
	for i := range many {
		many[i] = [2]byte{extDestination, 8}
	}
	one := packet6(nat.TCP, [2]byte{extRouting, 24})
	want := Dialled{Client: addrPort(client6), Listen: nat.Endpoint{Addr: addrPort("[" + host6 + "]:80").Addr(), Port: 80}}
	for name, c := range map[string]struct {
		packet []byte
		proto  nat.Protocol // 0 = none
	}{
		"TCP":                      {packet6(nat.TCP), nat.TCP},
		"UDP":                      {packet6(nat.UDP), nat.UDP},
		"SCTP":                     {packet6(nat.SCTP), nat.SCTP},
		"ICMPv6":                   {packet6(58), 0},
		"with extensions":          {packet6(nat.UDP, [2]byte{extHopByHop, 8}, [2]byte{extRouting, 24}, [2]byte{extDestination, 16}), nat.UDP},
		"authenticated":            {packet6(nat.TCP, [2]byte{extAuth, 24}), nat.TCP},
		"with many extensions":     {packet6(nat.TCP, many[1:]...), nat.TCP},
		"with too many extensions": {packet6(nat.TCP, many...), 0},
		"a fragment":               {packet6(nat.UDP, [2]byte{44, 8}), 0},
		"an extension cut off":     {one[:60], 0},
		"at its beginning":         {one[:41], 0},
		"ports cut off":            {one[:66], 0},
		"a header cut off":         {one[:39], 0},
	} {
		got, ok := decodePacket(c.packet)
		want := want
		want.Listen.Proto = c.proto
		if c.proto == 0 {
			want = Dialled{}
		}
		if got != want || ok != (c.proto != 0) {
			t.Errorf("%s: %v, %v, want %v", name, got, ok, want)
		}
	}
}

func TestDecodePacket(t *testing.T) {
	t.Parallel()
	five := packet(5, nat.TCP)
	five[0] = 5<<4 | 5
	short := packet(5, nat.TCP)
	short[0] = 4<<4 | 4
	for name, c := range map[string]struct {
		packet []byte
		proto  nat.Protocol // 0 = none
	}{
		"TCP":                        {packet(5, nat.TCP), nat.TCP},
		"UDP":                        {packet(5, nat.UDP), nat.UDP},
		"with options":               {packet(15, nat.TCP), nat.TCP},
		"with more behind":           {append(packet(6, nat.UDP), make([]byte, 40)...), nat.UDP},
		"ICMP":                       {packet(5, 1), 0},
		"SCTP":                       {packet(5, nat.SCTP), nat.SCTP},
		"IPv5":                       {five, 0},
		"a header that is too short": {short, 0},
		"ports cut off":              {packet(5, nat.TCP)[:23], 0},
		"options cut off":            {packet(15, nat.TCP)[:40], 0},
		"a header cut off":           {packet(5, nat.TCP)[:19], 0},
		"nothing":                    {nil, 0},
	} {
		got, ok := decodePacket(c.packet)
		want := Dialled{}
		if c.proto != 0 {
			want = Dialled{
				Client: addrPort("10.1.0.5:40000"),
				Listen: nat.Endpoint{Addr: addrPort(host + ":80").Addr(), Proto: c.proto, Port: 80},
			}
		}
		if got != want || ok != (c.proto != 0) {
			t.Errorf("%s: %v, %v, want %v", name, got, ok, want)
		}
	}
}

func FuzzDecodePacket(f *testing.F) {
	f.Add(packet(5, nat.TCP))
	f.Add(packet(15, nat.UDP))
	f.Add(packet6(nat.SCTP))
	f.Add(packet6(nat.UDP, [2]byte{extHopByHop, 8}, [2]byte{extAuth, 24}, [2]byte{extDestination, 16}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if d, ok := decodePacket(b); ok != d.Client.IsValid() || ok != d.Listen.Addr.IsValid() {
			t.Errorf("%v, %v", d, ok)
		}
	})
}
