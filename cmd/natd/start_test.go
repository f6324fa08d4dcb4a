package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"natd/internal/control"
	"natd/internal/lab"
)

// launchWith is launch with additions to the environment.
func (b *box) launchWith(env ...string) {
	b.t.Helper()
	cmd := b.natdCommand(b.B, b.socketPath(), filepath.Join(b.dir, "state"))
	cmd.Env = append(os.Environ(), env...)
	p, err := b.B.StartCmd(cmd)
	lab.Check(b.t, err)
	b.natd = p
	b.t.Cleanup(func() { b.noRace(p) })
}

// natdCommand is natd with the box's configuration, in a host of choice.
func (b *box) natdCommand(h *lab.Host, socket, state string) *lab.Cmd {
	return h.Command(b.t.Context(), filepath.Join(b.bin, "natd"), "--config", b.configPath(), "--socket", socket, "--state", state)
}

// awaitDegraded waits until the state is degraded for a reason that has all the texts.
func (b *box) awaitDegraded(texts ...string) {
	b.t.Helper()
	b.awaitStatus(func(s *control.Status) error {
		found := slices.ContainsFunc(s.Reasons, func(reason string) bool {
			return !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(reason, text) })
		})
		if s.State != control.StateDegraded || !found {
			return fmt.Errorf("state is %s for %q, want degraded for a reason with %q", s.State, s.Reasons, texts)
		}
		return nil
	})
}

// exchange sends a line over the connection and wants it back.
func exchange(c net.Conn, within time.Duration) error {
	if err := c.SetDeadline(time.Now().Add(within)); err != nil {
		return err
	}
	const line = "is anybody there?\n"
	if _, err := c.Write([]byte(line)); err != nil {
		return err
	}
	buf := make([]byte, len(line))
	if _, err := io.ReadFull(c, buf); err != nil {
		return err
	}
	if string(buf) != line {
		return fmt.Errorf("got %q back", buf)
	}
	return nil
}

// reach opens a connection, exchanges a line and closes it.
func reach(t testing.TB, from *lab.Host, network, addr string, within time.Duration) error {
	t.Helper()
	d := net.Dialer{Timeout: within}
	return from.Do(func() error {
		c, err := d.DialContext(t.Context(), network, addr)
		if err != nil {
			return err
		}
		return errors.Join(exchange(c, within), c.Close())
	})
}

// echoRelay relays 10.2.0.100:7 to the same port of C; lines are added to the relay.
func echoRelay(lines ...string) string {
	return "[[relay]]\nname = \"echo\"\nlisten = \"10.2.0.100:7\"\nto = [\"10.3.0.100:7\"]\n" + strings.Join(lines, "\n") + "\n"
}

// TestStartBeforeTheNetwork starts natd at a boot that has not come to the network yet.
func TestStartBeforeTheNetwork(t *testing.T) {
	t.Parallel()
	address, gateway := netip.MustParsePrefix("10.2.0.100/24"), netip.MustParseAddr("10.2.0.1")
	everything := netip.MustParsePrefix("0.0.0.0/0")
	tests := []struct {
		name        string
		lose, bring func(*lab.Host) error
		reason      string // part of it
	}{
		{
			"interface is down", func(h *lab.Host) error { return h.SetUp(lab.Device, false) },
			func(h *lab.Host) error {
				return errors.Join(h.SetUp(lab.Device, true), h.AddRoute(everything, gateway))
			}, "backend 10.3.0.100 cannot be reached",
		},
		{
			"address is missing", func(h *lab.Host) error { return h.DelAddr(lab.Device, address) },
			func(h *lab.Host) error {
				return errors.Join(h.AddAddr(lab.Device, address), h.AddRoute(everything, gateway))
			}, "listen address 10.2.0.100 is on no interface",
		},
		{
			"interface has another name", func(h *lab.Host) error { return h.Rename(lab.Device, "eth7") },
			func(h *lab.Host) error { return h.Rename("eth7", lab.Device) }, "egress ens5",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBox(t)
			server, err := b.C.EchoTCP("10.3.0.100:7")
			lab.Check(t, err)
			lab.Check(t, tt.lose(b.B))
			systemd, env := newManager(b)
			b.configure(echoRelay(`egress = "ens5"`))
			b.launchWith(env)
			b.awaitDegraded("relay echo", tt.reason)
			systemd.await(t, "STATUS=", tt.reason)
			if n := systemd.count("READY=1"); n != 0 {
				t.Errorf("READY=1 was sent %d times while nothing is relayed", n)
			}
			if out, _, code := b.natctl("status"); code != control.CodeDegraded || !strings.Contains(out, tt.reason) {
				t.Errorf("natctl status exits %d, want %d and the reason:\n%s", code, control.CodeDegraded, out)
			}
			lab.Check(t, tt.bring(b.B))
			b.awaitReady()
			lab.Check(t, reach(t, b.A, "tcp", "10.2.0.100:7", patience))
			systemd.await(t, "STATUS=", "1 of 1 relays in the kernel")
			if n := systemd.count("READY=1"); n != 1 {
				t.Errorf("READY=1 was sent %d times, want once", n)
			}
			if peers := server.Peers(); len(peers) != 1 || peers[0].Addr() != b.B.Addr {
				t.Errorf("C met %v, want B once", peers)
			}
		})
	}
}

// TestServiceManager holds natd against what sd_notify(3) and sd_watchdog_enabled(3) ask of a service.
func TestServiceManager(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	systemd, env := newManager(b)
	b.configure(echoRelay())
	const watchdog = 200 * time.Millisecond
	b.launchWith(env, fmt.Sprintf("WATCHDOG_USEC=%d", watchdog.Microseconds()))
	systemd.await(t, "READY=1", "")
	systemd.await(t, "STATUS=", "1 of 1 relays in the kernel")
	b.awaitReady()
	alive := func(more int) {
		t.Helper()
		before := systemd.count("WATCHDOG=1")
		lab.Eventually(t, patience, func() error {
			if n := systemd.count("WATCHDOG=1") - before; n < more {
				return fmt.Errorf("the watchdog was fed %d times, want %d", n, more)
			}
			return nil
		})
	}
	alive(3)
	lab.Check(t, b.natd.Signal(syscall.SIGSTOP))
	time.Sleep(watchdog) // what was under way arrives
	before := systemd.count("WATCHDOG=1")
	time.Sleep(3 * watchdog) // long enough for a watchdog to bite
	if n := systemd.count("WATCHDOG=1") - before; n != 0 {
		t.Errorf("a stopped natd fed the watchdog %d times", n)
	}
	lab.Check(t, b.natd.Signal(syscall.SIGCONT))
	alive(3)
	if n := systemd.count("READY=1"); n != 1 {
		t.Errorf("READY=1 was sent %d times, want once", n)
	}
	lab.Check(t, b.natd.Signal(syscall.SIGHUP))
	systemd.await(t, "RELOADING=1", "")
	lab.Eventually(t, patience, func() error {
		if n := systemd.count("READY=1"); n != 2 {
			return fmt.Errorf("after a reload READY=1 was sent %d times, want twice", n)
		}
		return nil
	})
	lab.Check(t, b.natd.Stop())
	systemd.await(t, "STOPPING=1", "")
	if err := b.natd.Err(); err != nil {
		t.Errorf("SIGTERM: natd ended with %v, want 0", err)
	}
}

// TestOneDaemonPerNamespace starts more natd than there may be.
func TestOneDaemonPerNamespace(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	_, err := b.C.EchoTCP("10.3.0.100:7")
	lab.Check(t, err)
	b.start(echoRelay())
	c, err := b.A.Dial(t.Context(), "tcp", "10.2.0.100:7")
	lab.Check(t, err)
	defer c.Close()
	lab.Check(t, exchange(c, patience))

	states := []string{filepath.Join(b.dir, "state")}
	sockets := []string{b.socketPath()}
	for i := range 10 {
		states = append(states, filepath.Join(b.dir, fmt.Sprintf("state%d", i)))
		sockets = append(sockets, filepath.Join(b.dir, fmt.Sprintf("run%d", i), "natd.sock"))
	}
	var wg sync.WaitGroup
	for i := range states {
		wg.Go(func() {
			out, err := b.natdCommand(b.B, sockets[i], states[i]).CombinedOutput()
			want := fmt.Sprintf("another natd (pid %d)", b.natd.PID())
			if code := lab.ExitCode(err); code != control.CodeFailed || !strings.Contains(string(out), want) {
				t.Errorf("another natd on %s exits %d, want %d and %q:\n%s", sockets[i], code, control.CodeFailed, want, out)
			}
		})
	}
	wg.Wait()
	if s := b.status(); s.State != control.StateReady || s.PID != b.natd.PID() || s.Ruleset.DriftRepairs != 0 {
		t.Errorf("the first natd was disturbed: %+v", s)
	}
	lab.Check(t, exchange(c, patience))

	elsewhere, err := b.C.StartCmd(b.natdCommand(b.C, filepath.Join(b.dir, "c.sock"), filepath.Join(b.dir, "state-c")))
	lab.Check(t, err)
	lab.Check(t, elsewhere.AwaitLog(t.Context(), patience, "msg=ready"))
}

// TestManyAtOnce starts ten natd at the same time: one of them gets the namespace.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.configure(echoRelay())
	const many = 10
	all := make([]*lab.Process, many)
	for i := range all {
		dir := filepath.Join(b.dir, fmt.Sprint(i))
		p, err := b.B.StartCmd(b.natdCommand(b.B, dir+".sock", dir))
		lab.Check(t, err)
		all[i] = p
	}
	lab.Eventually(t, patience, func() error {
		running, ready := 0, 0
		for _, p := range all {
			select {
			case <-p.Done():
			default:
				running++
			}
			if strings.Contains(p.Log(), "msg=ready") {
				ready++
			}
		}
		if running != 1 || ready != 1 {
			return fmt.Errorf("%d are running and %d became ready, want one", running, ready)
		}
		return nil
	})
	for _, p := range all {
		select {
		case <-p.Done():
			if lab.ExitCode(p.Err()) != control.CodeFailed || !strings.Contains(p.Log(), "natd") {
				t.Errorf("ended with %v:\n%s", p.Err(), p.Log())
			}
		default:
		}
	}
}

// TestInvalidConfigTouchesNothing starts natd with a file that is wrong in two places.
func TestInvalidConfigTouchesNothing(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	before := settings(t, b.B)
	b.configure("[daemon]\nresync = \"often\"\n" + echoRelay("lisen = 1"))
	state := filepath.Join(b.dir, "state")
	out, err := b.natdCommand(b.B, b.socketPath(), state).CombinedOutput()
	if code := lab.ExitCode(err); code != control.CodeConfig {
		t.Errorf("natd exits %d, want %d", code, control.CodeConfig)
	}
	for _, want := range []string{b.configPath() + `:2: daemon: resync = "often"`, b.configPath() + ":7:", "lisen"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("natd does not say %q:\n%s", want, out)
		}
	}
	if rules := b.B.Output(t, "nft", "list", "ruleset"); rules != "" {
		t.Errorf("there are rules:\n%s", rules)
	}
	sameSettings(t, before, settings(t, b.B), nil)
	for _, path := range []string{state, b.socketPath()} {
		if _, err := os.Lstat(path); err == nil {
			t.Errorf("%s was made", path)
		}
	}
}

// everybodys is a directory that every user can enter, with copies of natd and natctl in it: those of a test belong to root
// alone.
func (b *box) everybodys() {
	b.t.Helper()
	dir, err := os.MkdirTemp("", "natd-test-")
	lab.Check(b.t, err)
	b.t.Cleanup(func() { _ = os.RemoveAll(dir) })
	lab.Check(b.t, os.Chmod(dir, 0o755))
	for _, name := range []string{"natd", "natctl"} {
		program, err := os.ReadFile(filepath.Join(b.bin, name))
		lab.Check(b.t, err)
		lab.Check(b.t, os.WriteFile(filepath.Join(dir, name), program, 0o755))
	}
	b.dir, b.bin = dir, dir
}

// nobody is the user and group that owns nothing.
const nobody = 65534

// TestWithoutPrivileges starts natd for users who may not.
func TestWithoutPrivileges(t *testing.T) {
	t.Parallel()
	lab.Require(t, "setpriv")
	b := newBox(t)
	b.everybodys()
	b.configure(echoRelay())
	lab.Check(t, os.Chmod(b.configPath(), 0o644))
	own := filepath.Join(b.dir, "own")
	lab.Check(t, os.Mkdir(own, 0o755))
	lab.Check(t, os.Chown(own, nobody, nobody))
	id := fmt.Sprint(nobody)
	user := []string{"--reuid", id, "--regid", id, "--clear-groups"}
	powerless := []string{"--inh-caps", "-all", "--bounding-set", "-all"}
	tests := []struct {
		name  string
		who   []string
		state string
	}{
		{"user without a state directory", user, filepath.Join(b.dir, "state")},
		{"user with a state directory", user, own},
		{"root without capabilities", powerless, filepath.Join(b.dir, "state")},
	}
	for _, tt := range tests {
		args := append(slices.Clone(tt.who), filepath.Join(b.bin, "natd"), "--config", b.configPath(),
			"--socket", filepath.Join(tt.state, "sock"), "--state", tt.state)
		out, err := b.B.Command(t.Context(), "setpriv", args...).CombinedOutput()
		text := strings.TrimSpace(string(out))
		if code := lab.ExitCode(err); code != control.CodeNotPermitted {
			t.Errorf("%s: natd exits %d, want %d", tt.name, code, control.CodeNotPermitted)
		}
		if strings.Contains(text, "\n") || !strings.Contains(text, "CAP_NET_ADMIN") || !strings.Contains(text, "root") {
			t.Errorf("%s: want one line that tells what is missing, got:\n%s", tt.name, text)
		}
	}
	if rules := b.B.Output(t, "nft", "list", "ruleset"); rules != "" {
		t.Errorf("there are rules:\n%s", rules)
	}
}

func TestFlags(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	tests := []struct {
		args []string
		code int
		want string // regular expression
	}{
		{[]string{"--help"}, control.CodeOK, `(?s)-config.*-socket.*-state`},
		{[]string{"-h"}, control.CodeOK, `-config`},
		{[]string{"--version"}, control.CodeOK, `^natd \S+\n$`},
		{[]string{"--no-such-flag"}, control.CodeUsage, `no-such-flag`},
		{[]string{"--config"}, control.CodeUsage, `needs an argument`},
		{[]string{"start"}, control.CodeUsage, `unexpected argument "start"`},
		{[]string{"--config", "/no/such/file"}, control.CodeConfig, `/no/such/file: cannot be read: no such file`},
	}
	for _, tt := range tests {
		out, err := b.B.Command(t.Context(), filepath.Join(b.bin, "natd"), tt.args...).CombinedOutput()
		if code := lab.ExitCode(err); code != tt.code {
			t.Errorf("natd %q exits %d, want %d", tt.args, code, tt.code)
		}
		if !regexp.MustCompile(tt.want).Match(out) {
			t.Errorf("natd %q writes %q, want %s", tt.args, out, tt.want)
		}
	}
}
