package config

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"natd/nat"
)

// two is a file with two relays; the second begins in line 6.
func two(listenA, toA, listenB, toB, protocolB string) string {
	text := "[[relay]]\nname = \"a\"\nlisten = %q\nto = [%q]\nprotocol = [\"tcp\", \"udp\"]\n" +
		"[[relay]]\nname = \"b\"\nlisten = %q\nto = [%q]\nprotocol = %q\nenabled = false\n"
	return fmt.Sprintf(text, listenA, toA, listenB, toB, protocolB)
}

func TestConflicts(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, text string
		want       []string
	}{
		{"same", two("10.2.0.100:80", "10.3.0.1", "10.2.0.100:80", "10.3.0.2", "tcp"), []string{
			`8: relay "b": listen = "10.2.0.100:80": tcp port 80 is also claimed by relay "a" (line 1)`,
		}},
		{"part of a range", two("10.2.0.100:80-90", "10.3.0.1", "10.2.0.100:85-99", "10.3.0.2", "udp"), []string{
			`8: relay "b": listen = "10.2.0.100:85-99": udp ports 85-90 are also claimed by relay "a" (line 1)`,
		}},
		{"the later one starts lower", two("10.2.0.100:80-90", "10.3.0.1", "10.2.0.100:70-80", "10.3.0.2", "tcp"), []string{
			`8: relay "b": listen = "10.2.0.100:70-80": tcp port 80 is also claimed by relay "a" (line 1)`,
		}},
		{"every address first", two(":80", "10.3.0.1", "10.2.0.100:80", "10.3.0.2", "tcp"), []string{
			`8: relay "b": listen = "10.2.0.100:80": tcp port 80 is also claimed by relay "a" (line 1)`,
		}},
		{"every address last", two("10.2.0.100:80", "10.3.0.1", ":1-100", "10.3.0.2", "tcp"), []string{
			`8: relay "b": listen = ":1-100": tcp port 80 is also claimed by relay "a" (line 1)`,
		}},
		{"every address twice", two(":80", "10.3.0.1", ":80", "10.3.0.2", "udp"), []string{
			`8: relay "b": listen = ":80": udp port 80 is also claimed by relay "a" (line 1)`,
		}},
		{"itself", two("10.2.0.100:80", "10.2.0.100", ":81", "10.3.0.2", "udp"), []string{
			`4: relay "a": to = ["10.2.0.100"]: loop: this is where the relay itself listens`,
		}},
		{"another", two("10.2.0.100:80", "10.3.0.1", ":81", "10.2.0.100:80", "udp"), []string{
			`9: relay "b": to = ["10.2.0.100:80"]: loop: this is where relay "a" (line 1) listens; write its backend instead`,
		}},
		{"in a circle", two("10.2.0.100:80", "10.2.0.101:81", "10.2.0.101:81", "10.2.0.100:80", "tcp"), []string{
			`4: relay "a": to = ["10.2.0.101:81"]: loop: this is where relay "b" (line 6) listens; write its backend instead`,
			`9: relay "b": to = ["10.2.0.100:80"]: loop: this is where relay "a" (line 1) listens; write its backend instead`,
		}},
		{"one of several", two(":80", "10.3.0.1", ":81", "10.3.0.2", "tcp") + "[[relay]]\nname = \"c\"\nlisten = \"10.2.0.9:80\"\nprotocol = \"sctp\"\n" +
			"to = [\"10.3.0.1\", \"10.2.0.9\", \"10.2.0.9:81\"]\n[[relay]]\nname = \"d\"\nlisten = \"10.2.0.9:79\"\nprotocol = \"sctp\"\n" +
			"to = [\"10.3.0.1\", \"web.example\", {address = \"10.2.0.9:80\"}]\n", []string{
			`16: relay "c": to[2] = "10.2.0.9": loop: this is where the relay itself listens`,
			`21: relay "d": to[3] = {…}: loop: this is where relay "c" (line 12) listens; write its backend instead`,
		}},
		{"name", minimal + strings.ReplaceAll(minimal, ":80", ":81"), []string{
			`6: relay "web": name = "web": must be unique, but is also the name of the relay in line 1`,
		}},
		{"with a relay without a name", minimal + strings.Replace(minimal, `"web"`, `"Web"`, 1), []string{
			`6: relay 2: name = "Web": must be 1-48 characters of a-z, 0-9 and "-", the first not "-"`,
			`7: relay 2: listen = "10.2.0.100:80": tcp port 80 is also claimed by relay "web" (line 1)`,
		}},
		{"too wide", wide(5), []string{
			`18: relay "r4": listen = "10.2.0.4:1-65535": the relay needs 65535 kernel elements ` +
				`(ports 65535 x protocols 1 x families 1 x (1 for sources)), all up to this one 327675: the limit is 262144`,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			checkErrors(t, tt.text, tt.want...)
		})
	}
	mustParse(t, wide(4))
}

// TestConflictsOfFamilies: a relay on every address takes those of the families that it serves.
func TestConflictsOfFamilies(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, text string
		want       string
	}{
		{
			"IPv6", two("[fd00:2::100]:80", "fd00:3::1", "[fd00:2:0::100]:79-81", "fd00:3::2", "tcp"),
			`8: relay "b": listen = "[fd00:2:0::100]:79-81": tcp port 80 is also claimed by relay "a" (line 1)`,
		},
		{
			"IPv6 loop", two("[fd00:2::100]:80", "fd00:3::1", "[fd00:2::101]:80", "fd00:2::100", "tcp"),
			`9: relay "b": to = ["fd00:2::100"]: loop: this is where relay "a" (line 1) listens; write its backend instead`,
		},
		{
			"every address of both families", two("[fd00:2::100]:80", "fd00:3::1", ":80", "web.example", "tcp"),
			`8: relay "b": listen = ":80": tcp port 80 is also claimed by relay "a" (line 1)`,
		},
		{
			"every address of one family", two(":80", "fd00:3::1", "[fd00:2::100]:80", "fd00:3::1", "udp"),
			`8: relay "b": listen = "[fd00:2::100]:80": udp port 80 is also claimed by relay "a" (line 1)`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			checkErrors(t, tt.text, tt.want)
		})
	}
	for _, text := range []string{
		two(":80", "10.3.0.1", "[fd00:2::100]:80", "fd00:3::1", "tcp"),
		two("10.2.0.100:80", "10.3.0.1", ":80", "fd00:3::1", "tcp"),
		two(":80", "10.3.0.1", ":80", "fd00:3::1", "udp"),
		two(":80", "web.example", ":80", "10.3.0.1", "sctp"),
	} {
		mustParse(t, text)
	}
}

// wide is a file with n relays of all ports, four lines each.
func wide(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "[[relay]]\nlisten = \"10.2.0.%d:1-65535\"\nname = \"r%d\"\nto = [\"10.3.0.100\"]\n", i, i)
	}
	return b.String()
}

// TestOverlapsAgainstPairs compares the claims with the plain comparison of each pair.
func TestOverlapsAgainstPairs(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		relays := make([]nat.Relay, 2+rng.IntN(5))
		tables := make([]table, len(relays))
		doc := &document{}
		for i := range relays {
			relays[i], tables[i] = randomRelay(rng), table{doc: doc, kind: "relay", index: i + 1}
		}
		want := make(map[string]bool)
		for i := range relays {
			for j := range i {
				if relaysOverlap(&relays[i], &relays[j]) {
					want[tables[i].label()] = true
				}
			}
		}
		checkConflicts(&nat.Spec{Relays: relays}, &written{relays: listed(tables)})
		got := make(map[string]bool)
		for _, e := range doc.errs {
			got[e.Table] = true
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("blamed %v, want %v, of %+v", got, want, relays)
		}
	}
}

func randomRelay(rng *rand.Rand) nat.Relay {
	first := uint16(1 + rng.IntN(12))
	r := nat.Relay{Listen: nat.Listen{Ports: nat.PortRange{First: first, Last: first + uint16(rng.IntN(4))}}}
	r.Backends = [][]nat.Backend{{{Addr: addrs("10.3.0.1")[0]}}, {{Addr: addrs("fd00:3::1")[0]}}, {{Name: "web"}}}[rng.IntN(3)]
	switch a := byte(rng.IntN(7)); {
	case a > 3:
		r.Listen.Addr, r.Backends = netip.AddrFrom16([16]byte{0: 0xfd, 15: a}), nil
	case a > 0:
		r.Listen.Addr, r.Backends = netip.AddrFrom4([4]byte{10, 2, 0, a}), nil
	}
	r.Protocols = [][]nat.Protocol{{nat.TCP}, {nat.UDP}, {nat.TCP, nat.UDP}, {nat.SCTP}}[rng.IntN(4)]
	return r
}

func relaysOverlap(a, b *nat.Relay) bool {
	shared := false
	for _, p := range a.Protocols {
		shared = shared || b.Carries(p)
	}
	return shared && a.Listen.Ports.Overlaps(b.Listen.Ports) &&
		(a.Listen.Addr == b.Listen.Addr && !a.Listen.Any() || (a.Listen.Any() || b.Listen.Any()) && served(a)&served(b) != 0)
}
