package main

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"natd/internal/control"
	"natd/internal/lab"
)

// hundredThousand is a configuration of so many relays on two addresses of host B; port is that of the backend of one in the middle, and
// extra is put in front.
func hundredThousand(extra string, port int) string {
	const n = 100_000
	var b strings.Builder
	b.WriteString(extra)
	for i := range n {
		to := 20000 + i%1000
		if i == n/2 {
			to = port
		}
		fmt.Fprintf(&b, "\n[[relay]]\nname = \"relay-%d\"\nlisten = \"10.2.0.%d:%d\"\nto = [\"10.3.0.100:%d\"]\n", i, 100+i/(n/2), 10000+i%(n/2), to)
	}
	return b.String()
}

// plainPrograms builds natd and natctl as they are installed, without the race detector.
func plainPrograms(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	build := exec.Command("go", "build", "-o", dir, "natd/cmd/natd", "natd/cmd/natctl")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the programs: %v\n%s", err, out)
	}
	return dir
}

// cpuTime is what a process has used so far: utime and stime of proc(5), in hundredths of a second.
func cpuTime(t testing.TB, pid int) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	lab.Check(t, err)
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	sum := 0
	for _, field := range fields[11:13] {
		n, err := strconv.Atoi(field)
		lab.Check(t, err)
		sum += n
	}
	return time.Duration(sum) * 10 * time.Millisecond
}

// TestHundredThousandRelays measures, with the programs as they are installed, what a hundred thousand relays cost. It logs the figures, and
// fails for what does not work.
func TestHundredThousandRelays(t *testing.T) { // not parallel: the times would be those of the others
	if testing.Short() {
		t.Skip("it takes its time")
	}
	b := newBox(t)
	b.bin = plainPrograms(t)
	lab.Check(t, b.B.AddAddr(lab.Device, netip.MustParsePrefix("10.2.0.101/24")))
	const listen = "10.2.0.101:10000" // of the relay in the middle
	first, second := echo(t, b.C, "tcp", "10.3.0.100:7"), echo(t, b.C, "tcp", "10.3.0.100:8")
	const settings = "[daemon]\nprotect = \"off\"\n"
	timed := func(what string, do func()) {
		t.Helper()
		began, used := time.Now(), time.Duration(0)
		if b.natd != nil {
			used = cpuTime(t, b.natd.PID())
		}
		do()
		t.Logf("%-22s %6d ms, of the processors %6d ms, resident %s", what, time.Since(began).Milliseconds(),
			(cpuTime(t, b.natd.PID()) - used).Milliseconds(), residentMemory(t, b.natd.PID()))
	}
	rest := func() {
		select {
		case <-t.Context().Done():
		case <-time.After(10 * time.Second):
		}
	}
	timed("start", func() {
		b.configure(hundredThousand(settings, 7))
		b.launch()
		lab.Check(t, b.natd.AwaitLog(t.Context(), 2*patience, "msg=ready"))
	})
	lab.Check(t, reach(t, b.A, "tcp", listen, patience))
	timed("rest of 10 s", rest)
	timed("reload of the same", func() { b.reload(hundredThousand(settings, 7)) })
	timed("reload of one", func() { b.reload(hundredThousand(settings, 8)) })
	lab.Check(t, reach(t, b.A, "tcp", listen, patience))
	if len(first.Peers()) != 1 || len(second.Peers()) != 1 {
		t.Errorf("the old backend had %d connections and the new one %d, want 1 each", len(first.Peers()), len(second.Peers()))
	}
	timed("rest of 10 s", rest)
	timed("drain of one", func() { b.step([]string{"drain", "relay-50000"}, control.CodeOK, "drained") })
	timed("enable of one", func() { b.step([]string{"enable", "relay-50000"}, control.CodeOK, "enabled") })
	timed("another's table", func() { b.nft("add table ip other"); b.nft("delete table ip other") })
	timed("heal", func() {
		b.nft("flush ruleset")
		lab.Eventually(t, patience, func() error { return reach(t, b.A, "tcp", listen, 200*time.Millisecond) })
	})
	lab.Check(t, b.natd.AwaitLog(t.Context(), patience, "msg=repaired"))
	b.step([]string{"status"}, control.CodeOK, "in sync") // waits for the proof of the repair
	timed("status", func() { b.natctl("status") })
	timed("status of one", func() { b.natctl("status", "--relay", "relay-50000") })
	timed("plan", func() { b.natctl("plan") })
}
