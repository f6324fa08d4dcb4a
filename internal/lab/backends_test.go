package lab

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestBackendsDieAndComeBackAlone(t *testing.T) {
	t.Parallel()
	Require(t, "nginx", "curl")
	p := New(t)
	backends, err := p.C.StartBackends(t.Context(), 3, 80)
	Check(t, err)
	page := func(b *Backend, want bool) {
		t.Helper()
		for _, a := range b.Addrs {
			body, err := p.B.Curl(t.Context(), "http://"+netip.AddrPortFrom(a, 80).String()+"/")
			if got := err == nil && body == b.Name+"\n"; got != want {
				t.Errorf("%s on %v: got %q (%v), want an answer: %v", b.Name, a, body, err, want)
			}
		}
	}
	Check(t, backends[1].Kill())
	for i, b := range backends {
		page(b, i != 1)
	}
	Check(t, backends[1].Restart(t.Context()))
	for _, b := range backends {
		page(b, true)
	}
	for i, times := range []int{2, 1, 2} {
		log, err := backends[i].AccessLog()
		Check(t, err)
		if want := times * len(backends[i].Addrs); len(log) != want || !strings.HasPrefix(log[0], "10.2.0.100 ") {
			t.Errorf("%s wrote the access log %q, want %d lines, the first from B", backends[i].Name, log, want)
		}
	}
}

// TestCallsAsLoad kills and restarts a backend while calls go on, and finds the failed ones in between.
func TestCallsAsLoad(t *testing.T) {
	t.Parallel()
	Require(t, "nginx")
	p := New(t)
	backends, err := p.C.StartBackends(t.Context(), 1, 80)
	Check(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan Calls)
	go func() {
		calls, err := p.B.Call(ctx, Plan{Network: "http", To: netip.AddrPortFrom(backends[0].Addrs[0], 80), AtOnce: 2, Pause: 5 * time.Millisecond})
		if err != nil {
			t.Error(err)
		}
		done <- calls
	}()
	Eventually(t, patience, func() error {
		if log, err := backends[0].AccessLog(); err != nil || len(log) < 10 {
			return errors.New("no load yet")
		}
		return nil
	})
	killed := time.Now()
	Check(t, backends[0].Kill())
	Eventually(t, patience, func() error {
		if time.Since(killed) < blocked {
			return errors.New("calls must fail first")
		}
		return nil
	})
	Check(t, backends[0].Restart(t.Context()))
	back := time.Now()
	Eventually(t, patience, func() error {
		if log, err := backends[0].AccessLog(); err != nil || len(log) < 20 {
			return errors.New("no load again")
		}
		return nil
	})
	cancel()
	calls := <-done
	failed := calls.Since(killed)
	if failed.Err() == nil {
		t.Error("no call failed while nginx was dead")
	}
	if again := calls.Since(back); again.Err() != nil || again.Names()["backend-1"] == 0 {
		t.Errorf("after its return %d calls: %v", len(again), again.Err())
	}
	if before := calls[:len(calls)-len(failed)]; len(before) < 8 {
		t.Errorf("%d calls before its death, want more", len(before))
	}
}
