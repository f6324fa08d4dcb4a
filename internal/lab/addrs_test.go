package lab

import (
	"net/netip"
	"testing"
)

// TestOwn reaches addresses of prefixes that lie on no interface, and each answers as itself.
func TestOwn(t *testing.T) {
	t.Parallel()
	p := New(t)
	prefixes := map[string][]string{"192.168.1.0/24": {"192.168.1.0", "192.168.1.7", "192.168.1.255"}}
	if hasIPv6() {
		prefixes["fd00:192:168:1::/120"] = []string{"fd00:192:168:1::7", "fd00:192:168:1::ff"}
	}
	server, err := p.C.EchoTCP(":7")
	Check(t, err)
	_, err = p.C.EchoUDP(":7")
	Check(t, err)
	for text, addrs := range prefixes {
		prefix := netip.MustParsePrefix(text)
		Check(t, p.C.Own(t.Context(), prefix))
		Check(t, p.RouteTo(prefix, p.C))
		for _, text := range addrs {
			a := netip.MustParseAddr(text)
			back, err := p.B.EchoTCP(netip.AddrPortFrom(p.B.addr(a), 0).String())
			Check(t, err)
			reaches(t, p.B, "tcp", netip.AddrPortFrom(a, 7), true)
			reaches(t, p.B, "udp", netip.AddrPortFrom(a, 7), true)
			Check(t, p.B.Ping(netip.Addr{}, a, patience))
			Check(t, p.C.Ping(a, back.Addr.Addr(), patience))
			c, err := p.C.DialFrom(t.Context(), "tcp", a, back.Addr.String())
			Check(t, err)
			Check(t, exchange(c, patience))
			Check(t, c.Close())
			if got := back.Peers()[0].Addr(); got != a {
				t.Errorf("B saw %v, want %v", got, a)
			}
		}
		reaches(t, p.A, "tcp", netip.AddrPortFrom(prefix.Addr().Next(), 7), false)
	}
	if len(server.Peers()) == 0 {
		t.Error("the server met nobody")
	}
}

func TestExtraIsBounded(t *testing.T) {
	t.Parallel()
	if err := (&Host{Name: "C", Addr: netip.MustParseAddr("10.3.0.100")}).AddExtra(maxExtra + 1); err == nil {
		t.Error("a host took an address beyond its subnet")
	}
}

func TestPingWantsAnAnswer(t *testing.T) {
	t.Parallel()
	p := New(t)
	for _, a := range p.C.addrs() {
		Check(t, p.B.Ping(netip.Addr{}, a, patience))
		if err := p.A.Ping(netip.Addr{}, a, blocked); err == nil {
			t.Errorf("A pings %v, and peering is not transitive", a)
		}
	}
}
