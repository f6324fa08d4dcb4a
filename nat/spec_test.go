package nat

import (
	"net/netip"
	"testing"
)

func TestPortRange(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		r        PortRange
		text     string
		width    int
		in, out  uint16
		overlaps PortRange
		apart    PortRange
	}{
		{ports(80, 80), "80", 1, 80, 81, ports(1, 80), ports(81, 90)},
		{ports(8000, 8099), "8000-8099", 100, 8099, 8100, ports(8099, 9000), ports(8100, 9000)},
		{ports(1, 65535), "1-65535", 65535, 65535, 0, ports(7, 7), ports(0, 0)},
	} {
		if c.r.String() != c.text || c.r.Width() != c.width {
			t.Errorf("%v: String() = %q, Width() = %d", c.r, c.r.String(), c.r.Width())
		}
		if !c.r.Contains(c.in) || c.r.Contains(c.out) {
			t.Errorf("%v: Contains(%d) = %v, Contains(%d) = %v", c.r, c.in, c.r.Contains(c.in), c.out, c.r.Contains(c.out))
		}
		if !c.r.Overlaps(c.overlaps) || !c.overlaps.Overlaps(c.r) || c.r.Overlaps(c.apart) || c.apart.Overlaps(c.r) {
			t.Errorf("%v does not overlap %v, or does %v", c.r, c.overlaps, c.apart)
		}
	}
}

func TestNamesForPeople(t *testing.T) {
	t.Parallel()
	element := build(web()).set(t, "listens4").Elements[0]
	for _, c := range []struct{ got, want string }{
		{TCP.String(), "tcp"},
		{UDP.String(), "udp"},
		{SCTP.String(), "sctp"},
		{Protocol(1).String(), "1"},
		{Listen{Ports: ports(80, 80)}.String(), ":80"},
		{Listen{addr(hostAddr), ports(80, 81)}.String(), "10.2.0.100:80-81"},
		{Listen{addr("fd00::1"), ports(80, 80)}.String(), "[fd00::1]:80"},
		{Backend{Addr: addr("10.3.0.1"), Ports: ports(80, 80)}.String(), "10.3.0.1:80"},
		{Backend{Name: "db.example", Ports: ports(80, 81)}.String(), "db.example:80-81"},
		{ProtectAuto.String(), "auto"},
		{ProtectOwn.String(), "own"},
		{ProtectGuard.String(), "guard"},
		{ProtectOff.String(), "off"},
		{element.Text(), "10.2.0.100:80/tcp (relay web)"},
		{Writer{}.String(), ""},
		{Writer{PID: 7, Name: "nft"}.String(), "nft (pid 7)"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

func TestRelayAdmits(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		from  []string
		src   string
		admit bool
	}{
		{nil, "192.0.2.1", true},
		{[]string{clientNet}, "10.1.255.255", true},
		{[]string{clientNet}, "10.2.0.0", false},
		{[]string{"10.9.9.9/32", clientNet}, "10.1.0.0", true},
		{[]string{"0.0.0.0/0"}, "192.0.2.1", true},
	} {
		r := web(from(c.from...))
		if got := r.Admits(addr(c.src)); got != c.admit {
			t.Errorf("a relay for %v admits %s: %v, want %v", c.from, c.src, got, c.admit)
		}
	}
}

func TestPlacementTarget(t *testing.T) {
	t.Parallel()
	r := relayOf("range", 8000, "10.3.0.1", width(100), backendPort(1), protocols(UDP), also(1, "10.3.0.2"))
	p := placed(&r)
	for listen, want := range map[uint16]uint16{8000: 1, 8042: 43, 8099: 100} {
		for i := range p.Targets {
			to := netip.AddrPortFrom(r.Backends[i].Addr, want)
			if got := p.Target(r.Listen.Ports, listen, to); got != &p.Targets[i] {
				t.Errorf("port %d to %v is target %v", listen, to, got)
			}
		}
		if got := p.Target(r.Listen.Ports, listen, netip.AddrPortFrom(addr("10.3.0.1"), want+1)); got != nil {
			t.Errorf("port %d becomes the next port of %v", listen, got)
		}
	}
	if r.Carries(TCP) || !r.Carries(UDP) {
		t.Error("a relay of udp carries it and nothing else")
	}
}
