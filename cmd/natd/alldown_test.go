package main

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"natd/internal/control"
	"natd/internal/lab"
)

// slow is how long a refusal may take: a client that gets none waits for seconds.
const slow = 500 * time.Millisecond

// refusedAtOnce wants the calls to be refused with a reset, and soon.
func refusedAtOnce(t *testing.T, plan lab.Plan, h *lab.Host) {
	t.Helper()
	plan.Within = 3 * time.Second
	began := time.Now()
	calls, err := h.Call(t.Context(), plan)
	lab.Check(t, err)
	for _, c := range calls {
		if !errors.Is(c.Err, syscall.ECONNREFUSED) {
			t.Errorf("a call got %q and %v, want it refused", c.Name, c.Err)
		}
	}
	if took := time.Since(began); took > slow*time.Duration(len(calls)) {
		t.Errorf("%d refusals took %v", len(calls), took)
	}
}

// TestAllBackendsDie kills every backend of a relay that fails open, and of one that fails closed.
func TestAllBackendsDie(t *testing.T) {
	t.Parallel()
	for fail, words := range map[string]string{
		"open":   `every backend is down, connections go to them all the same (fail = "open"): backend 10.3.0.101:80 is down: connection refused`,
		"closed": `every backend is down, new connections are refused (fail = "closed"): backend 10.3.0.101:80 is down: connection refused`,
	} {
		t.Run(fail, func(t *testing.T) {
			t.Parallel()
			b := newBox(t)
			backends, to := b.nginxes(3)
			b.start(pool(to, calmHealth, `fail = "`+fail+`"`))
			b.awaitBackends("up", "up", "up")
			for _, one := range backends {
				lab.Check(t, one.Kill())
			}
			r := b.awaitBackends("down", "down", "down")
			if r.State != control.RelayDown || !strings.Contains(r.Reason, words) {
				t.Errorf("the relay is %s: %s; want %s: %s", r.State, r.Reason, control.RelayDown, words)
			}
			if s := b.status(); s.State != control.StateDegraded || !s.Ruleset.InSync {
				t.Errorf("natd is %s and in sync: %v, want %s and in sync", s.State, s.Ruleset.InSync, control.StateDegraded)
			}
			b.step([]string{"status"}, control.CodeDegraded, words)
			b.step([]string{"plan", "--exit-code"}, control.CodeOK, words)
			b.lintRules()

			before := b.status().Relays[0].Connections.Total
			refusedAtOnce(t, lab.Plan{Network: "http", To: netip.MustParseAddrPort(webListen), Count: 9}, b.A)
			sent := b.status().Relays[0].Connections.Total - before
			if want := map[string]uint64{"open": 9, "closed": 0}[fail]; sent != want {
				t.Errorf("%d connections were sent to a backend, want %d", sent, want)
			}

			lab.Check(t, backends[2].Restart(t.Context()))
			b.awaitBackends("down", "down", "up")
			lab.Check(t, b.get(6).Err())
			lab.Check(t, backends[0].Restart(t.Context()))
			lab.Check(t, backends[1].Restart(t.Context()))
			b.awaitBackends("up", "up", "up")
			if got := b.get(9).Names(); len(got) != 3 {
				t.Errorf("after everything came back the pages are from %v", got)
			}
			b.step([]string{"status"}, control.CodeOK, "3/3 up")
		})
	}
}

// lintRules wants nft to accept what natctl rules prints: on a host without a table of natd, and with the interfaces that a flowtable names.
func (b *box) lintRules() {
	b.t.Helper()
	rules, errs, code := b.natctl("rules")
	if code != control.CodeOK {
		b.t.Fatalf("natctl rules exits %d: %s", code, errs)
	}
	cmd := b.A.Command(b.t.Context(), "nft", "-c", "-f", "-")
	cmd.Stdin = strings.NewReader(rules)
	if out, err := cmd.CombinedOutput(); err != nil {
		b.t.Errorf("nft refuses what natctl rules prints: %v\n%s", err, out)
	}
}

// TestBackup wants a backup to be used only while every other backend is down.
func TestBackup(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	backends, to := b.nginxes(3)
	to[2] = "{address = " + to[2] + ", backup = true}"
	b.start(pool(to, calmHealth))
	b.awaitBackends("up", "up", "up")
	used := func(want ...string) {
		t.Helper()
		calls := b.get(12)
		lab.Check(t, calls.Err())
		got := calls.Names()
		if len(got) != len(want) {
			t.Errorf("pages are from %v, want %v", got, want)
		}
		for _, name := range want {
			if got[name] == 0 {
				t.Errorf("pages are from %v, want %v", got, want)
			}
		}
	}
	used("backend-1", "backend-2")
	lab.Check(t, backends[0].Kill())
	b.awaitBackends("down", "up", "up")
	used("backend-2")
	lab.Check(t, backends[1].Kill())
	r := b.awaitBackends("down", "down", "up")
	if !r.Backends[2].InUse || r.State != control.RelayDegraded {
		t.Errorf("with the backup alone the relay is %s: %s, and the backup in use: %v", r.State, r.Reason, r.Backends[2].InUse)
	}
	used("backend-3")
	lab.Check(t, backends[0].Restart(t.Context()))
	b.awaitBackends("up", "down", "up")
	used("backend-1")

	r, err := relayOf(b.status(), "web")
	lab.Check(t, err)
	var totals []uint64
	for i, one := range r.Backends {
		totals = append(totals, one.Total)
		lab.Eventually(t, patience, func() error { // nginx writes the line behind the answer
			log, err := backends[i].AccessLog()
			if err == nil && one.Total != uint64(len(log)) {
				err = fmt.Errorf("%s answered %d requests, and status counts %d connections", backends[i].Name, len(log), one.Total)
			}
			return err
		})
	}
	if r.Connections.Total != 48 {
		t.Errorf("48 connections count as %d, by backend %v", r.Connections.Total, totals)
	}
}
