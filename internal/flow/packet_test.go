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

func TestDecodePacket(t *testing.T) {
	t.Parallel()
	six := packet(5, nat.TCP)
	six[0] = 6<<4 | 5
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
		"IPv6":                       {six, 0},
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
	f.Fuzz(func(t *testing.T, b []byte) {
		if d, ok := decodePacket(b); ok != d.Client.IsValid() || ok != d.Listen.Addr.Is4() {
			t.Errorf("%v, %v", d, ok)
		}
	})
}
