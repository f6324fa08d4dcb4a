package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"natd/internal/control"
	"natd/internal/lab"
)

// TestTotalStays takes the counters of natd's table away in every way that there is, without [metrics] and [flow_log]: what status
// has shown it shows again, and counts on.
func TestTotalStays(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	to := b.tellers(1)
	b.start(fmt.Sprintf("[daemon]\nprotect = \"off\"\n\n[[relay]]\nname = \"tell\"\nlisten = \"10.2.0.100:7000\"\nto = [\"%s\"]\nfail = \"closed\"\n", to[0]))
	total := uint64(0)
	call := func() {
		t.Helper()
		calls, err := b.A.Call(t.Context(), lab.Plan{Network: "tcp", To: netip.MustParseAddrPort("10.2.0.100:7000"), Count: 3})
		lab.Check(t, errors.Join(err, calls.Err()))
		total += 3
	}
	want := func(when string) {
		t.Helper()
		r := b.relay("tell")
		if s := b.status(); s.Accounting.Exact || r.Connections.Total != total || r.Backends[0].Total != total {
			t.Errorf("%s: exact %t, total %d, backend %+v, want %d", when, s.Accounting.Exact, r.Connections.Total, r.Backends[0], total)
		}
	}
	natctl := func(args ...string) {
		t.Helper()
		if _, errs, code := b.natctl(args...); code != control.CodeOK && code != control.CodeDegraded {
			t.Fatalf("natctl %v exits %d: %s", args, code, errs)
		}
	}
	call()
	want("at first")
	natctl("drain", "tell")
	want("drained")
	natctl("enable", "tell")
	call()
	want("enabled again")
	b.nft("flush ruleset")
	b.awaitReady()
	call()
	want("after a flush by another")
	natctl("flush")
	want("after natctl flush")
	natctl("reload")
	call()
	want("after all of it")
}

// TestCountsFollowTheConfiguration turns the counting on and off by reloads, takes the file away under natd and damages it: natd counts on.
func TestCountsFollowTheConfiguration(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	to := b.tellers(1)
	plain := fmt.Sprintf("[[relay]]\nname = \"tell\"\nlisten = \"10.2.0.100:7000\"\nto = [\"%s\"]\n", to[0])
	metered := fmt.Sprintf("[flow_log]\npath = %q\ninterval = \"1s\"\n\n", filepath.Join(b.dir, "flow.log")) + plain
	state := filepath.Join(b.dir, "state")
	call := func() {
		t.Helper()
		calls, err := b.A.Call(t.Context(), lab.Plan{Network: "tcp", To: netip.MustParseAddrPort("10.2.0.100:7000"), Count: 1})
		lab.Check(t, errors.Join(err, calls.Err()))
	}
	want := func(exact bool, total uint64) {
		t.Helper()
		b.awaitStatus(func(s *control.Status) error {
			if c := s.Relays[0].Connections; s.Accounting.Exact != exact || c.Total != total {
				return fmt.Errorf("%+v, %+v, want exact %t, %d", s.Accounting, c, exact, total)
			}
			return nil
		})
	}
	b.start(metered)
	call()
	want(true, 1)
	b.reload(plain)
	call()
	want(false, 2) // as the table has it
	b.reload(metered)
	want(true, 2) // it is still tracked
	call()
	want(true, 3)
	b.saved()

	obstacle := filepath.Join(state, "counters.json", "obstacle")
	lab.Check(t, errors.Join(os.Remove(filepath.Dir(obstacle)), os.MkdirAll(obstacle, 0o700)))
	call()
	want(true, 4)
	lab.Check(t, b.natd.AwaitLog(t.Context(), patience, "the counts of connections cannot be kept"))
	lab.Check(t, os.RemoveAll(filepath.Dir(obstacle)))
	b.saved()

	lab.Check(t, b.natd.Stop())
	lab.Check(t, os.WriteFile(filepath.Join(state, "counters.json"), []byte(`{"Tallies":[`), 0o600))
	b.launch()
	b.awaitReady()
	want(true, 4) // all of them are tracked still
	lab.Check(t, b.natd.AwaitLog(t.Context(), patience, "the counts of connections cannot be read: they begin anew"))
	if _, err := os.Stat(filepath.Join(state, "counters.json.corrupt")); err != nil {
		t.Error(err)
	}
	b.reload("[metrics]\n\n" + strings.Replace(plain, "tell", "told", 1))
	call()
	want(true, 1) // of the relay that took its place
	if out, errs, code := b.natctl("flush"); code != control.CodeOK {
		t.Fatalf("natctl flush exits %d: %s%s", code, out, errs)
	}
	for key, value := range map[string]string{"events": "2", "timestamp": "0"} { // the kernel's defaults
		b.awaitSysctl("net.netfilter.nf_conntrack_"+key, value)
	}
}

// TestAccountingIsGivenBack: rules that ask for counts make the kernel turn accounting on by itself, and it was off.
func TestAccountingIsGivenBack(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	key := "net.netfilter.nf_conntrack_acct"
	lab.Check(t, b.B.SetSysctl(key, "0"))
	b.start("[metrics]\n\n" + relayText("echo", "10.2.0.100:7", "tcp"))
	b.awaitSysctl(key, "1")
	if out, errs, code := b.natctl("flush"); code != control.CodeOK {
		t.Fatalf("natctl flush exits %d: %s%s", code, out, errs)
	}
	b.awaitSysctl(key, "0")
}

// TestTotalLeavesOutTheRefused keeps connections out by a limit: what never came to be is not in the total.
func TestTotalLeavesOutTheRefused(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	_, err := b.C.EchoTCP("10.3.0.100:7")
	lab.Check(t, err)
	b.start("[metrics]\n\n[[relay]]\nname = \"echo\"\nlisten = \"10.2.0.100:7\"\nto = [\"10.3.0.100:7\"]\nmax_connections = 2\n")
	for i := range 5 {
		d := net.Dialer{Timeout: 300 * time.Millisecond}
		lab.Check(t, b.A.Do(func() error {
			c, err := d.DialContext(t.Context(), "tcp", "10.2.0.100:7")
			if err == nil {
				t.Cleanup(func() { _ = c.Close() })
			}
			if (err == nil) != (i < 2) {
				t.Errorf("connection %d: %v", i, err)
			}
			return nil
		}))
	}
	r := b.relay("echo")
	if r.Connections.Total != 2 || r.Connections.Active != 2 || r.Refused.Connections < 3 {
		t.Errorf("%+v, kept out %+v, want 2 and 3", r.Connections, r.Refused)
	}
}

// A meter that hangs, here because the file with its counts cannot be read, does not keep natd from its work, however often it is asked.
func TestRepairsWhileTheMeterHangs(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	lab.Check(t, errors.Join(os.Mkdir(filepath.Join(b.dir, "state"), 0o750), unix.Mkfifo(filepath.Join(b.dir, "state", "counters.json"), 0o600)))
	b.configure("[daemon]\nprotect = \"guard\"\n" + b.metered())
	b.launch()
	b.awaitReady()
	ctx, cancel := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	defer func() { cancel(); asking.Wait(); b.kill() }() // it waits for the file
	asking.Go(func() {
		for ctx.Err() == nil {
			if s, err := b.tryStatus(); err != nil || s.Accounting.Exact {
				t.Errorf("status is %+v: %v", s, err)
				return
			}
		}
	})
	for range 3 {
		b.nft("flush ruleset")
		began := time.Now()
		lab.Eventually(t, patience, func() error {
			_, err := b.B.Run(t.Context(), "nft", "list", "chain", "inet", "natd", "prerouting")
			return err
		})
		if took := time.Since(began); took > 4*slow {
			t.Errorf("the repair took %v", took)
		}
	}
}
