package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"natd/internal/control"
	"natd/internal/lab"
)

// reloads is how often the configuration changes under load.
const reloads = 100

// TestReloadUnderLoad alternates between two configurations while connections are made at full rate. The relay that stays
// moves between maps and gets another name, others come and go around it: no connection may notice.
func TestReloadUnderLoad(t *testing.T) {
	t.Parallel()
	b := newEchoBox(t, "auto")
	talk := b.converse()
	load := b.A.Load(b.t, "10.2.0.100:7000")
	began := time.Now()
	for i := range reloads {
		b.reload(hourly("auto") + alternative(i))
	}
	t.Logf("%d reloads in %v", reloads, time.Since(began).Round(time.Millisecond))
	made, failed := load.End()
	t.Logf("%d connections", made)
	for _, err := range failed {
		t.Errorf("a connection failed: %v", err)
	}
	if made < reloads {
		t.Errorf("%d connections are too few to tell", made)
	}
	talk.End(t)
	b.awaitReady()
	if listed := b.table("inet natd"); !strings.Contains(listed, `comment "other-1-7"`) || strings.Contains(listed, "other-0") {
		t.Errorf("the last configuration is not in the kernel:\n%s", listed)
	}
}

// alternative is the i-th configuration of the test under load. Each differs from the one before in everything but what the
// client of the relay that stays can notice.
func alternative(i int) string {
	var text strings.Builder
	odd := i % 2
	from := []string{`["10.1.0.0/16"]`, `["10.1.0.100/32", "10.1.0.0/24", "10.9.0.0/16"]`}[odd]
	fmt.Fprintf(&text, "[[relay]] # the %d-th\nname = \"stays-%d\"\nlisten = \"10.2.0.100:7000\"\nfrom = %s\nto = [\"10.3.0.100:7000\"]\n", i, odd, from)
	for n := range 8 {
		fmt.Fprintf(&text, "[[relay]]\nname = \"other-%d-%d\"\nlisten = \"10.2.0.100:%d\"\nto = [\"10.3.0.%d:%d\"]\nlog = %v\n",
			odd, n, 8000+n+4*odd, 100+odd, 8000+n, odd == 0)
	}
	return text.String()
}

// TestInvalidReload wants a configuration with an error to change nothing, and to be blamed, however it is loaded.
func TestInvalidReload(t *testing.T) {
	t.Parallel()
	b := newEchoBox(t, "auto")
	whole, sha := b.handles(), b.status().Config.SHA256
	b.configure("[[relay]]\nname = \"echo\"\nlisten = \"10.2.0.100:70000\"\n")
	_, errs, code := b.natctl("reload")
	if code != control.CodeConfig || !strings.Contains(errs, "70000") {
		t.Errorf("natctl reload exits %d and says %q, want %d and the value 70000", code, errs, control.CodeConfig)
	}
	b.wantUntouched(t, whole, sha, "70000")

	b.configure("[[relay]\nname = ")
	lab.Check(t, b.natd.Signal(syscall.SIGHUP))
	lab.Check(t, b.natd.AwaitLog(t.Context(), patience, "was not reloaded"))
	b.wantUntouched(t, whole, sha, "not valid TOML")

	b.reload(hourly("auto") + fmt.Sprintf(portRelay, "10.3.0.100:7000"))
	if s := b.status(); s.Config.Error != "" {
		t.Errorf("after a valid reload the error is %q, want none", s.Config.Error)
	}
}

// wantUntouched wants the old configuration to be at work, and the status to have the error of the new one.
func (b *box) wantUntouched(t *testing.T, whole, sha, blamed string) {
	t.Helper()
	if now := b.handles(); now != whole {
		t.Errorf("the table was\n%s\nand became\n%s", whole, now)
	}
	c := b.status().Config
	if !strings.Contains(c.Error, blamed) || c.SHA256 != sha {
		t.Errorf("status says error %q and sha256 %s, want one about %s and %s", c.Error, c.SHA256, blamed, sha)
	}
	b.converse().End(t)
}

// TestReloadStorm sends a thousand signals. They may become fewer reloads, but the last file counts.
func TestReloadStorm(t *testing.T) {
	t.Parallel()
	b := newEchoBox(t, "auto")
	talk := b.converse()
	began := time.Now()
	for i := range 1000 {
		if i%100 == 0 {
			b.configure(hourly("auto") + alternative(i/100))
		}
		lab.Check(t, b.natd.Signal(syscall.SIGHUP))
	}
	t.Logf("1000 signals in %v", time.Since(began).Round(time.Millisecond))
	lab.Eventually(t, patience, func() error {
		if listed := b.table("inet natd"); !strings.Contains(listed, `comment "other-1-7"`) || strings.Contains(listed, "other-0") {
			return fmt.Errorf("the last configuration is not in the kernel:\n%s", listed)
		}
		return nil
	})
	b.awaitReady()
	t.Logf("%d reloads", strings.Count(b.natd.Log(), "configuration reloaded"))
	talk.End(t)
}

// TestKillDuringReload kills natd at random moments of a reload that takes a relay away. Whatever it had done by then, the
// connections of that relay end, at the latest with the next natd, and those of the other one do not.
func TestKillDuringReload(t *testing.T) {
	t.Parallel()
	b := newEchoBox(t, "auto")
	stays := b.converse()
	for range 6 {
		b.reload(portRelayTo("10.3.0.100:7000", otherRelay))
		ends := b.converseFrom("10.1.0.100", "10.2.0.100:7001")
		b.configure(portRelayTo("10.3.0.100:7000"))
		lab.Check(t, b.natd.Signal(syscall.SIGHUP))
		time.Sleep(rand.N(20 * time.Millisecond))
		b.kill()
		b.launch()
		b.awaitReady()
		ends.Breaks(t)
		stays.GoesOn(t)
	}
	stays.End(t)
}
