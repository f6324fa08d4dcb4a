package lab

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestProgramsSeeTheirHost(t *testing.T) {
	t.Parallel()
	h := NewHost(t)
	Check(t, h.SetSysctl("net.ipv4.ip_forward", "1"))
	tests := []struct {
		name, program string
		args          []string
		want          string
	}{
		{"interfaces in /sys", "ls", []string{"/sys/class/net"}, "lo"},
		{"interfaces by netlink", "sh", []string{"-c", "ip -br link | cut -d ' ' -f 1"}, "lo"},
		{"sysctl", "cat", []string{"/proc/sys/net/ipv4/ip_forward"}, "1"},
		{"own resolv.conf", "cat", []string{"/etc/resolv.conf"}, "nameserver 10.9.9.9"},
	}
	outside, err := os.ReadFile("/etc/resolv.conf")
	Check(t, err)
	Check(t, h.OverlayFile("/etc/resolv.conf", "nameserver 10.9.9.9\n"))
	for _, tt := range tests {
		if got := strings.TrimSpace(h.Output(t, tt.program, tt.args...)); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
	now, err := os.ReadFile("/etc/resolv.conf")
	Check(t, err)
	if string(now) != string(outside) {
		t.Errorf("/etc/resolv.conf outside the host is now %q", now)
	}
}

func TestDoSeesItsHost(t *testing.T) {
	t.Parallel()
	h := NewHost(t)
	wd, err := os.Getwd()
	Check(t, err)
	Check(t, h.Do(func() error {
		entries, err := os.ReadDir("/sys/class/net")
		Check(t, err)
		if len(entries) != 1 || entries[0].Name() != "lo" {
			t.Errorf("/sys/class/net holds %v, want lo alone", entries)
		}
		if _, err := os.Stat("host_test.go"); err != nil {
			t.Errorf("the working directory is not %s: %v", wd, err)
		}
		return nil
	}))
	if got := strings.TrimSpace(h.Output(t, "pwd")); got != wd {
		t.Errorf("a program runs in %s, want %s", got, wd)
	}
}

// TestDoLeavesThreadsClean runs enough in a host to meet every thread the runtime would reuse.
func TestDoLeavesThreadsClean(t *testing.T) {
	t.Parallel()
	h := NewHost(t)
	want, err := os.Readlink("/proc/self/ns/net")
	Check(t, err)
	for range 50 {
		Check(t, h.Do(func() error { return nil }))
		done := make(chan string)
		go func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			ns, _ := os.Readlink("/proc/thread-self/ns/net") // "" does not match either
			done <- ns
		}()
		if got := <-done; got != want {
			t.Fatalf("a thread outside the host is in %s, want %s", got, want)
		}
	}
}

func TestDoEndings(t *testing.T) {
	t.Parallel()
	h := NewHost(t)
	sentinel := errors.New("mine")
	if err := h.Do(func() error { return sentinel }); !errors.Is(err, sentinel) || !strings.Contains(err.Error(), "host "+h.Name) {
		t.Errorf("got %v, want the function's error and the host's name", err)
	}
	if err := h.Do(func() error { runtime.Goexit(); return nil }); err == nil {
		t.Error("no error from a function that left its thread")
	}
	func() {
		defer func() {
			if got := recover(); got != "mine" {
				t.Errorf("recovered %v, want the function's panic", got)
			}
		}()
		_ = h.Do(func() error { panic("mine") })
		t.Error("no panic")
	}()
	Check(t, h.Lab().Close())
	if err := h.Do(func() error { return nil }); !errors.Is(err, errClosed) {
		t.Errorf("after Close: got %v, want %v", err, errClosed)
	}
	if err := h.Command(t.Context(), "true").Run(); !errors.Is(err, errClosed) {
		t.Errorf("after Close: running a program: got %v, want %v", err, errClosed)
	}
}

func TestCommand(t *testing.T) {
	t.Parallel()
	h := NewHost(t)
	out, err := h.RunInput(t.Context(), "some input", "cat")
	Check(t, err)
	if out != "some input" {
		t.Errorf("cat gave %q", out)
	}
	_, err = h.Run(t.Context(), "sh", "-c", "echo because >&2; exit 3")
	if ExitCode(err) != 3 || !strings.Contains(err.Error(), "because") {
		t.Errorf("got %v, want exit code 3 and the standard error", err)
	}
	if _, err = h.Run(t.Context(), "no-such-program"); !errors.Is(err, exec.ErrNotFound) || ExitCode(err) != -1 {
		t.Errorf("got %v, want %v", err, exec.ErrNotFound)
	}
	both, err := h.Command(t.Context(), "sh", "-c", "echo out; echo err >&2").CombinedOutput()
	Check(t, err)
	if string(both) != "out\nerr\n" {
		t.Errorf("combined output is %q", both)
	}
}

// TestCommandEndsWithItsContext has a child that holds the pipe, so that killing the first process alone would hang.
func TestCommandEndsWithItsContext(t *testing.T) {
	t.Parallel()
	h := NewHost(t)
	pidFile := filepath.Join(t.TempDir(), "pid")
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		_ = Await(ctx, patience, func() error { _, err := os.Stat(pidFile); return err })
		cancel()
	}()
	start := time.Now()
	_, err := h.Run(ctx, "sh", "-c", "sleep 1000 & echo > "+pidFile+"; wait")
	if err == nil || time.Since(start) > patience {
		t.Errorf("ended after %v with %v, want an error when the context ends", time.Since(start), err)
	}
	Eventually(t, patience, func() error { return noneMarked(h.lab.id()) })
}

func TestLinks(t *testing.T) {
	t.Parallel()
	p := New(t)
	second := netip.MustParsePrefix("10.1.0.101/24")
	Check(t, p.A.AddAddr(Device, second))
	server, err := p.B.EchoTCP("10.2.0.100:0")
	Check(t, err)
	c, err := p.A.DialFrom(t.Context(), "tcp", second.Addr(), server.Addr.String())
	Check(t, err)
	defer c.Close()
	Check(t, exchange(c, patience))
	if got := server.Peers()[0].Addr(); got != second.Addr() {
		t.Errorf("B saw %v, want the second address %v", got, second.Addr())
	}
	Check(t, p.A.DelAddr(Device, second))
	if _, err := p.A.DialFrom(t.Context(), "tcp", second.Addr(), server.Addr.String()); err == nil {
		t.Error("dialed from an address that was removed")
	}

	Check(t, p.B.Rename(Device, "eth0"))
	reaches(t, p.A, "tcp", server.Addr, true)
	Check(t, p.B.SetMTU("eth0", 1400))
	if got := p.B.Output(t, "cat", "/sys/class/net/eth0/mtu"); got != "1400\n" {
		t.Errorf("the MTU is %q", got)
	}
	Check(t, p.B.DelRoute(netip.MustParsePrefix("0.0.0.0/0"), netip.MustParseAddr("10.2.0.1")))
	reaches(t, p.A, "tcp", server.Addr, false)
	if err := p.B.SetUp(Device, false); err == nil || !strings.Contains(err.Error(), Device) {
		t.Errorf("got %v, want an error that names the interface %s", err, Device)
	}
}

// TestSecondInterface links two hosts directly, beside the router.
func TestSecondInterface(t *testing.T) {
	t.Parallel()
	p := New(t)
	addr := func(s string) []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix(s)} }
	Check(t, Connect(
		End{Host: p.A, Name: "ens6", Addrs: addr("192.168.0.1/24")},
		End{Host: p.C, Name: "ens6", Addrs: addr("192.168.0.3/24")},
	))
	server, err := p.C.EchoTCP("192.168.0.3:0")
	Check(t, err)
	reaches(t, p.A, "tcp", server.Addr, true)
	Check(t, p.A.DelLink("ens6"))
	reaches(t, p.A, "tcp", server.Addr, false)
	if err := p.C.SetUp("ens6", true); err == nil {
		t.Error("the other end outlived the link")
	}
}
