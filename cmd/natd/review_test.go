package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"natd/internal/control"
	"natd/internal/lab"
)

// TestRestartOfAGrownRelay lets a relay grow over the port of a local service while natd is down. What stands in the kernel
// of the relay as it was is no claim to the ports that it has got since.
func TestRestartOfAGrownRelay(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	relay := func(ports string) string {
		return "[[relay]]\nname = \"grown\"\nlisten = \"10.2.0.100:" + ports + "\"\nto = [\"10.3.0.100\"]\n"
	}
	b.start(relay("20"))
	if !b.takes(20) {
		t.Fatal("the kernel has no element for port 20: the test sees too little")
	}
	b.kill()
	service, backend := echo(t, b.B, "tcp", "0.0.0.0:22"), echo(t, b.C, "tcp", "10.3.0.100:22")
	b.startRelays(relay("20-30"), map[string]string{"grown": "port 22/tcp belongs to a local service"})
	b.awaitDegraded("port 22/tcp")
	if b.takes(22) {
		t.Error("relays4 has an element for port 22")
	}
	lab.Check(t, reach(t, b.A, "tcp", "10.2.0.100:22", patience))
	if len(service.Peers()) != 1 || len(backend.Peers()) != 0 {
		t.Error("the service lost its port")
	}
}

// takes tells whether the kernel has an element that relays a TCP port for everybody.
func (b *box) takes(port int) bool {
	b.t.Helper()
	listed := b.B.Output(b.t, "nft", "list", "map", "inet", "natd", "relays4")
	return strings.Contains(listed, fmt.Sprintf("10.2.0.100 . tcp . %d ", port))
}

// TestServiceThatComesAfterFlush starts a service on the port of a relay that was flushed: the port is free then.
func TestServiceThatComesAfterFlush(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	backend := echo(t, b.C, "tcp", "10.3.0.100:7")
	b.start(echoRelay())
	if _, errs, code := b.natctl("flush"); code != control.CodeOK {
		t.Fatalf("natctl flush exits %d: %s", code, errs)
	}
	service := echo(t, b.B, "tcp", "0.0.0.0:7")
	b.refuse(echoRelay(), control.CodeConfig, "port 7/tcp belongs to a local service")
	lab.Check(t, reach(t, b.A, "tcp", "10.2.0.100:7", patience))
	if len(service.Peers()) != 1 || len(backend.Peers()) != 0 {
		t.Error("the service lost its port to a relay that was flushed before it came")
	}
}

// TestStrictEndsWhatWasForwarded goes back to forward = "strict" under two connections: a relay's, and one that B only
// forwards.
func TestStrictEndsWhatWasForwarded(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	d := b.withNeighbour()
	b.start("[host]\nforward = \"open\"\n" + echoRelay())
	relayed, _, _ := b.connected()
	direct, err := d.Dial(t.Context(), "tcp", "10.3.0.100:7")
	lab.Check(t, err)
	defer direct.Close()
	lab.Check(t, exchange(direct, patience))

	b.reload("[host]\nforward = \"strict\"\n" + echoRelay())
	if err := exchange(direct, time.Second); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a connection that no relay asks for: %v, want silence", err)
	}
	lab.Check(t, exchange(relayed, patience))
}

// TestForwardingOfAnInterface takes forwarding away from one interface, which ip_forward does not show.
func TestForwardingOfAnInterface(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	echo(t, b.C, "tcp", "10.3.0.100:7")
	before := settings(t, b.B)
	b.start(hourly("auto") + echoRelay())
	const key = "net.ipv4.conf." + lab.Device + ".forwarding"
	lab.Check(t, b.onB("sysctl -qw "+key+"=0"))
	lab.Eventually(t, patience, func() error { // asks the kernel only: natd would look for damage before it answers
		value, err := b.B.Sysctl(key)
		if err == nil && value != "1" {
			err = fmt.Errorf("%s is %q", key, value)
		}
		return err
	})
	lab.Check(t, reach(t, b.A, "tcp", "10.2.0.100:7", patience))
	if r := b.status().Ruleset; r.DriftRepairs != 1 || r.LastDrift == nil || !strings.Contains(r.LastDrift.What, lab.Device) {
		t.Errorf("%d repairs are counted, the last is %+v, want one that names %s", r.DriftRepairs, r.LastDrift, lab.Device)
	}
	if _, errs, code := b.natctl("flush"); code != control.CodeOK {
		t.Fatalf("natctl flush exits %d: %s", code, errs)
	}
	sameSettings(t, before, settings(t, b.B), nil)
}

// TestFlushPastTheSocket asks for a flush where no natd listens, while one is at work: it would repair what is removed.
func TestFlushPastTheSocket(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.start(echoRelay())
	before := b.B.State(b.t)
	out, err := b.B.Command(t.Context(), filepath.Join(b.bin, "natctl"), "--socket", filepath.Join(b.dir, "wrong.sock"),
		"flush", "--state", filepath.Join(b.dir, "state")).CombinedOutput()
	want := fmt.Sprintf("another natd (pid %d)", b.natd.PID())
	if code := lab.ExitCode(err); code != control.CodeFailed || !strings.Contains(string(out), want) {
		t.Errorf("natctl flush exits %d, want %d and %q:\n%s", code, control.CodeFailed, want, out)
	}
	lab.WantSame(t, before, b.B.State(b.t))
	if value, err := b.B.Sysctl("net.ipv4.ip_forward"); err != nil || value != "1" {
		t.Errorf("net.ipv4.ip_forward is %q (%v), want 1", value, err)
	}
	if s := b.status(); s.State != control.StateReady || s.Ruleset.DriftRepairs != 0 {
		t.Errorf("natd was disturbed: %+v", s)
	}
}

// TestEgressNames names the egress by a name that nothing has, and by a second name of the right interface.
func TestEgressNames(t *testing.T) {
	t.Parallel()
	lab.Require(t, "ip")
	b := newBox(t)
	echo(t, b.C, "tcp", "10.3.0.100:7")
	lab.Check(t, b.onB("ip link property add dev "+lab.Device+" altname uplink0"))
	b.startRelays(echoRelay(`egress = "uplink0"`)+relayText("nowhere", "10.2.0.100:8", "tcp", `egress = "uplink9"`),
		map[string]string{"echo": "", "nowhere": "no such interface"})
	lab.Check(t, reach(t, b.A, "tcp", "10.2.0.100:7", patience))
}

// TestCountOfARenamedRelay gives the port of a relay to another one, which has had no connections yet.
func TestCountOfARenamedRelay(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	echo(t, b.C, "tcp", "10.3.0.100:7")
	b.start(echoRelay())
	total := func(name string) uint64 {
		r, err := relayOf(b.status(), name)
		lab.Check(t, err)
		return r.Connections.Total
	}
	for range 3 {
		lab.Check(t, reach(t, b.A, "tcp", "10.2.0.100:7", patience))
	}
	if n := total("echo"); n != 3 {
		t.Errorf("the relay counts %d connections, want 3", n)
	}
	b.reload(relayText("heir", "10.2.0.100:7", "tcp"))
	if n := total("heir"); n != 0 {
		t.Errorf("the relay begins with %d connections of the one before it", n)
	}
	lab.Check(t, reach(t, b.A, "tcp", "10.2.0.100:7", patience))
	if n := total("heir"); n != 1 {
		t.Errorf("the relay counts %d connections, want 1", n)
	}
}
