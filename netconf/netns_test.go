package netconf

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// namespace is a network namespace that a test made.
type namespace struct{ fd int }

// newNamespace moves the test into a fresh network namespace with nothing but a loopback interface that is up. The
// test's thread stays in it and ends with the test, because it is never unlocked; the namespace ends when nobody is
// left in it. Subtests run on other threads, so each has to ask for its own.
func newNamespace(t *testing.T) namespace {
	t.Helper()
	if _, err := exec.LookPath("ip"); err != nil {
		lacking(t, "iproute2 is not installed")
	}
	if _, err := os.Stat("/proc/sys/net/ipv6"); err != nil {
		lacking(t, "IPv6 is off: %v", err)
	}
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		lacking(t, "make a network namespace: %v", err)
	}
	ns := openNamespace(t)
	kernelDefaults(t)
	ip(t, "link set lo up")
	return ns
}

// kernelDefaults undoes what a new namespace takes over from the settings of the machine
// (net.core.devconf_inherit_init_net in Documentation/admin-guide/sysctl/net.rst).
func kernelDefaults(t *testing.T) {
	t.Helper()
	writeSysctl(t, "net/ipv4/ip_forward", "0")
	for _, name := range []string{"all", "default", "lo"} {
		for setting, value := range map[string]string{
			"forwarding": "0", "accept_redirects": "1", "send_redirects": "1", "rp_filter": "0",
		} {
			writeSysctl(t, "net/ipv4/conf/"+name+"/"+setting, value)
		}
		for setting, value := range map[string]string{"disable_ipv6": "0", "forwarding": "0", "accept_ra": "1"} {
			writeSysctl(t, "net/ipv6/conf/"+name+"/"+setting, value)
		}
	}
}

// otherNamespace makes a network namespace beside that of the test.
func otherNamespace(t *testing.T) namespace {
	t.Helper()
	var ns namespace
	err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		ns = openNamespace(t)
		return nil
	})
	if err != nil {
		t.Fatalf("make a second network namespace: %v", err)
	}
	return ns
}

func openNamespace(t *testing.T) namespace {
	t.Helper()
	fd, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Errorf("open the network namespace: %v", err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return namespace{fd: fd}
}

// run calls fn on a thread of the namespace.
func (ns namespace) run(fn func() error) error {
	return onThread(func() error {
		if err := unix.Setns(ns.fd, unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter the network namespace: %w", err)
		}
		return fn()
	})
}

// onThread calls fn on a thread of its own, which ends afterwards.
func onThread(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		done <- fn()
	}()
	return <-done
}

// lacking skips a test that needs what this machine does not have. Continuous integration has it all.
func lacking(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("needed in CI: "+format, args...)
	}
	t.Skipf(format, args...)
}

// ip runs one line of iproute2 in the namespace of the calling thread.
func ip(t *testing.T, line string) string {
	t.Helper()
	out, err := ipLine(line)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func ipLine(line string) (string, error) {
	out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("ip %s: %w: %s", line, err, out)
	}
	return string(out), nil
}

// writeSysctl is a stranger who changes a setting of the calling thread's namespace.
func writeSysctl(t *testing.T, path, value string) {
	t.Helper()
	if err := os.WriteFile("/proc/sys/"+path, []byte(value), 0); err != nil {
		t.Fatal(err)
	}
}

func readSysctl(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile("/proc/sys/" + path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(content))
}

// eventually waits until the condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still not true after 10 s: %s", what)
		}
	}
}

func openHost(t *testing.T) *Host {
	t.Helper()
	h, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}

// TestNamespacesAreApart makes sure that the helpers isolate, since every other test relies on it.
func TestNamespacesAreApart(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t)
	other := otherNamespace(t)
	ip(t, "link add only-here type veth peer name peer")
	if _, err := os.Stat("/proc/sys/net/ipv4/conf/only-here"); err != nil {
		t.Errorf("the thread of the test does not see its own interface: %v", err)
	}
	see := func() error { _, err := os.Stat("/proc/sys/net/ipv4/conf/only-here"); return err }
	if err := ns.run(see); err != nil {
		t.Errorf("another thread in the namespace: %v", err)
	}
	if err := other.run(see); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the other namespace sees the interface too: %v", err)
	}
}
