package main

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"natd/internal/lab"
)

// tellers starts servers that tell their names on port 7000 of the first n extra addresses of host C, and returns them as TOML strings.
func (b *box) tellers(n int) []string {
	b.t.Helper()
	lab.Check(b.t, b.C.AddExtra(n))
	var backends []string
	for i := range n {
		at := netip.AddrPortFrom(b.C.Extra(i + 1)[0], 7000).String()
		teller, err := b.C.TellTCP(at, fmt.Sprint(i+1))
		lab.Check(b.t, err)
		b.t.Cleanup(func() { _ = teller.Stop() })
		backends = append(backends, at)
	}
	return backends
}

// TestShares wants 10,000 connections over three backends to be shared out as the weights say.
func TestShares(t *testing.T) {
	t.Parallel()
	for _, balance := range []string{"round-robin", "random"} {
		t.Run(balance, func(t *testing.T) {
			t.Parallel()
			b := newBox(t)
			to := b.tellers(3)
			b.start(fmt.Sprintf(`
[[relay]]
name = "tell"
listen = "10.2.0.100:7000"
balance = %q
to = [{address = %q, weight = 5}, {address = %q, weight = 3}, {address = %q, weight = 2}]
`, balance, to[0], to[1], to[2]))
			calls, err := b.A.Call(t.Context(), lab.Plan{Network: "tcp", To: netip.MustParseAddrPort("10.2.0.100:7000"), Count: 10_000, AtOnce: 4})
			lab.Check(t, err)
			lab.Check(t, calls.Err())
			for name, percent := range map[string]int{"1": 50, "2": 30, "3": 20} {
				if got := calls.Names()[name] * 100; got < (percent-3)*10_000 || got > (percent+3)*10_000 {
					t.Errorf("backend %s got %d of 10,000 connections, want %d %%", name, got/100, percent)
				}
			}
			s := b.status()
			if r := s.Relays[0]; r.Connections.Total != 10_000 || r.Backends[0].Total+r.Backends[1].Total+r.Backends[2].Total != 10_000 {
				t.Errorf("status counts %+v and %+v", r.Connections, r.Backends)
			}
		})
	}
}

// TestSourceSticks wants each of 200 clients to stay with one backend, and when one leaves, only its clients to move.
func TestSourceSticks(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	to := b.tellers(3)
	lab.Check(t, b.A.Own(t.Context(), netip.MustParsePrefix("10.1.7.0/24")))
	config := func(to []string) string {
		return fmt.Sprintf(`
[[relay]]
name = "tell"
listen = "10.2.0.100:7000"
balance = "source"
to = ["%s"]
`, strings.Join(to, `", "`))
	}
	b.start(config(to))
	var clients []netip.Addr
	for a := netip.MustParseAddr("10.1.7.1"); len(clients) < 200; a = a.Next() {
		clients = append(clients, a)
	}
	homes := func() map[netip.Addr]string {
		t.Helper()
		calls, err := b.A.Call(t.Context(), lab.Plan{Network: "tcp", To: netip.MustParseAddrPort("10.2.0.100:7000"), Count: 1000, AtOnce: 4, From: clients})
		lab.Check(t, err)
		lab.Check(t, calls.Err())
		home := make(map[netip.Addr]string)
		for client, names := range calls.ByClient() {
			if len(names) != 1 {
				t.Fatalf("client %s reached %v, want one backend", client, names)
			}
			for name := range names {
				home[client] = name
			}
		}
		return home
	}
	before := homes()
	used := make(map[string]int)
	for _, name := range before {
		used[name]++
	}
	if len(used) != 3 {
		t.Errorf("the clients are spread as %v, want all three backends", used)
	}
	b.reload(config(to[:2]))
	for client, name := range homes() {
		if before[client] != "3" && name != before[client] {
			t.Errorf("client %s moved from %s to %s, though its backend stays", client, before[client], name)
		}
	}
	b.reload(config(to))
	for client, name := range homes() {
		if name != before[client] {
			t.Errorf("client %s is with %s, and was with %s before a backend left and came back", client, name, before[client])
		}
	}
}
