package lab

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

// New makes the usual lab for a test and closes it with the test. Where the machine cannot, the test is skipped, or
// failed when the environment variable CI is set.
func New(t testing.TB) *Peering {
	t.Helper()
	requireRoot(t)
	Require(t, "nft")
	p, err := OpenPeering(t.Context())
	Check(t, err)
	closeWith(t, p.Lab)
	return p
}

// NewHost makes a lab of a single host without any link, for a test.
func NewHost(t testing.TB) *Host {
	t.Helper()
	requireRoot(t)
	l, err := Open()
	Check(t, err)
	closeWith(t, l)
	h, err := l.Host("host")
	Check(t, err)
	return h
}

// closeWith closes the lab when the test ends, also by a panic. A test that failed gets to see what the programs wrote.
func closeWith(t testing.TB, l *Lab) {
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if !t.Failed() {
			return
		}
		for _, p := range l.processes {
			t.Logf("%s (%v) wrote:\n%s", p, ended(p.err), tail(p.Log(), 50))
		}
	})
}

// Require skips the test when a program is missing, or fails it when the environment variable CI is set.
func Require(t testing.TB, programs ...string) {
	t.Helper()
	for _, name := range programs {
		if _, err := exec.LookPath(name); err != nil {
			without(t, "the program "+name)
		}
	}
}

func requireRoot(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("this test needs the kernel, and -short is set")
	}
	if os.Geteuid() != 0 {
		without(t, "root, for network namespaces")
	}
}

// without ends a test that needs something the machine does not have.
func without(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("this test needs %s", what)
	}
	t.Skipf("this test needs %s", what)
}

// Check fails the test at once when there is an error.
func Check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Eventually waits until cond returns nil and fails the test with cond's last error when the time is up.
func Eventually(t testing.TB, within time.Duration, cond func() error) {
	t.Helper()
	Check(t, Await(t.Context(), within, cond))
}

// Output runs a program in the host and returns its standard output. The test fails if the program does.
func (h *Host) Output(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := h.Run(t.Context(), name, args...)
	Check(t, err)
	return out
}
