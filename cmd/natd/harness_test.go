package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"natd/internal/control"
	"natd/internal/lab"
)

// patience is how long a test waits for what should happen at once: a loaded machine may need it.
const patience = 20 * time.Second

// builtPrograms names a directory that has the programs already: a virtual machine has no compiler.
const builtPrograms = "NATD_TEST_PROGRAMS"

// programs builds natd, natctl and the stand-in for the instance metadata service once for all tests, with the race detector.
var programs = sync.OnceValues(func() (string, error) { //nolint:gochecknoglobals // built once, and read-only from then on
	if dir := os.Getenv(builtPrograms); dir != "" {
		return dir, nil
	}
	dir, err := os.MkdirTemp("", "natd-test-bin-")
	if err != nil {
		return "", err
	}
	build := exec.Command("go", "build", "-race", "-o", dir, "natd/cmd/natd", "natd/cmd/natctl", "natd/internal/lab/imds/standin")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the programs: %w\n%s", err, out)
	}
	return dir, nil
})

func TestMain(m *testing.M) {
	// A program with the race detector sleeps for a second before it exits, so that other threads can report. The programs
	// under test are stopped dozens of times.
	_ = os.Setenv("GORACE", "atexit_sleep_ms=20")
	code := m.Run()
	if dir, err := programs(); err == nil && dir != os.Getenv(builtPrograms) {
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

// box is the three-VPC lab with a natd on host B.
type box struct {
	*lab.Peering
	t    testing.TB
	bin  string
	dir  string
	natd *lab.Process

	family family
}

// newBox makes the lab; start starts natd.
func newBox(t testing.TB) *box {
	t.Helper()
	return newBoxOf(t, ipv4)
}

// newBoxOf is newBox for a test in a family: see box.say.
func newBoxOf(t testing.TB, f family) *box {
	t.Helper()
	dir := t.TempDir() // before the lab, so that natd, which writes there, has ended when it is removed
	peering := lab.New(t)
	if f == ipv6 && !peering.B.Addr6.IsValid() {
		t.Skip("this kernel has no IPv6")
	}
	bin, err := programs()
	lab.Check(t, err)
	return &box{Peering: peering, t: t, bin: bin, dir: dir, family: f}
}

func (b *box) configPath() string { return filepath.Join(b.dir, "natd.toml") }
func (b *box) socketPath() string { return filepath.Join(b.dir, "run", "natd.sock") }

// configure writes the configuration as an editor does: whole, under the name at once.
func (b *box) configure(text string) {
	b.t.Helper()
	next := b.configPath() + ".next"
	lab.Check(b.t, os.WriteFile(next, []byte(b.say(fastened(text))), 0o600))
	lab.Check(b.t, os.Rename(next, b.configPath()))
}

// launch starts natd and does not wait.
func (b *box) launch() {
	b.t.Helper()
	p, err := b.B.Start(filepath.Join(b.bin, "natd"),
		"--config", b.configPath(), "--socket", b.socketPath(), "--state", filepath.Join(b.dir, "state"))
	lab.Check(b.t, err)
	b.natd = p
	b.t.Cleanup(func() { b.noRace(p) })
}

// noRace fails the test if the race detector spoke in natd, or natd panicked.
func (b *box) noRace(p *lab.Process) {
	for _, sign := range []string{"DATA RACE", "panic:", "fatal error:"} {
		if strings.Contains(p.Log(), sign) {
			b.t.Errorf("natd wrote %q:\n%s", sign, p.Log())
		}
	}
}

// start configures and starts natd and waits until it is ready.
func (b *box) start(config string) {
	b.t.Helper()
	b.configure(config)
	b.launch()
	b.awaitReady()
}

// awaitReady waits until status says ready.
func (b *box) awaitReady() {
	b.t.Helper()
	b.awaitStatus(func(s *control.Status) error {
		if s.State != control.StateReady {
			return fmt.Errorf("state is %s: %v", s.State, s.Reasons)
		}
		return nil
	})
}

// awaitStatus waits until the status is as cond wants it.
func (b *box) awaitStatus(cond func(*control.Status) error) {
	b.t.Helper()
	err := b.natd.Await(b.t.Context(), patience, func() error {
		s, err := b.tryStatus()
		if err != nil {
			return err
		}
		return cond(s)
	})
	if err != nil {
		b.t.Fatalf("%v\nnatd wrote:\n%s", err, b.natd.Log())
	}
}

// tryStatus asks natd as natctl status --json does, without a process for every question: conditions ask many times.
func (b *box) tryStatus() (*control.Status, error) {
	var s control.Status
	if err := control.Call(b.t.Context(), b.socketPath(), control.OpStatus, nil, &s); err != nil {
		return nil, fmt.Errorf("ask natd for its status: %w", err)
	}
	return &s, nil
}

// status is what natd says of itself now.
func (b *box) status() *control.Status {
	b.t.Helper()
	s, err := b.tryStatus()
	lab.Check(b.t, err)
	return s
}

// natctl runs natctl on host B against this natd.
func (b *box) natctl(args ...string) (stdout, stderr string, code int) {
	cmd := b.B.Command(b.t.Context(), filepath.Join(b.bin, "natctl"), append([]string{"--socket", b.socketPath()}, args...)...)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	return string(out), errs.String(), lab.ExitCode(err)
}

// reload writes the configuration and reloads; it must be accepted.
func (b *box) reload(config string) {
	b.t.Helper()
	b.configure(config)
	if out, errs, code := b.natctl("reload"); code != control.CodeOK {
		b.t.Fatalf("natctl reload exits %d:\n%s%s", code, out, errs)
	}
}

// kill ends natd without warning.
func (b *box) kill() {
	b.t.Helper()
	lab.Check(b.t, b.natd.Kill())
	<-b.natd.Done()
}

// nft runs nft on host B.
func (b *box) nft(script string) {
	b.t.Helper()
	lab.Check(b.t, b.B.Nft(b.t.Context(), b.say(script)))
}

// fetch gets the web page from A through B.
func (b *box) fetch(ctx context.Context) error {
	_, err := b.A.Curl(ctx, b.say("http://10.2.0.100:80/"), "--max-time", "2")
	return err
}

// kernelSince tells whether the kernel is of this release or a later one.
func kernelSince(t testing.TB, sinceMajor, sinceMinor int) bool {
	t.Helper()
	var name unix.Utsname
	lab.Check(t, unix.Uname(&name))
	var major, minor int
	release := unix.ByteSliceToString(name.Release[:])
	if _, err := fmt.Sscanf(release, "%d.%d", &major, &minor); err != nil {
		t.Fatalf("the release of the kernel is %q: %v", release, err)
	}
	return major > sinceMajor || major == sinceMajor && minor >= sinceMinor
}

// protections are the kinds of protection that this kernel has, the best first, see config.example.toml.
func protections(t *testing.T) (kinds []string) {
	t.Helper()
	for _, k := range []struct {
		kind         string
		major, minor int
	}{{"own", 6, 9}, {"guard", 5, 12}, {"off", 0, 0}} {
		if kernelSince(t, k.major, k.minor) {
			kinds = append(kinds, k.kind)
		}
	}
	return kinds
}

// protecting are the kinds with which connections outlive a flush. The test is skipped where the kernel has none.
func protecting(t *testing.T) []string {
	t.Helper()
	kinds := slices.DeleteFunc(protections(t), func(kind string) bool { return kind == "off" })
	if len(kinds) == 0 {
		t.Skip("this kernel cannot protect a table")
	}
	return kinds
}

// yielding are the kinds with which others may still edit and flush the table.
func yielding(t *testing.T) []string {
	t.Helper()
	return slices.DeleteFunc(protections(t), func(kind string) bool { return kind == "own" })
}

// webRelay is the relay of the README, with the table held as protect says.
func webRelay(protect string) string {
	return fmt.Sprintf(`
[daemon]
protect = %q

[[relay]]
name = "web"
listen = "10.2.0.100:80"
from = ["10.1.0.0/16"]
to = ["10.3.0.100:80"]
`, protect)
}
