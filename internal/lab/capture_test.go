package lab

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

func TestParsePacket(t *testing.T) {
	t.Parallel()
	tests := []struct {
		line, proto, src, dst, flags string
	}{
		{
			"07:49:10.954731 IP 10.2.0.100.80 > 10.1.0.100.54012: Flags [S.], seq 2240673688, ack 3547929034, win 62643, length 0",
			"tcp", "10.2.0.100:80", "10.1.0.100:54012", "S.",
		},
		{
			"07:49:10.957121 IP 10.1.0.100.54012 > 10.2.0.100.80: Flags [P.], seq 1:74, ack 1, length 73: HTTP: GET / HTTP/1.1",
			"tcp", "10.1.0.100:54012", "10.2.0.100:80", "P.",
		},
		{"10:00:00.000000 IP6 fd00:10:1::100.4000 > fd00:10:2::100.80: Flags [R], seq 1, win 0, length 0", "tcp", "[fd00:10:1::100]:4000", "[fd00:10:2::100]:80", "R"},
		{"10:00:00.000000 IP 10.1.0.100.4000 > 10.2.0.100.5000: UDP, length 5", "udp", "10.1.0.100:4000", "10.2.0.100:5000", ""},
		{"10:00:00.000000 IP 10.1.0.100.4000 > 10.2.0.100.53: 12345+ A? example.org. (29)", "udp", "10.1.0.100:4000", "10.2.0.100:53", ""},
		{"10:00:00.000000 IP 10.1.0.100.4000 > 10.2.0.100.36412: sctp (1) [COOKIE ECHO] ", "sctp", "10.1.0.100:4000", "10.2.0.100:36412", ""},
		{"10:00:00.000000 IP 10.1.0.1 > 10.1.0.100: ICMP echo request, id 1, seq 1, length 64", "icmp", "10.1.0.1:0", "10.1.0.100:0", ""},
		{"10:00:00.000000 IP6 fe80::1 > ff02::2: ICMP6, router solicitation, length 16", "icmp", "[fe80::1]:0", "[ff02::2]:0", ""},
		{"10:00:00.000000 IP 10.1.0.1 > 10.1.0.100: IP 10.8.0.1 > 10.9.0.1: ICMP echo request", "", "10.1.0.1:0", "10.1.0.100:0", ""},
		{line: "listening on ens5, link-type EN10MB (Ethernet), snapshot length 262144 bytes"},
		{line: "tcpdump: verbose output suppressed, use -v[v]... for full protocol decode"},
		{line: "10:00:00.000000 ARP, Request who-has 10.1.0.1 tell 10.1.0.100, length 28"},
		{line: "10:00:00.000000 IP one.two > three.four: Flags [S], seq 1"},
		{line: "10:00:00.000000 IP 10.1.0.100.99999 > 10.2.0.100.80: Flags [S], seq 1"},
		{line: ""},
	}
	for _, tt := range tests {
		got, ok := parsePacket(tt.line)
		if ok != (tt.src != "") {
			t.Errorf("%s: recognised = %v", tt.line, ok)
			continue
		}
		if !ok {
			continue
		}
		want := Packet{tt.proto, netip.MustParseAddrPort(tt.src), netip.MustParseAddrPort(tt.dst), tt.flags, tt.line}
		if got != want {
			t.Errorf("%s:\ngot  %+v\nwant %+v", tt.line, got, want)
		}
	}
}

func TestPacketIs(t *testing.T) {
	t.Parallel()
	at := netip.MustParseAddrPort
	p := Packet{Src: at("10.1.0.100:4000"), Dst: at("10.2.0.100:80")}
	for _, tt := range []struct {
		src, dst string
		want     bool
	}{
		{"10.1.0.100:4000", "10.2.0.100:80", true},
		{"10.1.0.100:0", "10.2.0.100:80", true},
		{"10.1.0.100:4001", "10.2.0.100:80", false},
		{"10.1.0.101:0", "10.2.0.100:80", false},
		{"10.2.0.100:80", "10.1.0.100:4000", false},
	} {
		if got := p.Is(at(tt.src), at(tt.dst)); got != tt.want {
			t.Errorf("%s > %s: %v, want %v", tt.src, tt.dst, got, tt.want)
		}
	}
}

func TestCapture(t *testing.T) {
	t.Parallel()
	Require(t, "tcpdump")
	p := New(t)
	server, err := p.B.EchoTCP("10.2.0.100:7")
	Check(t, err)
	capture, err := p.B.Capture(t.Context(), Device, "tcp port 7")
	Check(t, err)
	c, err := p.A.Dial(t.Context(), "tcp", server.Addr.String())
	Check(t, err)
	client := addrPort(c.LocalAddr())
	for range 20 {
		Check(t, exchange(c, patience))
	}
	Check(t, capture.Await(t.Context(), patience, func(packets []Packet) error {
		if len(packets) < 3 {
			return fmt.Errorf("%d packets, want the handshake at least", len(packets))
		}
		return nil
	}))
	packets, err := capture.Stop(t.Context())
	Check(t, err)
	Check(t, c.Close())

	want := []struct {
		src, dst netip.AddrPort
		flags    string
	}{{client, server.Addr, "S"}, {server.Addr, client, "S."}, {client, server.Addr, "."}}
	for i, w := range want {
		if got := packets[i]; !got.Is(w.src, w.dst) || got.Flags != w.flags || got.Proto != "tcp" {
			t.Errorf("packet %d is %s, want %v > %v [%s]", i+1, got.Line, w.src, w.dst, w.flags)
		}
	}
	data := 0
	for _, got := range packets {
		if strings.Contains(got.Flags, "P") {
			data++
		}
	}
	if data != 40 {
		t.Errorf("the capture has %d packets with data, want all 40", data)
	}
}

func TestCaptureTellsWhyItDoesNotStart(t *testing.T) {
	t.Parallel()
	Require(t, "tcpdump")
	h := NewHost(t)
	if _, err := h.Capture(t.Context(), "lo", "no such filter"); err == nil || !strings.Contains(err.Error(), "syntax error") {
		t.Errorf("got %v, want tcpdump's own words", err)
	}
}
