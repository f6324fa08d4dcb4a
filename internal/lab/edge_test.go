package lab

import (
	"net/netip"
	"testing"
)

// natRules translate what leaves B for the internet.
const natRules = `table inet gateway {
	chain post {
		type nat hook postrouting priority srcnat
		oifname "ens5" masquerade
	}
}`

// TestEdge has a private host reach the internet through a hand-written gateway only.
func TestEdge(t *testing.T) {
	t.Parallel()
	p := New(t)
	private, err := p.AddPrivate()
	Check(t, err)
	internet, err := p.AddInternet(t.Context())
	Check(t, err)
	type pair struct{ private, public *Echo }
	var servers []pair
	for i := range private.addrs() {
		inside, err := private.EchoTCP(netip.AddrPortFrom(private.addrs()[i], 7).String())
		Check(t, err)
		outside, err := internet.EchoTCP(netip.AddrPortFrom(internet.addrs()[i], 7).String())
		Check(t, err)
		servers = append(servers, pair{inside, outside})
		atB, err := p.B.EchoTCP(netip.AddrPortFrom(p.B.addrs()[i], 7).String())
		Check(t, err)
		reaches(t, p.B, "tcp", inside.Addr, true)
		reaches(t, p.B, "tcp", outside.Addr, true)
		reaches(t, internet, "tcp", atB.Addr, true)
		reaches(t, private, "tcp", atB.Addr, true)
		reaches(t, private, "tcp", outside.Addr, false) // B does not forward
	}
	Check(t, p.B.forward())
	for _, s := range servers {
		reaches(t, private, "tcp", s.public.Addr, false) // it does, without translation
		reaches(t, internet, "tcp", s.private.Addr, false)
		reaches(t, p.A, "tcp", s.public.Addr, false)
		reaches(t, p.A, "tcp", s.private.Addr, false)
	}
	leaked, err := p.Untranslated(t.Context())
	Check(t, err)
	if leaked < uint64(len(servers)) {
		t.Errorf("R counted %d untranslated packets, want one at least for each of %d attempts", leaked, len(servers))
	}
	Check(t, p.B.Nft(t.Context(), natRules))
	for _, s := range servers {
		reaches(t, private, "tcp", s.public.Addr, true)
		peers := s.public.Peers()
		if got, want := peers[len(peers)-1].Addr(), p.B.addr(s.public.Addr.Addr()); got != want {
			t.Errorf("the internet saw %v, want %v", got, want)
		}
	}
	after, err := p.Untranslated(t.Context())
	Check(t, err)
	if after != leaked {
		t.Errorf("%d packets more were not translated", after-leaked)
	}
}

// TestExpose takes the router's protection from private addresses: then only B keeps the internet away.
func TestExpose(t *testing.T) {
	t.Parallel()
	p := New(t)
	private, err := p.AddPrivate()
	Check(t, err)
	internet, err := p.AddInternet(t.Context())
	Check(t, err)
	for _, prefix := range []string{"10.100.20.0/24", "fd00:10:100:20::/64"}[:len(private.addrs())] {
		Check(t, p.Expose(t.Context(), netip.MustParsePrefix(prefix)))
	}
	var servers []netip.AddrPort
	for _, a := range private.addrs() {
		server, err := private.EchoTCP(netip.AddrPortFrom(a, 7).String())
		Check(t, err)
		servers = append(servers, server.Addr)
		reaches(t, internet, "tcp", server.Addr, false)
	}
	Check(t, p.B.forward())
	for _, server := range servers {
		reaches(t, internet, "tcp", server, true)
	}
}

func TestCounterThatIsNotThere(t *testing.T) {
	t.Parallel()
	p := New(t)
	if n, err := p.Untranslated(t.Context()); err == nil {
		t.Errorf("without an internet there is a count: %d", n)
	}
}
