package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"natd/internal/control"
	"natd/internal/lab"
)

// quickHealth takes a backend out within a second, and brings it back as fast.
const quickHealth = `health = {type = "tcp", interval = "300ms", timeout = "200ms", rise = 2, fall = 2}`

// calmHealth takes its time, for tests that do not measure any: a machine that is emulated may take long to answer.
const calmHealth = `health = {type = "tcp", interval = "700ms", timeout = "650ms", rise = 2, fall = 2}`

// outWithin is fall x interval of quickHealth, and what a machine with other tests on it takes to act on it.
const outWithin = 2*300*time.Millisecond + 400*time.Millisecond

// webListen is where the relays of these tests listen.
const webListen = "10.2.0.100:80"

// pool is a relay of 10.2.0.100:80 to backends of C; lines are added to it.
func pool(to []string, lines ...string) string {
	return fmt.Sprintf("[[relay]]\nname = \"web\"\nlisten = \"10.2.0.100:80\"\nto = [%s]\n%s\n", strings.Join(to, ", "), strings.Join(lines, "\n"))
}

// nginxes starts several nginx on host C, and returns them with the TOML strings of their addresses.
func (b *box) nginxes(n int) (backends []*lab.Backend, to []string) {
	b.t.Helper()
	lab.Require(b.t, "nginx")
	backends, err := b.C.StartBackends(b.t.Context(), n, 80)
	lab.Check(b.t, err)
	for _, one := range backends {
		to = append(to, fmt.Sprintf("%q", netip.AddrPortFrom(one.Addrs[0], 80)))
	}
	return backends, to
}

// awaitBackends waits until the first relay's backends are in these states, in the order of the file.
func (b *box) awaitBackends(states ...string) *control.Relay {
	b.t.Helper()
	var r control.Relay
	b.awaitStatus(func(s *control.Status) error {
		r = s.Relays[0]
		if got := statesOf(&r); !slices.Equal(got, states) || !s.Ruleset.InSync {
			return fmt.Errorf("the backends are %v, want %v: %s; %s", got, states, r.Reason, s.Ruleset.LastError)
		}
		return nil
	})
	return &r
}

func statesOf(r *control.Relay) (states []string) {
	for _, one := range r.Backends {
		states = append(states, one.State)
	}
	return states
}

// pages gets pages until the returned function is called.
func (b *box) pages() (end func() lab.Calls) {
	ctx, cancel := context.WithCancel(b.t.Context())
	done := make(chan lab.Calls, 1)
	go func() {
		calls, err := b.A.Call(ctx, lab.Plan{Network: "http", To: netip.MustParseAddrPort(webListen), AtOnce: 2, Pause: 2 * time.Millisecond})
		if err != nil {
			b.t.Error(err)
		}
		done <- calls
	}()
	return func() lab.Calls { cancel(); return <-done }
}

// get gets n pages, and tells who answered.
func (b *box) get(n int) lab.Calls {
	b.t.Helper()
	calls, err := b.A.Call(b.t.Context(), lab.Plan{Network: "http", To: netip.MustParseAddrPort(webListen), Count: n, Within: 2 * time.Second})
	lab.Check(b.t, err)
	return calls
}

// TestBackendDies kills one of three nginx under load. The probes come from the address that the clients' packets carry.
func TestBackendDies(t *testing.T) {
	t.Parallel()
	lab.Require(t, "tcpdump")
	b := newBox(t)
	backends, to := b.nginxes(3)
	own := netip.MustParsePrefix("10.2.0.77/32")
	lab.Check(t, b.B.AddAddr(lab.Device, own))
	probes, err := b.C.Capture(t.Context(), lab.Device, "tcp[tcpflags] == tcp-syn and dst host 10.3.0.102")
	lab.Check(t, err)
	b.start(pool(to, quickHealth, `snat = "10.2.0.77"`))
	b.awaitBackends("up", "up", "up")

	end := b.pages()
	lab.Eventually(t, patience, func() error { return logged(backends[1], 10) })
	lab.Check(t, backends[1].Kill())
	killed := time.Now()
	b.awaitBackends("up", "down", "up")
	out := time.Since(killed)
	time.Sleep(time.Until(killed.Add(outWithin + time.Second))) // the time in which nothing may fail
	lab.Check(t, backends[1].Restart(t.Context()))
	r := b.awaitBackends("up", "up", "up")
	back := time.Now()
	lab.Eventually(t, patience, func() error {
		if r, _ = relayOf(b.status(), "web"); r.Backends[1].Active == 0 && r.Backends[1].Total == 0 {
			return errors.New("it takes no connections")
		}
		return nil
	})
	time.Sleep(300 * time.Millisecond)
	calls := end()
	t.Logf("%d pages, out after %v; before: %v, after: %v", len(calls), out, calls.Err(), calls.Since(killed.Add(outWithin)).Names())
	lab.Check(t, calls.Since(killed.Add(outWithin)).Err())
	if calls.Err() == nil {
		t.Error("no page failed at all: nobody has noticed that the backend died")
	}
	if calls.Since(back).Names()[backends[1].Name] == 0 {
		t.Error("the backend came back and takes no connections")
	}
	packets := probes.Packets()
	if len(packets) < len(calls)/10 {
		t.Errorf("only %d connections were seen on the wire", len(packets))
	}
	for _, p := range packets {
		if p.Src.Addr() != own.Addr() {
			t.Fatalf("a connection comes from %s, want everything from %s: %s", p.Src, own.Addr(), p.Line)
		}
	}
}

// logged is an error while the access log has less than n lines.
func logged(n *lab.Backend, lines int) error {
	if log, err := n.AccessLog(); err != nil || len(log) < lines {
		return fmt.Errorf("the access log has %d lines, want %d: %w", len(log), lines, err)
	}
	return nil
}
