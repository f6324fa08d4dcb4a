package lab

import (
	"net/netip"
	"slices"
	"testing"
)

// TestTuples sends every protocol that a capture tells apart from A to B, some of it more than once.
func TestTuples(t *testing.T) {
	t.Parallel()
	Require(t, "tcpdump")
	p := New(t)
	capture, err := p.B.Capture(t.Context(), Device, "ip or ip6")
	Check(t, err)
	var want []Tuple
	for i, to := range p.B.addrs() {
		protos := []string{"icmp", "tcp", "udp"}
		server, err := p.B.EchoTCP(netip.AddrPortFrom(to, 7).String())
		Check(t, err)
		_, err = p.B.EchoUDP(server.Addr.String())
		Check(t, err)
		for range 2 {
			Check(t, p.A.Ping(netip.Addr{}, to, patience))
			reaches(t, p.A, "tcp", server.Addr, true)
			reaches(t, p.A, "udp", server.Addr, true)
		}
		if _, err := p.B.AnswerSCTP(netip.AddrPortFrom(to, 36412)); err == nil {
			Check(t, p.A.Associate(t.Context(), 4000, netip.AddrPortFrom(to, 36412)))
			protos = []string{"icmp", "sctp", "tcp", "udp"}
		}
		for _, ends := range [][2]netip.Addr{{p.A.addrs()[i], to}, {to, p.A.addrs()[i]}} {
			for _, proto := range protos {
				want = append(want, Tuple{ends[0], ends[1], proto})
			}
		}
	}
	packets, err := capture.Stop(t.Context())
	Check(t, err)
	if got := Tuples(packets); !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if got, want := Tuples(packets)[0].String(), "10.1.0.100 > 10.2.0.100 icmp"; got != want {
		t.Errorf("the first is %q, want %q", got, want)
	}
	if got := Tuples(nil); len(got) != 0 {
		t.Errorf("no packets have the tuples %v", got)
	}
}
