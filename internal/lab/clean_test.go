package lab

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// helperVar makes TestHelper do what the tests below need another process for.
const helperVar = "LAB_TEST_HELPER"

// detached starts a program that leaves its parent and its process group, like a daemon of the old kind.
const detached = "setsid sh -c 'sleep 1000 & sleep 1001' & exit"

// TestHelper is a test that ends badly on purpose.
func TestHelper(t *testing.T) {
	how := os.Getenv(helperVar)
	if how == "" {
		t.Skip("only for the tests that start it")
	}
	p := New(t)
	_, err := p.B.Start("sleep", "1002")
	Check(t, err)
	_, err = p.C.StartNginx(t.Context(), netip.AddrPortFrom(p.C.Addr, 80))
	Check(t, err)
	Check(t, p.B.Command(t.Context(), "sh", "-c", detached).Run())
	fmt.Fprintf(os.Stdout, "lab %s\n", p.Dir())
	switch how {
	case "panic":
		panic("the test body panics")
	case "panic in Do":
		_ = p.A.Do(func() error { panic("the test body panics") })
	case "hang":
		select {}
	}
}

// startHelper starts this test binary to run TestHelper and returns the directory of its lab.
func startHelper(t *testing.T, how string) (*exec.Cmd, string) {
	t.Helper()
	requireRoot(t)
	Require(t, "nginx", "nft", "setsid")
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestHelper$")
	cmd.Env = append(os.Environ(), helperVar+"="+how)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	Check(t, err)
	Check(t, cmd.Start())
	for s := bufio.NewScanner(out); s.Scan(); {
		if dir, ok := strings.CutPrefix(s.Text(), "lab "); ok {
			return cmd, dir
		}
	}
	t.Fatalf("the helper built no lab: %v: %s", cmd.Wait(), &stderr)
	return nil, ""
}

// marked counts the processes that carry the mark of a lab.
func marked(id string) int {
	files, _ := filepath.Glob("/proc/[0-9]*/environ") // the pattern is good
	n := 0
	for _, f := range files {
		env, _ := os.ReadFile(f) // a process that is gone has none
		if bytes.Contains(env, []byte(markerVar+"="+id)) {
			n++
		}
	}
	return n
}

func noneMarked(id string) error {
	if n := marked(id); n > 0 {
		return fmt.Errorf("%d processes of %s are left", n, id)
	}
	return nil
}

func gone(path string) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is left (%w)", path, ended(err))
	}
	return nil
}

func TestNothingIsLeftAfterPanic(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"panic", "panic in Do"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			cmd, dir := startHelper(t, how)
			if err := cmd.Wait(); ExitCode(err) != 2 {
				t.Errorf("the helper ended with %v, want a panic", err)
			}
			Check(t, gone(dir))
			Check(t, noneMarked(filepath.Base(dir)))
		})
	}
}

// TestReapAfterKill is the worst case: the kernel ends what the owner started, Reap the rest.
func TestReapAfterKill(t *testing.T) {
	t.Parallel()
	cmd, dir := startHelper(t, "hang")
	id := filepath.Base(dir)
	Eventually(t, patience, func() error {
		if n := marked(id); n != 5 { // sleep, nginx, and three detached
			return fmt.Errorf("%d processes in the helper's lab, want 5", n)
		}
		return nil
	})
	Check(t, Reap())
	if n := marked(id); n != 5 {
		t.Fatalf("Reap left %d processes of a living lab, want all 5", n)
	}
	Check(t, cmd.Process.Kill())
	_ = cmd.Wait() // "signal: killed"
	Eventually(t, patience, func() error {
		Check(t, Reap())
		return errors.Join(gone(dir), noneMarked(id))
	})
}

// TestKernelEndsPrograms shows that programs which do not detach themselves need no Reap.
func TestKernelEndsPrograms(t *testing.T) {
	t.Parallel()
	h := NewHost(t)
	p, err := h.Start("sleep", "1003")
	Check(t, err)
	close(h.ns.quit)
	h.ns.gone.Wait()
	Eventually(t, patience, func() error {
		select {
		case <-p.Done():
			return nil
		default:
			return errors.New("sleep outlived the thread that started it")
		}
	})
	h.ns.quit = make(chan struct{}) // for Close
}

// TestCloseLeavesNothing watches a host from another lab: the far end of a link disappears with the namespace.
func TestCloseLeavesNothing(t *testing.T) {
	t.Parallel()
	Require(t, "nginx", "tcpdump", "setsid")
	witness := NewHost(t)
	p := New(t)
	for _, h := range []*Host{p.A, p.B, p.C, p.R} {
		Check(t, Connect(End{Host: witness, Name: "to-" + h.Name}, End{Host: h, Name: "witness"}))
	}
	_, err := p.C.StartNginx(t.Context(), netip.AddrPortFrom(p.C.Addr, 80))
	Check(t, err)
	_, err = p.B.Capture(t.Context(), Device, "tcp")
	Check(t, err)
	Check(t, p.B.Command(t.Context(), "sh", "-c", detached).Run())
	server, err := p.B.EchoTCP("10.2.0.100:7")
	Check(t, err)
	c, err := p.A.Dial(t.Context(), "tcp", server.Addr.String())
	Check(t, err)
	Check(t, exchange(c, patience))
	Check(t, c.Close())

	Check(t, p.Close())
	Check(t, p.Close())
	Check(t, gone(p.Dir()))
	Check(t, noneMarked(p.id()))
	Eventually(t, patience, func() error {
		if out := witness.Output(t, "ls", "/sys/class/net"); out != "lo\n" {
			return fmt.Errorf("namespaces are left: the witness still has %q", out)
		}
		return nil
	})
	if _, err := p.Host("late"); err == nil {
		t.Error("a closed lab took another host")
	}
}

func TestLockDirIsExclusive(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lock, err := lockDir(dir)
	Check(t, err)
	if _, err := lockDir(dir); err == nil {
		t.Error("locked a second time")
	}
	Check(t, lock.Close())
	lock, err = lockDir(dir)
	Check(t, err)
	Check(t, lock.Close())
	link := filepath.Join(t.TempDir(), "link")
	Check(t, os.Symlink(dir, link))
	if _, err := lockDir(link); err == nil {
		t.Error("followed a symbolic link")
	}
	if _, err := lockDir(filepath.Join(dir, "absent")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want %v", err, fs.ErrNotExist)
	}
}
