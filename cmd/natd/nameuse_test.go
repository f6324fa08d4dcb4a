package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"natd/internal/control"
	"natd/internal/lab"
)

// tellersOfBoth starts servers on both addresses of the first n extra ones of host C: n-4 and n-6.
func (b *box) tellersOfBoth(n int) {
	b.t.Helper()
	lab.Check(b.t, b.C.AddExtra(n))
	for i := range n {
		for _, a := range b.C.Extra(i + 1) {
			family := map[bool]int{true: 4, false: 6}[a.Is4()]
			lab.Eventually(b.t, patience, func() error { // an IPv6 address takes a moment
				s, err := b.C.TellTCP(netip.AddrPortFrom(a, 7000).String(), fmt.Sprintf("%d-%d", i+1, family))
				if err == nil {
					b.t.Cleanup(func() { _ = s.Stop() })
				}
				return err
			})
		}
	}
}

// answers wants a call from A to be answered by this server.
func (b *box) answers(to, want string) {
	b.t.Helper()
	calls, err := b.A.Call(b.t.Context(), lab.Plan{Network: "tcp", To: netip.MustParseAddrPort(to), Count: 1, Within: 2 * time.Second})
	lab.Check(b.t, err)
	lab.Check(b.t, calls.Err())
	if got := calls[0].Name; got != want {
		b.t.Errorf("%s is answered by %s, want %s", to, got, want)
	}
}

// TestNameFamilies wants a name to be asked for in the families that clients dial, and no complaint about one that it
// has no address of.
func TestNameFamilies(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	if !b.B.Addr6.IsValid() {
		t.Skip("this kernel has no IPv6")
	}
	b.tellersOfBoth(2)
	z := b.zone(time.Second, map[string]lab.Answer{
		"four.internal": b.at(1), "both.internal": {Addrs: b.C.Extra(2)}, "six.internal": {Addrs: b.C.Extra(1)[1:]},
	})
	b.start(resolverLine + `
[[relay]]
name = "four"
listen = ":7001"
to = ["four.internal:7000"]
[[relay]]
name = "both"
listen = ":7002"
to = ["both.internal:7000"]
[[relay]]
name = "six"
listen = "[fd00:10:2::100]:7003"
to = ["six.internal:7000"]
`)
	for to, want := range map[string]string{
		"10.2.0.100:7001": "1-4", "10.2.0.100:7002": "2-4", "[fd00:10:2::100]:7002": "2-6", "[fd00:10:2::100]:7003": "1-6",
	} {
		b.answers(to, want)
	}
	if z.Queries("six.internal") == 0 || strings.Contains(z.Log(), "query[A] six.internal") {
		t.Errorf("an IPv6 relay asks for IPv4 addresses:\n%s", z.Log())
	}
	lab.Check(t, z.Set(t.Context(), map[string]lab.Answer{
		"four.internal": {Addrs: b.C.Extra(1)}, "both.internal": {Addrs: b.C.Extra(2)}, "six.internal": {Addrs: b.C.Extra(1)[1:]},
	}))
	b.awaitStatus(func(s *control.Status) error {
		if n := len(s.Relays[0].Backends); n != 2 {
			return fmt.Errorf("the name that has got an IPv6 address has %d backends", n)
		}
		return nil
	})
	b.answers("[fd00:10:2::100]:7001", "1-6")
	if s := b.status(); s.Ruleset.DriftRepairs != 0 {
		t.Errorf("a name that gets an address counts as a repair: %+v", s.Ruleset.LastDrift)
	}
	if log := b.natd.Log(); strings.Contains(log, "not as configured") || strings.Contains(log, "level=WARN msg=\"a name") {
		t.Errorf("natd complains about a name that has addresses of one family only:\n%s", log)
	}
}

// TestNameLeadsHere wants answers that lead to the relay itself, to the host or to nobody not to be followed: the last good
// one stays.
func TestNameLeadsHere(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.tellers(1)
	lab.Check(t, b.RouteTo(netip.MustParsePrefix("10.2.7.7/32"), b.B))
	z := b.zone(time.Second, map[string]lab.Answer{"db.internal": b.at(1)})
	b.configure(resolverLine + nameRelay("db", 7000, "db.internal") + // and one whose address is routed here, but on no interface
		"[[relay]]\nname = \"routed\"\nlisten = \"10.2.7.7:7000\"\nto = [\"10.3.0.101:7000\"]\n")
	b.launch()
	b.reason("db", control.RelayReady)
	m := b.monitor()
	for _, addr := range []string{"10.2.0.100", "10.2.7.7", "127.0.0.1", "169.254.169.254", "224.0.0.1", "0.0.0.0", "255.255.255.255"} {
		a := netip.MustParseAddr(addr)
		lab.Check(t, z.Set(t.Context(), map[string]lab.Answer{"db.internal": {Addrs: []netip.Addr{a}}}))
		b.reason("db", control.RelayDegraded, "last answer", addr)
		b.reaches(7000, "1")
		lab.Check(t, z.Set(t.Context(), map[string]lab.Answer{"db.internal": b.at(1)}))
		b.reason("db", control.RelayReady)
	}
	m.steady("answers that lead here")

	// A relay that is new is no other: its own address, learned by the reload, is none of its backends.
	lab.Check(t, z.Set(t.Context(), map[string]lab.Answer{"db.internal": b.at(1), "new.internal": {Addrs: []netip.Addr{b.B.Addr}}}))
	b.reload(resolverLine + nameRelay("db", 7000, "db.internal") + nameRelay("new", 7001, "new.internal"))
	b.reason("new", control.RelayDegraded, "new.internal", "10.2.0.100, which is this host")
}

// TestNameReload wants reload and plan to tell of names what is, and natctl to agree with natd about backends that are down or
// drained.
func TestNameReload(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.tellers(3)
	answers := map[string]lab.Answer{"db.internal": b.at(1, 2)}
	z := b.zone(5*time.Minute, answers)
	fixed := "[[relay]]\nname = \"db\"\nlisten = \"10.2.0.100:7000\"\nto = [\"10.3.0.103:7000\"]\n"
	b.start(resolverLine + fixed)
	end := b.calls(7000)
	named := resolverLine + nameRelay("db", 7000, "db.internal")
	b.configure(named)
	plan, _, code := b.natctl("plan")
	if code != control.CodeOK || !strings.Contains(plan, ". 10.3.0.101 ") || strings.Contains(plan, "note:") {
		t.Errorf("natctl plan exits %d and says:\n%s", code, plan)
	}
	out, errs, code := b.natctl("reload")
	if code != control.CodeOK || strings.Contains(out, "note:") {
		t.Errorf("natctl reload exits %d and says:\n%s%s", code, out, errs)
	}
	lab.Eventually(t, patience, func() error { return b.reached(7000, "1", "2") }) // those who call all the time may have every other turn
	lab.Check(t, end().Err())                                                      // from an address to a name, without a gap

	b.wantNoPlan()
	_, _, _ = b.natctl("drain", "db", "10.3.0.101")
	b.reaches(7000, "2")
	b.wantNoPlan()
	_, _, _ = b.natctl("enable", "db")

	const health = `health = {type = "tcp", interval = "200ms", timeout = "100ms", fall = 2}`
	checked := resolverLine + nameRelay("db", 7000, "db.internal") + nameRelay("dead", 7009, "dead.internal", health, `fail = "closed"`)
	answers["dead.internal"] = b.at(3) // which has nothing on port 7009
	lab.Check(t, z.Set(t.Context(), answers))
	b.reload(checked)
	b.reason("dead", control.RelayDown, "refused")
	b.wantNoPlan()
	lab.Check(t, z.Kill())
	b.wantNoPlan()
	rules, _, code := b.natctl("rules")
	if _, err := b.B.RunInput(t.Context(), rules, "unshare", "-n", "nft", "-c", "-f", "-"); code != control.CodeOK || err != nil || !strings.Contains(rules, "10.3.0.102") {
		t.Errorf("natctl rules exits %d, and nft says %v:\n%s", code, err, rules)
	}

	began := time.Now()
	b.configure(checked + nameRelay("new", 7010, "new.internal"))
	out, _, code = b.natctl("reload")
	if took := time.Since(began); code != control.CodeOK || !strings.Contains(out, "new.internal") || strings.Contains(out, "yet") || took > 5*time.Second {
		t.Errorf("with a name server that is dead, natctl reload exits %d after %v and says:\n%s", code, took, out)
	}
	b.wantNoPlan()
	b.reaches(7000, "1", "2")

	lab.Check(t, z.Restart(t.Context()))
	answers["late.internal"] = b.at(3)
	lab.Check(t, z.Set(t.Context(), answers))
	b.configure(resolverLine + "[[relay]]\nname = \"late\"\nlisten = \"10.2.0.100:7000\"\nto = [\"late.internal:7000\"]\n")
	lab.Check(t, b.natd.Signal(syscall.SIGHUP))
	lab.Eventually(t, patience, func() error { return b.reached(7000, "3") })
	b.awaitReady()
}

// wantNoPlan wants natctl plan to find nothing to do.
func (b *box) wantNoPlan() {
	b.t.Helper()
	if out, errs, code := b.natctl("plan", "--exit-code"); code != control.CodeOK {
		b.t.Errorf("natctl plan exits %d, want nothing to change:\n%s%s", code, out, errs)
	}
}

// TestNameStore damages the file of the last good answers, and fills the disk that it is on.
func TestNameStore(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.tellers(2)
	state := filepath.Join(b.dir, "state")
	store := filepath.Join(state, "names.json")
	lab.Check(t, os.Mkdir(state, 0o700))
	lab.Check(t, os.WriteFile(store, []byte(`{"version":1,"names":[{"host":`), 0o600))
	z := b.zone(time.Second, map[string]lab.Answer{"db.internal": b.at(1)})
	b.start(resolverLine + nameRelay("db", 7000, "db.internal"))
	lab.Check(t, b.natd.AwaitLog(t.Context(), patience, "the last good answers of names cannot be read"))
	b.reaches(7000, "1")
	b.stored(store, "10.3.0.101")
	if info, err := os.Stat(store); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v: want a file for natd alone", info, err)
	}

	lab.Check(t, os.Chmod(state, 0o755))
	full := filepath.Join(b.dir, "full")
	lab.Check(t, os.Mkdir(full, 0o700))
	b.B.Output(t, "mount", "-t", "tmpfs", "-o", "size=64k", "none", full)
	b.kill()
	b.B.Output(t, "cp", "-a", state+"/.", full)
	b.B.Output(t, "sh", "-c", "cat /dev/zero > "+full+"/ballast || true")
	lab.Check(t, os.Rename(state, state+".old"))
	lab.Check(t, os.Symlink(full, state))
	b.launch()
	b.awaitReady()
	lab.Check(t, z.Set(t.Context(), map[string]lab.Answer{"db.internal": b.at(2)}))
	lab.Check(t, b.natd.AwaitLog(t.Context(), patience, "cannot be kept for the next start"))
	lab.Eventually(t, patience, func() error { return b.reached(7000, "2") })
	b.B.Output(t, "rm", full+"/ballast")
	lab.Eventually(t, patience, func() error {
		text, err := b.B.Run(t.Context(), "cat", full+"/names.json")
		if err == nil && !strings.Contains(text, "10.3.0.102") {
			err = fmt.Errorf("the file still says %s", text)
		}
		return err
	})
}

// stored waits until the file has the address.
func (b *box) stored(path, addr string) {
	b.t.Helper()
	lab.Eventually(b.t, patience, func() error {
		text, err := os.ReadFile(path)
		if err == nil && !strings.Contains(string(text), addr) {
			err = fmt.Errorf("%s has no %s: %s", path, addr, text)
		}
		return err
	})
}

// TestNameByResolvConf follows resolv.conf, its search list, and its change while natd runs.
func TestNameByResolvConf(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.tellers(2)
	const conf = "/etc/resolv.conf"
	write := func(server string) string {
		return "search corp.internal\nnameserver " + server + "\noptions timeout:1 attempts:1\n"
	}
	_, err := b.C.StartZone(t.Context(), netip.MustParseAddrPort("10.3.0.102:53"), time.Second, map[string]lab.Answer{"db.corp.internal": b.at(2)})
	lab.Check(t, err)
	lab.Check(t, b.B.OverlayFile(conf, write("10.3.0.101"))) // where no name server is
	b.configure(nameRelay("db", 7000, "db"))
	b.launch()
	b.reason("db", control.RelayDegraded, "10.3.0.101:53")
	if b.natd.Log() != "" && strings.Contains(b.natd.Log(), "msg=ready") {
		t.Errorf("natd says that it is ready, and relays nothing:\n%s", b.natd.Log())
	}
	lab.Check(t, b.B.Do(func() error { return os.WriteFile(conf, []byte(write("10.3.0.102")), 0o644) }))
	b.awaitReady()
	b.reaches(7000, "2")
}

// TestNameAfterRefusal wants a reload to wait for a new name also when the one before, with the same name, was refused.
func TestNameAfterRefusal(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	lab.Check(t, b.C.AddExtra(1))
	b.zone(time.Second, map[string]lab.Answer{"new.internal": b.at(1)})
	b.start(resolverLine + nameRelay("old", 7001, "10.3.0.100"))
	service, err := b.B.TellTCP("10.2.0.100:7000", "local")
	lab.Check(t, err)
	b.configure(resolverLine + nameRelay("old", 7001, "10.3.0.100") + nameRelay("new", 7000, "new.internal"))
	b.step([]string{"reload"}, control.CodeConfig, "belongs to a local service")
	lab.Check(t, service.Stop())
	out, _, code := b.natctl("reload")
	if code != control.CodeOK || strings.Contains(out, "has no address") || !strings.Contains(out, ". 7000 comment \"new\" : ") {
		t.Errorf("the reload exits %d, and a name has no address: %s", code, out)
	}
}
