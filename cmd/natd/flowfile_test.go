package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"natd/internal/control"
	"natd/internal/lab"
	"natd/internal/record"
)

// TestFlowRotation makes more than a thousand connections, whose records do not fit into one file: each file begins with the header, and together
// they have everything.
func TestFlowRotation(t *testing.T) {
	t.Parallel()
	b := newFlowBox(t, ipv4)
	tap := b.tap(lab.Device, "tcp and not port 80")
	b.start(flowRelays() + b.flowLogText(flowFields, "max_size = 1"))
	const refused, served = 1500, 250
	calls, err := b.A.Call(t.Context(), lab.Plan{
		Network: "tcp", To: netip.MustParseAddrPort("10.2.0.100:9"), Count: refused, Within: patience,
	})
	lab.Check(t, err)
	load := b.A.Load(t, "10.2.0.100:7")
	lab.Eventually(t, patience, func() error {
		if n := load.Made(); n < served {
			return fmt.Errorf("%d connections", n)
		}
		return nil
	})
	made, _ := load.End()
	b.sameAsWire(4*len(calls), tap) // not more, because ports repeat: those who call the same address in other namespaces move the kernel's counter
	if closed, echo := b.relay("closed").Connections.Total, b.relay("echo").Connections.Total; closed != uint64(len(calls)) || echo < uint64(made) {
		t.Errorf("counted are %d and %d connections, want %d and %d", closed, echo, len(calls), made)
	}
	files := b.flowFiles()
	if len(files) < 2 {
		t.Errorf("there is one file")
	}
	for _, text := range files {
		if n := bytes.Count(text, []byte("version account-id")); n != 1 || !bytes.HasPrefix(text, []byte("version account-id")) {
			t.Errorf("a file has %d headers, and begins with %.60s", n, text)
		}
		if len(text) > 1<<20 {
			t.Errorf("a file has %d bytes", len(text))
		}
	}
	info, err := os.Stat(b.flowPath())
	lab.Check(t, err)
	if info.Mode() != 0o640 {
		t.Errorf("the file has mode %v", info.Mode())
	}
	lab.Eventually(t, patience, func() error {
		if names, _ := filepath.Glob(filepath.Join(b.dir, "log", "flow-*.log.gz")); len(names) == 0 {
			return errors.New("nothing is compressed")
		}
		return nil
	})
}

// TestFlowReopen moves the file away as logrotate does, and tells natd in both ways; then it asks for another format.
func TestFlowReopen(t *testing.T) {
	t.Parallel()
	b := newFlowBox(t, ipv4)
	config := flowRelays() + b.flowLogText(record.V2)
	b.start(config)
	aside := func(n int) string { return fmt.Sprintf("%s.%d", b.flowPath(), n) }
	says := func(path string) {
		t.Helper()
		lab.Check(t, b.A.SayOnce(t.Context(), "10.2.0.100:7"))
		lab.Eventually(t, patience, func() error {
			text, err := os.ReadFile(path)
			if err == nil && bytes.Count(text, []byte("ACCEPT")) < 4 {
				return fmt.Errorf("no records of the connection: %s", text)
			}
			return err
		})
	}
	says(b.flowPath())
	for n, tell := range []func(){
		func() { lab.Check(t, b.natd.Signal(syscall.SIGHUP)) },
		func() { b.step([]string{"reload"}, control.CodeOK, "") },
	} {
		lab.Check(t, os.Rename(b.flowPath(), aside(n)))
		tell()
		lab.Eventually(t, patience, func() error { _, err := os.Stat(b.flowPath()); return err })
		size := len(b.read(aside(n)))
		says(b.flowPath())
		if now := len(b.read(aside(n))); now != size {
			t.Errorf("the file that was moved away has grown from %d to %d bytes", size, now)
		}
		if !strings.HasPrefix(b.read(b.flowPath()), "version account-id interface-id ") {
			t.Error("the new file has no header")
		}
	}
	b.reload(flowRelays() + b.flowLogText(record.JSON))
	says(b.flowPath())
	if text := b.read(b.flowPath()); strings.Contains(text, "version account-id") || !strings.HasPrefix(text, "{") {
		t.Errorf("the file in the new format begins with %.60s", text)
	}
	if names, _ := filepath.Glob(filepath.Join(b.dir, "log", "flow-*-full.log*")); len(names) != 1 {
		t.Errorf("put aside is %v, want the file in the old format", names)
	}
	b.reload(flowRelays())
	if s := b.status(); s.FlowLog != nil {
		t.Errorf("status says %+v without [flow_log]", s.FlowLog)
	}
}

// TestFlowWindowGoesOn changes the format in the middle of a window: its records come in the new one, with the times that they had.
func TestFlowWindowGoesOn(t *testing.T) {
	t.Parallel()
	b := newFlowBox(t, ipv4)
	config := func(format string) string {
		return flowRelays() + strings.ReplaceAll(b.flowLogText(format), `"1s"`, `"1m"`)
	}
	b.start(config(record.V2))
	lab.Check(t, b.A.SayOnce(t.Context(), "10.2.0.100:7"))
	said := time.Now()
	lab.Eventually(t, patience, func() error {
		if time.Since(said) < 3*time.Second {
			return errors.New("a reload that soon has nearly the same time")
		}
		return nil
	})
	b.reload(config(record.V5))
	lab.Check(t, b.natd.Stop())
	accepted := 0
	for _, r := range b.records() {
		if r.Status != record.OK {
			continue
		}
		accepted++
		if late := r.Start - said.Unix(); late > 1 {
			t.Errorf("a record of the connection begins %d s after it", late)
		}
	}
	if accepted != 4 {
		t.Errorf("%d records of the connection, want 4", accepted)
	}
}

// read is the text of a file of host B.
func (b *box) read(path string) string {
	b.t.Helper()
	return b.B.Output(b.t, "cat", path)
}

// TestFlowFullDisk fills the disk. Relays go on, and the records come when there is room again. Those that still wait when they have to
// go elsewhere are counted, and said to be missing.
func TestFlowFullDisk(t *testing.T) {
	t.Parallel()
	b := newFlowBox(t, ipv4)
	disk := t.TempDir()
	run := func(command string) {
		t.Helper()
		if out, err := b.B.Run(t.Context(), "sh", "-c", command); err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
	}
	run("mount -t tmpfs -o size=256k tmpfs " + disk)
	fill := fmt.Sprintf("dd if=/dev/zero of=%s/filler bs=1k count=256 2>/dev/null || true", disk)
	path := filepath.Join(disk, "flow.log")
	b.start(flowRelays() + strings.ReplaceAll(b.flowLogText(record.V2), b.flowPath(), path))
	failing := func(s *control.Status) error {
		if s.FlowLog == nil || !strings.Contains(s.FlowLog.Error, "no space left on device") ||
			s.State != control.StateDegraded || !strings.Contains(strings.Join(s.Reasons, "\n"), "the flow log is not written: write the flow log: make room") {
			return fmt.Errorf("natd is %s: %v; the flow log is %+v", s.State, s.Reasons, s.FlowLog)
		}
		return nil
	}
	connect := func() {
		t.Helper()
		for range 100 {
			lab.Check(t, b.A.SayOnce(t.Context(), "10.2.0.100:7"))
		}
	}
	run(fill)
	connect()
	b.awaitStatus(failing)
	connect()
	run(fmt.Sprintf("rm %s/filler", disk))
	b.awaitStatus(func(s *control.Status) error {
		if s.FlowLog.Error != "" || s.FlowLog.Dropped != 0 || strings.Count(b.read(path), " ACCEPT ") < 4*200 {
			return fmt.Errorf("the flow log is %+v", s.FlowLog)
		}
		return nil
	})
	for line := range strings.Lines(b.read(path)) {
		if n := len(strings.Split(line, " ")); n != 14 {
			t.Errorf("a line has %d fields: %q", n, line)
		}
	}
	run(fill)
	connect()
	b.awaitStatus(failing)
	b.reload(flowRelays() + b.flowLogText(record.V2))
	b.awaitStatus(func(s *control.Status) error {
		if s.FlowLog.Dropped == 0 || s.FlowLog.Error != "" {
			return fmt.Errorf("the flow log is %+v", s.FlowLog)
		}
		return nil
	})
	lab.Eventually(t, patience, func() error {
		if !slices.ContainsFunc(b.records(), func(r record.Record) bool { return r.Status == record.SkipData }) {
			return errors.New("nothing says that records are missing")
		}
		return nil
	})
}

// TestFlowReadOnly lets the log lie where natd may not write, as the service's sandbox has it for most places. natd is degraded and says what
// to do, the relays work, and it heals without a record to write.
func TestFlowReadOnly(t *testing.T) {
	t.Parallel()
	b := newFlowBox(t, ipv4)
	disk := t.TempDir()
	b.B.Output(t, "mount", "-t", "tmpfs", "-o", "ro", "tmpfs", disk)
	config := flowRelays() + fmt.Sprintf("\n[flow_log]\npath = %q\ninterval = \"10m\"\n", disk+"/log/flow.log")
	b.configure(config)
	b.launch()
	words := "the flow log is not written: make the directory of the flow log: natd's service may not write there; make " + disk +
		"/log and give it to the user natd, add ReadWritePaths=" + disk + "/log to the unit (systemctl edit natd) and restart it"
	b.awaitDegraded(words)
	b.step([]string{"status"}, control.CodeDegraded, words)
	b.step([]string{"reload"}, control.CodeOK, "")
	lab.Check(t, b.A.SayOnce(t.Context(), "10.2.0.100:7"))
	b.B.Output(t, "mount", "-o", "remount,rw", disk)
	b.awaitReady()
	if text := b.read(disk + "/log/flow.log"); !strings.HasPrefix(text, "version srcaddr ") {
		t.Errorf("the file has %q", text)
	}
	if n := strings.Count(b.natd.Log(), "the flow log is written again"); n != 1 {
		t.Errorf("the end of it is said %d times:\n%s", n, b.natd.Log())
	}
}

// TestFlowBehind holds the records of a gateway and of a static against what tcpdump counts on both of B's interfaces.
func TestFlowBehind(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	lab.Check(t, e.NoOffload())
	ownAll(t, e.C)
	for _, p := range staticPairs() {
		lab.Check(t, e.RouteTo(p.internal, e.C))
	}
	const filter = "(tcp port 7 or udp port 7 or icmp[icmptype] == 0 or icmp[icmptype] == 8 or icmp6[0] == 128 or icmp6[0] == 129)"
	taps := []*lab.Tap{e.tap(lab.Device, filter), e.tap(lab.PrivateDevice, filter)}
	e.start(gatewayText() + staticText() + e.flowLogText(flowFields))
	legs := 0
	for _, s := range e.servers {
		for _, network := range []string{"tcp", "udp"} {
			lab.Check(t, says(t, e.private, network, netip.Addr{}, s))
			legs += 4
		}
		lab.Check(t, e.private.Ping(netip.Addr{}, s.Addr(), patience))
		legs += 4
	}
	for _, p := range staticPairs()[:len(e.servers)] {
		for _, network := range []string{"tcp", "udp"} {
			lab.Check(t, says(t, e.A, network, netip.Addr{}, netip.AddrPortFrom(nth(p.external, 9), 7)))
			legs += 4
		}
	}
	e.sameAsWire(legs, taps...)
	for _, r := range e.records() {
		if r.Status != record.OK {
			continue
		}
		device := lab.Device
		if r.Kind == "gateway" && (r.Leg == 1 || r.Leg == 4) {
			device = lab.PrivateDevice
		}
		if r.InterfaceID != device || r.Kind == "relay" || r.Relay == "" {
			t.Errorf("recorded is %+v, want it on %s", r, device)
		}
	}
}

// TestFlowRestart stops natd while a connection lives on, and starts it again: nothing is told twice or left out. What natd is told to
// write to goes to its standard output.
func TestFlowRestart(t *testing.T) {
	t.Parallel()
	b := newFlowBox(t, ipv4)
	tap := b.tap(lab.Device, "tcp and not port 80")
	config := flowRelays() + b.flowLogText(record.V5)
	b.start(config)
	c, err := b.A.Dial(t.Context(), "tcp", "10.2.0.100:7")
	lab.Check(t, err)
	defer c.Close()
	lab.Check(t, exchange(c, patience))
	b.sameAsWire(4, tap)
	lab.Check(t, exchange(c, patience))
	lab.Check(t, b.natd.Stop())
	b.sameAsWire(4, tap) // the last records are those of the end
	lab.Check(t, exchange(c, patience))
	b.launch()
	b.awaitReady()
	lab.Check(t, exchange(c, patience))
	b.sameAsWire(4, tap)
	if n := strings.Count(b.read(b.flowPath()), "version srcaddr"); n != 1 {
		t.Errorf("the file has %d headers", n)
	}

	b.reload(flowRelays() + strings.ReplaceAll(b.flowLogText(record.V2), b.flowPath(), "stdout"))
	lab.Check(t, exchange(c, patience))
	lab.Eventually(t, patience, func() error {
		log := b.natd.Log()
		if !strings.Contains(log, "version account-id interface-id ") || strings.Count(log, " ACCEPT OK\n") < 4 {
			return fmt.Errorf("natd wrote %s", log)
		}
		return nil
	})
}
