package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"natd/internal/control"
	"natd/internal/lab"
)

// manyRelays is a configuration of n relays, every second one for everybody. The last one goes to the port given.
func manyRelays(n, lastPort int) string {
	var b strings.Builder
	b.WriteString("[daemon]\nprotect = \"guard\"\n")
	for i := range n {
		port := 20000 + i
		if i == n-1 {
			port = lastPort
		}
		fmt.Fprintf(&b, "[[relay]]\nname = \"relay-%d\"\nlisten = \"10.2.0.100:%d\"\nto = [\"10.3.0.100:%d\"]\n", i, 10000+i, port)
		if i%2 == 0 {
			b.WriteString("from = [\"10.1.0.0/16\"]\n")
		}
	}
	return b.String()
}

// elements counts the elements of a set or map as nft lists them.
func elements(t testing.TB, h *lab.Host, kind, name string) int {
	t.Helper()
	out, err := h.Run(t.Context(), "nft", "-j", "list", kind, "inet", "natd", name)
	lab.Check(t, err)
	return strings.Count(out, `"elem": {`) // to decode it takes long while races are looked for
}

// complete fails the test unless the kernel holds n relays, and natd knows it.
func (b *box) complete(n int) {
	b.t.Helper()
	if all, some := elements(b.t, b.B, "map", "relays4"), elements(b.t, b.B, "map", "relays4_from16"); all != n/2 || some != n/2 {
		b.t.Errorf("the kernel holds %d relays for everybody and %d for some, want %d each", all, some, n/2)
	}
	for kind, name := range map[string]string{"set": "listens4", "map": "snat4"} {
		if got := elements(b.t, b.B, kind, name); got != n {
			b.t.Errorf("%s has %d elements, want %d", name, got, n)
		}
	}
	s := b.status()
	ready := 0
	for _, r := range s.Relays {
		if r.State == control.RelayReady {
			ready++
		}
	}
	if s.State != control.StateReady || !s.Ruleset.InSync || ready != n {
		b.t.Errorf("status is %s, in sync %v, with %d relays ready, want %d: %v", s.State, s.Ruleset.InSync, ready, n, s.Reasons)
	}
}

// residentMemory is the memory of a process as /proc/PID/status tells it.
func residentMemory(t testing.TB, pid int) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	lab.Check(t, err)
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

// TestTenThousandRelays does with very many relays what is done with one. It logs the times, with the race detector in them,
// and fails for what is incomplete.
func TestTenThousandRelays(t *testing.T) { // not parallel: the times would be those of the others
	b := newBox(t)
	const n = 10_000
	echo(t, b.C, "tcp", "10.3.0.100:20000")
	server := echo(t, b.C, "tcp", "10.3.0.100:7")
	timed := func(what string, do func()) {
		began := time.Now()
		do()
		t.Logf("%-20s %v", what, time.Since(began).Round(time.Millisecond))
	}
	timed("start", func() {
		b.configure(manyRelays(n, 20000+n-1))
		b.launch()
		lab.Check(t, b.natd.AwaitLog(t.Context(), patience, "msg=ready")) // a status of so many relays is a lot of work, and would be asked for again and again
	})
	b.complete(n)
	lab.Check(t, reach(t, b.A, "tcp", "10.2.0.100:10000", patience))
	timed("status", func() { b.status() })

	timed("reload of one", func() { b.reload(manyRelays(n, 7)) })
	b.complete(n)
	lab.Check(t, reach(t, b.A, "tcp", fmt.Sprintf("10.2.0.100:%d", 10000+n-1), patience))
	if len(server.Peers()) != 1 {
		t.Error("the changed relay does not lead to its new backend")
	}
	timed("heal after a flush", func() {
		b.nft("flush ruleset")
		lab.Check(t, b.natd.AwaitLog(t.Context(), patience, "msg=repaired"))
		b.awaitReady()
	})
	b.complete(n)
	var rules string
	timed("natctl rules", func() { rules, _, _ = b.natctl("rules") })
	if got := strings.Count(rules, `comment "relay-`); got < 3*n {
		t.Errorf("natctl rules names relays %d times, want it in three sets each: %d", got, 3*n)
	}
	timed("natctl plan", func() { b.step([]string{"plan", "--exit-code"}, control.CodeOK, "no changes") })
	t.Logf("%-20s %s", "resident memory", residentMemory(t, b.natd.PID()))
}
