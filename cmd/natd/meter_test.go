package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"natd/internal/control"
	"natd/internal/flow"
	"natd/internal/lab"
)

// saved waits until what status says is on disk.
func (b *box) saved() {
	b.t.Helper()
	_, _, begun, err := sums(b.status())
	lab.Check(b.t, err)
	lab.Eventually(b.t, patience, func() error {
		file, err := os.Open(filepath.Join(b.dir, "state", "counters.json"))
		if err != nil {
			return err
		}
		defer file.Close()
		saved, err := flow.ReadSaved(file)
		if err != nil {
			return err
		}
		sum := uint64(0)
		for i := range saved.Tallies {
			sum += saved.Tallies[i].Begun
		}
		if sum != begun {
			return fmt.Errorf("%d connections are saved, of %d", sum, begun)
		}
		return nil
	})
}

// echoed says something and hears it back.
func echoed(t testing.TB, c net.Conn, size int) {
	t.Helper()
	lab.Check(t, c.SetDeadline(time.Now().Add(patience)))
	said := make([]byte, size)
	_, err := c.Write(said)
	lab.Check(t, err)
	_, err = io.ReadFull(c, said)
	lab.Check(t, err)
}

// metered is relays of every kind, with windows as short as they can be.
func (b *box) metered() string {
	return fmt.Sprintf(`
[flow_log]
path = %q
interval = "1s"

[[relay]]
name = "web"
listen = "10.2.0.100:80"
to = ["10.3.0.100:80"]

[[relay]]
name = "echo"
listen = "10.2.0.100:7"
protocol = ["tcp", "udp"]
to = ["10.3.0.100:7"]

[[relay]]
name = "refuses"
listen = "10.2.0.100:81"
to = ["10.3.0.100:81"]

[[relay]]
name = "silent"
listen = "10.2.0.100:82"
to = ["10.3.0.100:82"]

[[relay]]
name = "tell"
listen = "10.2.0.100:7000"
to = ["%s"]
`, filepath.Join(b.dir, "flow.log"), strings.Join(b.tellers(3), `", "`))
}

// TestCountsAreExact holds what status says of every kind of connection against tcpdump, through the ends of connections, a table that
// is emptied, and natd killed and started anew.
func TestCountsAreExact(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.serveAll()
	b.start(b.metered())
	b.awaitSysctl("net.netfilter.nf_conntrack_timestamp", "1")
	w := b.watchWire()
	w.countMany()
	udp, err := b.A.Dial(t.Context(), "udp", "10.2.0.100:7")
	lab.Check(t, err)
	defer udp.Close()
	echoed(t, udp, 1000)
	long, err := b.A.Dial(t.Context(), "tcp", "10.2.0.100:7")
	lab.Check(t, err)
	defer long.Close()
	echoed(t, long, 100_000)
	w.agree("UDP and one that goes on", 1003)
	w.countFailures()

	echoed(t, long, 5000) // over several windows by now
	echoed(t, udp, 500)
	w.agree("over several windows", 1009)
	b.B.Output(t, "conntrack", "-F")
	w.agree("after conntrack -F", 1009)
	echoed(t, long, 3000)
	echoed(t, udp, 300)
	w.agree("and on", 1011) // two that the kernel takes for new

	b.saved()
	echoed(t, long, 2000)
	b.kill()
	echoed(t, long, 1000)
	echoed(t, udp, 700)
	b.launch()
	b.awaitReady()
	w.agree("after a kill", 1011)
	echoed(t, long, 1000)
	lab.Check(t, b.natd.Stop())
	echoed(t, udp, 300)
	b.launch()
	b.awaitReady()
	echoed(t, long, 100)
	lab.Check(t, long.Close())
	w.agree("after a stop and a start", 1011)
	if s := b.status(); s.Accounting.Lost != 0 {
		t.Errorf("%+v", s.Accounting)
	}
}

// relay is what status says of one.
func (b *box) relay(name string) *control.Relay {
	b.t.Helper()
	s := b.status()
	for i := range s.Relays {
		if s.Relays[i].Name == name {
			return &s.Relays[i]
		}
	}
	b.t.Fatalf("there is no relay %s", name)
	return nil
}

// awaitSysctl waits until host B has the setting.
func (b *box) awaitSysctl(key, want string) {
	b.t.Helper()
	lab.Eventually(b.t, patience, func() error {
		got, err := b.B.Sysctl(key)
		if err == nil && got != want {
			err = fmt.Errorf("%s = %s, want %s", key, got, want)
		}
		return err
	})
}

// refusals makes connections that the backend refuses: each is there and gone at once, so that as many end as can be made.
func (b *box) refusals(count int) {
	b.t.Helper()
	began := time.Now()
	calls, err := b.A.Call(b.t.Context(), lab.Plan{Network: "tcp", To: netip.MustParseAddrPort("10.2.0.100:81"), Count: count, AtOnce: 4})
	lab.Check(b.t, err)
	for _, c := range calls {
		if !errors.Is(c.Err, unix.ECONNREFUSED) {
			b.t.Fatalf("a call ended with %v, want a refusal", c.Err)
		}
	}
	b.t.Logf("%.0f connections a second", float64(count)/time.Since(began).Seconds())
}

// TestCountsAFlood counts every one of as many connections as this machine can make.
func TestCountsAFlood(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.start(b.metered())
	b.awaitSysctl("net.netfilter.nf_conntrack_timestamp", "1")
	const count = 10_000
	b.refusals(count)
	b.awaitStatus(func(s *control.Status) error {
		c := s.Relays[2].Connections
		if c.Total != count || c.Refused != count || s.Accounting.Lost != 0 {
			return fmt.Errorf("%+v, %+v, want %d", c, s.Accounting, count)
		}
		return nil
	})
}

// TestCountsAfterALoss stops natd until the kernel has to drop events. What it missed it says; of what lives nothing is missing, and
// what comes is counted again.
func TestCountsAfterALoss(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	_, err := b.C.EchoTCP("10.3.0.100:7")
	lab.Check(t, err)
	b.start(b.metered())
	b.awaitSysctl("net.netfilter.nf_conntrack_timestamp", "1")
	w := b.watchWire()
	long, err := b.A.Dial(t.Context(), "tcp", "10.2.0.100:7")
	lab.Check(t, err)
	defer long.Close()
	echoed(t, long, 5000)
	w.agree("before", 1)
	const count = 20_000
	lab.Check(t, b.natd.Signal(unix.SIGSTOP))
	b.refusals(count)
	echoed(t, long, 7000)
	lab.Check(t, b.natd.Signal(unix.SIGCONT))
	var heard uint64
	b.awaitStatus(func(s *control.Status) error {
		heard = s.Relays[2].Connections.Total
		if s.Accounting.Lost == 0 || heard == 0 || heard >= count {
			return fmt.Errorf("%d of %d connections counted, %+v", heard, count, s.Accounting)
		}
		return nil
	})
	t.Logf("%d of %d connections counted", heard, count)
	const more = 100
	b.refusals(more)
	b.awaitStatus(func(s *control.Status) error {
		if c := s.Relays[2].Connections; c.Total != heard+more || c.Refused != heard+more {
			return fmt.Errorf("%+v, want %d", c, heard+more)
		}
		return nil
	})
	echo := b.relay("echo")
	if want := uint64(12_000); echo.Connections.Total != 1 || echo.Bytes.ToTarget < want || echo.Bytes.ToTarget > want+echo.Packets.ToTarget*64 {
		t.Errorf("the one that lives: %+v, bytes %+v, packets %+v", echo.Connections, echo.Bytes, echo.Packets)
	}
}
