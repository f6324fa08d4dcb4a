package probe

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"natd/internal/lab"
)

// moment is how late a busy machine may be. That the prober itself is not is shown where time is the test's own.
const moment = 3 * time.Second

// quick is a check that is over soon.
func quick(to netip.AddrPort) Check {
	return Check{Target: to, Interval: 200 * time.Millisecond, Timeout: 100 * time.Millisecond, Rise: 2, Fall: 3}
}

// proberIn is a prober whose sockets are in the host.
func proberIn(t *testing.T, h *lab.Host, checks ...Check) *Prober {
	t.Helper()
	p := NewProber(func() {}, func(Check) {})
	p.connect = func(ctx context.Context, c Check) error {
		return h.Do(func() error { return connect(ctx, c) })
	}
	p.Set(checks)
	runProber(t, p)
	return p
}

// awaitState waits for a verdict, and returns how long that took.
func awaitState(t *testing.T, p *Prober, c Check, want State) time.Duration {
	t.Helper()
	began := time.Now()
	lab.Eventually(t, patience, func() error {
		if v := p.Verdict(c); v.State != want {
			return fmt.Errorf("%v: %+v, want it %v", c.Target, v, want)
		}
		return nil
	})
	return time.Since(began)
}

// TestKernelProbe looks at what a probe is on the wire, from an address of its own, and what it leaves: nothing that the
// backend's program sees, and no socket on either side.
func TestKernelProbe(t *testing.T) {
	t.Parallel()
	lab.Require(t, "tcpdump")
	p := lab.New(t)
	tests := map[string]struct{ server, source string }{"IPv4": {"10.3.0.100", "10.2.0.77/24"}}
	if p.B.Addr6.IsValid() {
		tests["IPv6"] = struct{ server, source string }{"fd00:10:3::100", "fd00:10:2::77/64"}
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			source := netip.MustParsePrefix(tt.source)
			lab.Check(t, p.B.AddAddr(lab.Device, source))
			server, err := p.C.EchoTCP(net.JoinHostPort(tt.server, "0"))
			lab.Check(t, err)
			c := quick(server.Addr)
			c.Source, c.Timeout = source.Addr(), 5*time.Second
			late := onTheWire(t, p, c)
			if peers := server.Peers(); len(peers) > late {
				t.Errorf("the server saw connections from %v, %d were completed", peers, late)
			}
			for _, h := range []*lab.Host{p.B, p.C} {
				if left := sockets(t, h, server.Addr.Port()); len(left) > 0 {
					t.Errorf("sockets of %s: %s", h.Name, strings.Join(left, "; "))
				}
			}
			seesOthers(t, p, server, c.Source)
		})
	}
}

// onTheWire probes a few times and wants three packets for each probe. It returns how many connections were completed, by
// a machine that had not run the probe again within 200 ms.
func onTheWire(t *testing.T, p *lab.Peering, c Check) (completed int) {
	t.Helper()
	capture, err := p.C.Capture(t.Context(), lab.Device, fmt.Sprintf("tcp port %d", c.Target.Port()))
	lab.Check(t, err)
	const probes = 10
	for range probes {
		lab.Check(t, p.B.Do(func() error { return connect(t.Context(), c) }))
	}
	lab.Check(t, capture.Await(t.Context(), patience, func(packets []lab.Packet) error {
		if len(packets) < 3*probes {
			return fmt.Errorf("%d packets, want %d", len(packets), 3*probes)
		}
		return nil
	}))
	packets, err := capture.Stop(t.Context())
	lab.Check(t, err)
	flags := map[string]int{}
	for _, packet := range packets {
		flags[packet.Flags]++
		if packet.Src.Addr() != c.Source && packet.Dst.Addr() != c.Source {
			t.Errorf("not from or to %v: %s", c.Source, packet.Line)
		}
	}
	completed = flags["."]
	delete(flags, ".")
	if want := map[string]int{"S": probes, "S.": probes, "R.": probes}; !maps.Equal(flags, want) || completed > 2 {
		t.Errorf("packets with the flags %v and %d ACK, want SYN, SYN-ACK and RST for each of %d probes", flags, completed, probes)
	}
	return completed
}

// seesOthers makes a connection that the server must see.
func seesOthers(t *testing.T, p *lab.Peering, server *lab.Echo, from netip.Addr) {
	t.Helper()
	conn, err := p.B.DialFrom(t.Context(), "tcp", from, server.Addr.String())
	lab.Check(t, err)
	defer conn.Close()
	client := netip.MustParseAddrPort(conn.LocalAddr().String())
	lab.Eventually(t, patience, func() error {
		if peers := server.Peers(); !slices.Contains(peers, client) {
			return fmt.Errorf("connections from %v, want one from %v", peers, client)
		}
		return nil
	})
}

// sockets is the TCP sockets of a host with the port on either side, but the one that listens.
func sockets(t *testing.T, h *lab.Host, port uint16) (left []string) {
	t.Helper()
	const listening = "0A"
	lab.Check(t, h.Do(func() error {
		for _, file := range []string{"/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"} {
			table, err := os.ReadFile(file)
			if os.IsNotExist(err) {
				continue
			}
			if err != nil {
				return err
			}
			for line := range strings.Lines(string(table)) {
				if strings.Contains(line, fmt.Sprintf(":%04X ", port)) && strings.Fields(line)[3] != listening {
					left = append(left, strings.TrimSpace(line))
				}
			}
		}
		return nil
	}))
	return left
}

// TestKernelVerdicts has backends that refuse, are silent, come and go, and a source that is not there.
func TestKernelVerdicts(t *testing.T) {
	t.Parallel()
	p := lab.New(t)
	const steady, flapping, silentPort, refusing = 8001, 8002, 8003, 8004
	at := func(port uint16) netip.AddrPort { return netip.AddrPortFrom(p.C.Addr, port) }
	lab.Check(t, p.C.Nft(t.Context(), fmt.Sprintf("table inet silence { chain in { type filter hook input priority 0; tcp dport %d drop; }; }", silentPort)))
	listen := func(port uint16) net.Listener {
		l, err := p.C.Listen("tcp", at(port).String())
		lab.Check(t, err)
		return l
	}
	listen(steady)
	listen(silentPort)
	l := listen(flapping)
	foreign := quick(at(steady))
	foreign.Source = netip.MustParseAddr("10.2.0.200")
	prober := proberIn(t, p.B, quick(at(steady)), quick(at(flapping)), quick(at(silentPort)), quick(at(refusing)), foreign)

	awaitState(t, prober, quick(at(steady)), Up)
	for port, want := range map[uint16]string{refusing: "connection refused", silentPort: "no answer within 100ms"} {
		awaitState(t, prober, quick(at(port)), Down)
		if v := prober.Verdict(quick(at(port))); v.Error != want {
			t.Errorf("port %d is down with %q, want %q", port, v.Error, want)
		}
	}
	c := quick(at(flapping))
	awaitState(t, prober, c, Up)
	for range 3 {
		l.Close()
		if took := awaitState(t, prober, c, Down); took > 3*c.Interval+moment {
			t.Errorf("down after %v, want %v and a moment", took, 3*c.Interval)
		}
		l = listen(flapping)
		if took := awaitState(t, prober, c, Up); took > 2*c.Interval+moment {
			t.Errorf("up after %v, want %v and a moment", took, 2*c.Interval)
		}
	}
	if v := prober.Verdict(foreign); v.State != Unknown || !strings.Contains(v.Error, "10.2.0.200") {
		t.Errorf("from an address that is not there: %+v, want it unknown with the reason", v)
	}
	if v := prober.Verdict(quick(at(steady))); v.State != Up || v.Error != "" {
		t.Errorf("all the time there: %+v", v)
	}
}

// helperVar makes TestThousandHelper do its work.
const helperVar = "PROBE_TEST_HELPER"

// thousand is 1,000 checks of addresses that host C of TestKernelThousand has.
func thousand() []Check {
	checks := many(1000)
	for i := range checks {
		checks[i].Target = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 3, 128 + byte(i>>8), byte(i)}), 80)
	}
	return checks
}

// TestKernelThousand checks 1,000 backends, in a process of its own so that its sockets, goroutines and memory can be
// counted, and lets all fall silent at once.
func TestKernelThousand(t *testing.T) {
	t.Parallel()
	p := lab.New(t)
	p.C.Output(t, "ip", "route", "add", "local", "10.3.128.0/17", "dev", "lo")
	_, err := p.C.Listen("tcp", "0.0.0.0:80")
	lab.Check(t, err)
	cmd := p.B.Command(t.Context(), os.Args[0], "-test.run=^TestThousandHelper$", "-test.v")
	cmd.Env = append(os.Environ(), helperVar+"=1")
	helper, err := p.B.StartCmd(cmd)
	lab.Check(t, err)
	lab.Check(t, helper.AwaitLog(t.Context(), 2*patience, "all up"))
	lab.Check(t, p.C.Nft(t.Context(), "table inet silence { chain in { type filter hook input priority 0; tcp dport 80 drop; }; }"))
	began := time.Now()
	lab.Check(t, helper.AwaitLog(t.Context(), 2*patience, "all down"))
	if took := time.Since(began); took > 6*time.Second+moment || took < 4*time.Second {
		t.Errorf("all down after %v, want fall x interval, 6s, and a moment", took)
	}
	<-helper.Done()
	if err := helper.Err(); err != nil {
		t.Errorf("%v:\n%s", err, helper.Log())
	}
	t.Log(helper.Log())
}

// TestThousandHelper is the process of TestKernelThousand.
func TestThousandHelper(t *testing.T) {
	if os.Getenv(helperVar) == "" {
		t.Skip("only for the test that starts it")
	}
	files, goroutines := openFiles(t), runtime.NumGoroutine()
	p := NewProber(func() {}, func(Check) {})
	p.Set(thousand())
	stop := runProber(t, p)
	most := 0
	for _, state := range []State{Up, Down} {
		lab.Eventually(t, 2*patience, func() error {
			most = max(most, openFiles(t))
			for _, c := range thousand() {
				if v := p.Verdict(c); v.State != state {
					return fmt.Errorf("%v: %+v", c.Target, v)
				}
			}
			return nil
		})
		fmt.Fprintf(os.Stdout, "all %v\n", state)
	}
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	stop()
	t.Logf("%d files at most, %d KiB of heap and %d KiB of stacks", most, memory.HeapInuse>>10, memory.StackInuse>>10)
	const others = 16 // of the runtime and the test
	if most < 100 || most > probesAtATime+others {
		t.Errorf("%d open files at most, want many but no more than %d", most, probesAtATime)
	}
	if used := memory.HeapInuse + memory.StackInuse; used > 32<<20 {
		t.Errorf("%d bytes in use", used)
	}
	lab.Eventually(t, patience, func() error {
		if f, g := openFiles(t), runtime.NumGoroutine(); f > files+others || g > goroutines {
			return fmt.Errorf("%d files and %d goroutines at the end, %d and %d at the start", f, g, files, goroutines)
		}
		return nil
	})
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	lab.Check(t, err)
	return len(entries)
}
