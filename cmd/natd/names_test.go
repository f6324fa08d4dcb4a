package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"natd/internal/control"
	"natd/internal/lab"
)

// A name server is followed within the time to live of its answers and this: the promise.
const followWithin = time.Second

// nameServer is where the tests' name server listens, on host C.
const nameServer = "10.3.0.100:5353"

// zone starts a name server on host C, which natd is told of by resolverLine.
func (b *box) zone(ttl time.Duration, answers map[string]lab.Answer) *lab.Zone {
	b.t.Helper()
	z, err := b.C.StartZone(b.t.Context(), netip.MustParseAddrPort(nameServer), ttl, answers)
	lab.Check(b.t, err)
	return z
}

const resolverLine = "[daemon]\nresolver = \"" + nameServer + "\"\n"

// at is an answer with the n-th extra IPv4 addresses of host C.
func (b *box) at(extra ...int) (a lab.Answer) {
	for _, n := range extra {
		a.Addrs = append(a.Addrs, b.C.Extra(n)[0])
	}
	return a
}

// nameRelay is a relay from a port to the same one of a name, with more keys.
func nameRelay(name string, port int, host string, more ...string) string {
	return fmt.Sprintf("[[relay]]\nname = %q\nlisten = \"10.2.0.100:%d\"\nto = [\"%s:%d\"]\n%s\n", name, port, host, port, strings.Join(more, "\n"))
}

// monitor is "nft monitor" on host B: the second witness of what changes in the kernel.
type monitor struct {
	b *box
	p *lab.Process
	n int
}

func (b *box) monitor() *monitor {
	b.t.Helper()
	p, err := b.B.Start("nft", "monitor", "ruleset")
	lab.Check(b.t, err)
	m := &monitor{b: b, p: p}
	lab.Eventually(b.t, patience, func() error { // it says nothing when it begins to listen
		m.mark()
		return p.AwaitLog(b.t.Context(), 200*time.Millisecond, fmt.Sprintf("marker%d", m.n))
	})
	return m
}

// mark changes a table of its own.
func (m *monitor) mark() {
	m.n++
	m.b.nft(fmt.Sprintf("add table ip marker%d; delete table ip marker%d", m.n, m.n))
}

// changes is what has changed in natd's table since the monitor began.
func (m *monitor) changes() (lines []string) {
	m.b.t.Helper()
	m.mark()
	lab.Check(m.b.t, m.p.AwaitLog(m.b.t.Context(), patience, fmt.Sprintf("delete table ip marker%d", m.n)))
	for line := range strings.Lines(m.p.Log()) {
		// That the table is there is said again when a natd that starts takes the ownership; the guard table is each natd's own.
		line = strings.TrimSpace(line)
		if strings.Contains(line, " inet natd") && !strings.Contains(line, " inet natd_guard") && line != "add table inet natd" {
			lines = append(lines, line)
		}
	}
	return lines
}

// steady wants the kernel to be as it was when the monitor began.
func (m *monitor) steady(when string) {
	m.b.t.Helper()
	if changes := m.changes(); len(changes) > 0 {
		m.b.t.Errorf("%s: the kernel was changed, want it left alone:\n%s", when, strings.Join(changes, "\n"))
	}
}

// calls begins to call a port of host B, all the time.
func (b *box) calls(port uint16) (end func() lab.Calls) {
	ctx, cancel := context.WithCancel(b.t.Context())
	var made lab.Calls
	var wait sync.WaitGroup
	wait.Go(func() {
		var err error
		made, err = b.A.Call(ctx, lab.Plan{
			Network: "tcp", To: netip.AddrPortFrom(b.B.Addr, port), Pause: 5 * time.Millisecond, Within: patience,
		})
		if err != nil {
			b.t.Error(err)
		}
	})
	end = func() lab.Calls {
		cancel()
		wait.Wait()
		return made
	}
	b.t.Cleanup(func() { end() })
	return end
}

// reaches wants the next calls to a port of host B to be answered by these servers, each of them, and by no other.
func (b *box) reaches(port uint16, names ...string) {
	b.t.Helper()
	lab.Check(b.t, b.reached(port, names...))
}

func (b *box) reached(port uint16, names ...string) error {
	calls, err := b.A.Call(b.t.Context(), lab.Plan{Network: "tcp", To: netip.AddrPortFrom(b.B.Addr, port), Count: 2 * len(names), Within: time.Second})
	if err == nil {
		err = calls.Err()
	}
	if err != nil {
		return err
	}
	if got := calls.Names(); len(got) != len(names) || slices.ContainsFunc(names, func(n string) bool { return got[n] == 0 }) {
		return fmt.Errorf("port %d is answered by %v, want %v", port, got, names)
	}
	return nil
}

// reason wants the relay to be in a state, with this in its reason.
func (b *box) reason(relay, state string, words ...string) {
	b.t.Helper()
	b.awaitStatus(func(s *control.Status) error {
		for i := range s.Relays {
			r := &s.Relays[i]
			if r.Name != relay {
				continue
			}
			if r.State != state {
				return fmt.Errorf("relay %s is %s (%s), want %s", relay, r.State, r.Reason, state)
			}
			for _, w := range words {
				if !strings.Contains(r.Reason, w) {
					return fmt.Errorf("the reason of relay %s is %q, want %q in it", relay, r.Reason, w)
				}
			}
		}
		return nil
	})
}

// TestNameMoves moves a name under load: new connections follow in time and none fails, established ones drain or are cut as
// configured, datagrams follow from the same port.
func TestNameMoves(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.tellers(3)
	const ttl = time.Second
	z := b.zone(ttl, map[string]lab.Answer{"db.internal": b.at(1)})
	for n := range 2 {
		addr := b.C.Extra(n + 1)[0]
		udp, err := b.C.TellUDP(netip.AddrPortFrom(addr, 7001).String(), fmt.Sprint(n+1))
		lab.Check(t, err)
		t.Cleanup(func() { _ = udp.Stop() })
	}
	for _, port := range []uint16{7002, 7003} {
		_, err := b.C.EchoTCP(netip.AddrPortFrom(b.C.Extra(1)[0], port).String())
		lab.Check(t, err)
	}
	b.start(resolverLine + nameRelay("tell", 7000, "db.internal") + nameRelay("udp", 7001, "db.internal", `protocol = "udp"`) +
		nameRelay("keep", 7002, "db.internal") + nameRelay("cut", 7003, "DB.Internal.", `on_change = "close"`))
	kept := b.A.Converse(t, netip.Addr{}, "10.2.0.100:7002")
	cut := b.A.Converse(t, netip.Addr{}, "10.2.0.100:7003")
	client, err := b.A.Dial(t.Context(), "udp", "10.2.0.100:7001")
	lab.Check(t, err)
	defer client.Close()
	ask := func(want string) error {
		if got, err := lab.Ask(client, time.Second); err != nil || got != want {
			return fmt.Errorf("the datagram is answered by %q, want %q: %w", got, want, err)
		}
		return nil
	}
	lab.Check(t, ask("1"))
	end := b.calls(7000)

	lab.Check(t, z.Set(t.Context(), map[string]lab.Answer{"db.internal": b.at(2)}))
	moved := time.Now()
	lab.Eventually(t, patience, func() error { return b.reached(7000, "2") })
	time.Sleep(time.Until(moved.Add(ttl + followWithin + 100*time.Millisecond))) // calls of that time are judged
	calls := end()
	lab.Check(t, calls.Err())
	if late := calls.Since(moved.Add(ttl + followWithin)).Names(); late["1"] > 0 || late["2"] == 0 {
		t.Errorf("TTL + 1 s after the name moved, connections are answered by %v", late)
	}
	first := slices.IndexFunc(calls, func(c lab.Call) bool { return c.Name == "2" })
	t.Logf("%d calls, none failed; the first to the new address %v after the name moved", len(calls), calls[first].Began.Sub(moved).Round(time.Millisecond))

	lab.Eventually(t, patience, func() error { return ask("2") })
	kept.GoesOn(t)
	cut.Breaks(t)
	b.awaitStatus(func(s *control.Status) error {
		if left := s.Relays[2].Backends; len(left) != 2 || left[1].State != control.BackendDraining || left[1].Active != 1 {
			return fmt.Errorf("status does not have the backend that drains: %+v", left)
		}
		return nil
	})
	kept.End(t)

	lab.Check(t, z.Set(t.Context(), map[string]lab.Answer{"db.internal": b.at(2, 3)}))
	lab.Eventually(t, patience, func() error { return b.reached(7000, "2", "3") })
	if s := b.status(); s.Ruleset.DriftRepairs != 0 {
		t.Errorf("a name that moves is counted as a repair: %+v", s.Ruleset.LastDrift)
	}
}

// TestNameOutage takes the name server away in every way there is, and natd too: no change, until there is an answer.
func TestNameOutage(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.tellers(1)
	names := []string{"nx", "empty", "fail", "stay"}
	good, bad, config := make(map[string]lab.Answer), make(map[string]lab.Answer), resolverLine
	for i, name := range names {
		good[name+".internal"], bad[name+".internal"] = b.at(1), b.at(1)
		config += fmt.Sprintf("[[relay]]\nname = %q\nlisten = \"10.2.0.100:%d\"\nto = [\"%s.internal:7000\"]\n", name, 7000+i, name)
	}
	delete(bad, "nx.internal")
	bad["empty.internal"], bad["fail.internal"] = lab.Answer{}, lab.Answer{Fail: true}
	z := b.zone(time.Second, good)
	b.start(config)
	m := b.monitor()
	works := func(when string) {
		t.Helper()
		for i := range names {
			b.reaches(uint16(7000+i), "1")
		}
		m.steady(when)
	}
	lab.Check(t, z.Set(t.Context(), bad))
	b.reason("nx", control.RelayDegraded, "nx.internal", "last answer", "NXDOMAIN")
	b.reason("empty", control.RelayDegraded, "last answer", "no address")
	b.reason("fail", control.RelayDegraded, "last answer", "SERVFAIL")
	b.reason("stay", control.RelayReady)
	if _, _, code := b.natctl("status"); code != control.CodeDegraded {
		t.Errorf("natctl status exits %d, want %d", code, control.CodeDegraded)
	}
	works("NXDOMAIN, empty, SERVFAIL")

	lab.Check(t, z.Signal(syscall.SIGSTOP))
	b.reason("stay", control.RelayDegraded, "last answer", "no answer within")
	works("silence")
	lab.Check(t, z.Kill())
	b.reason("stay", control.RelayDegraded, "last answer") // refused, or silent: kernels bound their ICMP errors
	works("no name server")

	b.kill()
	b.launch()
	b.reason("stay", control.RelayDegraded, "last answer")
	works("natd killed and started without a name server")

	b.kill()
	b.nft("delete table inet natd") // as after a reboot
	b.launch()
	b.reason("stay", control.RelayDegraded, "last answer")
	b.reaches(7003, "1")

	lab.Check(t, z.Restart(t.Context()))
	lab.Check(t, z.Set(t.Context(), good))
	b.awaitReady()
	b.reaches(7000, "1")
}

// TestNameFlipFlop answers with an old and a new address in turn for 30 s, as Amazon RDS does after a failover.
func TestNameFlipFlop(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.tellers(2)
	is := func(n int) map[string]lab.Answer { return map[string]lab.Answer{"db.internal": b.at(n)} }
	z := b.zone(time.Second, is(1))
	b.start(resolverLine + nameRelay("db", 7000, "db.internal"))
	b.reaches(7000, "1")
	end := b.calls(7000)
	turn := time.NewTicker(1100 * time.Millisecond)
	defer turn.Stop()
	for i, began := 0, time.Now(); time.Since(began) < 30*time.Second || i%2 == 0; i++ {
		<-turn.C
		lab.Check(t, z.Set(t.Context(), is(2-i%2)))
	}
	lab.Check(t, z.Set(t.Context(), is(2)))
	lab.Eventually(t, patience, func() error { return b.reached(7000, "2") })
	calls := end()
	lab.Check(t, calls.Err())
	moves := 0
	for i := range calls[1:] {
		if calls[i].Name != calls[i+1].Name {
			moves++
		}
	}
	if logged := strings.Count(b.natd.Log(), "the addresses of a name changed"); moves != 1 || logged != 1 {
		t.Errorf("connections moved %d times, natd logged %d changes, want one:\n%s", moves, logged, b.natd.Log())
	}
	t.Logf("%d calls, none failed, %d questions, 1 move", len(calls), z.Queries("db.internal"))
}

// TestNameAtStart starts natd while one of its names is unknown.
func TestNameAtStart(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.tellers(2)
	z := b.zone(time.Second, map[string]lab.Answer{"one.internal": b.at(1)})
	b.configure(resolverLine + nameRelay("one", 7000, "one.internal") +
		"[[relay]]\nname = \"two\"\nlisten = \"10.2.0.100:7001\"\nto = [\"two.internal:7000\"]\n")
	b.launch()
	b.reason("one", control.RelayReady)
	b.reason("two", control.RelayDegraded, "two.internal", "NXDOMAIN")
	b.reaches(7000, "1")
	if !strings.Contains(b.natd.Log(), "msg=ready") {
		t.Errorf("natd is not ready, though one relay is:\n%s", b.natd.Log())
	}
	lab.Check(t, z.Set(t.Context(), map[string]lab.Answer{"one.internal": b.at(1), "two.internal": b.at(2)}))
	b.awaitReady()
	b.reaches(7001, "2")
	if strings.Contains(b.natd.Log(), "answered yet") {
		t.Errorf("natd complains before it could have an answer:\n%s", b.natd.Log())
	}
}

// TestNameAtReload reloads the same file when a name has its first answer: who has repaired it need not wait until natd asks by itself.
func TestNameAtReload(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]string{"the same file": "", "another file": "# edited\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBox(t)
			b.tellers(1)
			z := b.zone(time.Second, map[string]lab.Answer{})
			config := resolverLine + nameRelay("one", 7000, "one.internal")
			b.configure(config)
			b.launch()
			b.reason("one", control.RelayDegraded, "one.internal", "NXDOMAIN")
			lab.Check(t, z.Set(t.Context(), map[string]lab.Answer{"one.internal": b.at(1)}))
			b.configure(config + edit)
			b.step([]string{"reload"}, control.CodeOK, "")
			if s := b.status(); s.State != control.StateReady {
				t.Errorf("after the reload the state is %s: %v", s.State, s.Reasons)
			}
			b.reaches(7000, "1")
		})
	}
}

// TestNameOfDeadBackend moves a name with a long time to live after its server died, as a failover does: natd asks at once when
// a check fails, and again while it does.
func TestNameOfDeadBackend(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	lab.Check(t, b.C.AddExtra(2))
	var servers []*lab.Teller
	for n := range 2 {
		s, err := b.C.TellTCP(netip.AddrPortFrom(b.C.Extra(n + 1)[0], 7000).String(), fmt.Sprint(n+1))
		lab.Check(t, err)
		t.Cleanup(func() { _ = s.Stop() })
		servers = append(servers, s)
	}
	z := b.zone(5*time.Minute, map[string]lab.Answer{"db.internal": b.at(1)})
	b.start(resolverLine + nameRelay("db", 7000, "db.internal", `health = {type = "tcp", interval = "400ms", timeout = "200ms", fall = 6}`))
	b.reaches(7000, "1")
	asked := z.Queries("db.internal")
	lab.Check(t, servers[0].Stop())
	lab.Eventually(t, patience, func() error {
		if z.Queries("db.internal") == asked {
			return fmt.Errorf("the name is not asked for")
		}
		return nil
	})
	if backend := b.status().Relays[0].Backends[0]; backend.State != control.BackendUp {
		t.Errorf("the name was asked for when its server was down (%s), want it at the first checks that failed", backend.Reason)
	}
	b.reason("db", control.RelayDown, "db.internal", "refused")
	lab.Check(t, z.Set(t.Context(), map[string]lab.Answer{"db.internal": b.at(2)}))
	moved := time.Now()
	lab.Eventually(t, patience, func() error { return b.reached(7000, "2") })
	if took := time.Since(moved); took > 2*time.Second {
		t.Errorf("the name of a server that is down was followed after %v, want 2 s", took)
	} else {
		t.Logf("followed %v after the name moved, with a time to live of 5 minutes", took.Round(time.Millisecond))
	}
	b.awaitReady()
}
