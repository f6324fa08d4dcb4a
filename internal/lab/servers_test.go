package lab

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestNginx(t *testing.T) {
	t.Parallel()
	Require(t, "nginx", "curl")
	p := New(t)
	listen := []netip.AddrPort{netip.AddrPortFrom(p.C.Addr, 80), netip.MustParseAddrPort("127.0.0.1:8080")}
	if p.C.Addr6.IsValid() {
		listen = append(listen, netip.AddrPortFrom(p.C.Addr6, 80))
	}
	n, err := p.C.StartNginx(t.Context(), listen...)
	Check(t, err)
	Check(t, os.WriteFile(filepath.Join(n.Root, "file"), []byte("more"), 0o644))

	for _, a := range listen {
		body, err := p.C.Curl(t.Context(), fmt.Sprintf("http://%s/", a))
		Check(t, err)
		if !strings.Contains(body, "<title>Welcome to nginx!</title>") {
			t.Errorf("%s: got the page %q", a, body)
		}
	}
	body, err := p.B.Curl(t.Context(), "http://10.3.0.100/file")
	Check(t, err)
	if body != "more" {
		t.Errorf("got the file %q", body)
	}
	if _, err := p.B.Curl(t.Context(), "http://10.3.0.100/absent"); err == nil {
		t.Error("no error for a page that does not exist")
	}
	log, err := n.AccessLog()
	Check(t, err)
	if len(log) != len(listen)+2 || !strings.HasPrefix(log[len(listen)], "10.2.0.100 - ") {
		t.Errorf("the access log is %q", log)
	}
}

func TestNginxTellsWhyItDoesNotStart(t *testing.T) {
	t.Parallel()
	Require(t, "nginx")
	h := NewHost(t)
	_, err := h.StartNginx(t.Context(), netip.MustParseAddrPort("10.3.0.100:80"))
	if err == nil || !strings.Contains(err.Error(), "Cannot assign requested address") {
		t.Errorf("got %v, want nginx's own words", err)
	}
}

func TestDNS(t *testing.T) {
	t.Parallel()
	Require(t, "dnsmasq", "dig")
	p := New(t)
	records := map[string][]netip.Addr{"app.internal": {netip.MustParseAddr("10.3.0.100"), netip.MustParseAddr("10.3.0.101")}}
	d, err := p.B.StartDNS(t.Context(), netip.MustParseAddrPort("10.2.0.100:53"), records)
	Check(t, err)
	resolves := func(want ...string) error {
		out, err := p.A.Run(t.Context(), "dig", "+short", "+tries=1", "@10.2.0.100", "app.internal")
		if err != nil {
			return err
		}
		for _, w := range want {
			if !strings.Contains(out, w+"\n") {
				return fmt.Errorf("the answer is %q, want %q", out, want)
			}
		}
		if len(lines(out)) != len(want) {
			return fmt.Errorf("the answer is %q, want %q", out, want)
		}
		return nil
	}
	Check(t, resolves("10.3.0.100", "10.3.0.101"))
	Check(t, d.Set(map[string][]netip.Addr{"app.internal": {netip.MustParseAddr("10.3.0.102")}}))
	Eventually(t, patience, func() error { return resolves("10.3.0.102") })
	Check(t, d.Set(nil))
	Eventually(t, patience, func() error { return resolves() })
}

func TestEchoRemembersItsPeers(t *testing.T) {
	t.Parallel()
	p := New(t)
	for _, network := range []string{"tcp", "udp"} {
		start := p.B.EchoTCP
		if network == "udp" {
			start = p.B.EchoUDP
		}
		server, err := start(":0")
		Check(t, err)
		target := netip.AddrPortFrom(p.B.Addr, server.Addr.Port())
		c, err := p.A.Dial(t.Context(), network, target.String())
		Check(t, err)
		Check(t, exchange(c, patience))
		if got, want := server.Peers(), addrPort(c.LocalAddr()); len(got) != 1 || got[0] != want {
			t.Errorf("%s: the server met %v, want %v", network, got, want)
		}
		Check(t, c.Close())
	}
	if _, err := p.B.EchoTCP("10.9.9.9:7"); err == nil {
		t.Error("no error for an address that B does not have")
	}
}

func TestConntrack(t *testing.T) {
	t.Parallel()
	Require(t, "conntrack")
	p := New(t)
	Check(t, p.B.Nft(t.Context(), "table ip t { chain c { type filter hook input priority filter; ct state new accept; }; }"))
	server, err := p.B.EchoTCP("10.2.0.100:7")
	Check(t, err)
	reaches(t, p.A, "tcp", server.Addr, true)
	got, err := p.B.Conntrack(t.Context(), "-p", "tcp")
	Check(t, err)
	if len(got) != 1 || !strings.Contains(got[0], "src=10.1.0.100 dst=10.2.0.100") {
		t.Errorf("B tracks %q, want the one connection from A", got)
	}
}
