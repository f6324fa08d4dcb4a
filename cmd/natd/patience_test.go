package main

import (
	"fmt"
	"testing"
	"time"

	"natd/internal/control"
	"natd/internal/lab"
)

// last is the newest assignment with the prefix.
func (m *manager) last(prefix string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if all := m.with(prefix); len(all) > 0 {
		return all[len(all)-1]
	}
	return ""
}

// TestStartAsksForPatience: the service manager kills what has not said READY=1 within the time that it was last asked
// for. A natd that waits for its network goes on asking, although nothing happens that would make it look again.
func TestStartAsksForPatience(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	lab.Check(t, b.B.SetUp(lab.Device, false))
	systemd, env := newManager(b)
	b.configure("[daemon]\nresync = \"1h\"\n" + echoRelay())
	b.launchWith(env, fmt.Sprintf("WATCHDOG_USEC=%d", (200*time.Millisecond).Microseconds()))
	b.awaitDegraded("relay echo")
	before := systemd.count("EXTEND_TIMEOUT_USEC=")
	lab.Eventually(t, patience, func() error {
		if n := systemd.count("EXTEND_TIMEOUT_USEC=") - before; n < 3 {
			return fmt.Errorf("natd asked for more patience %d times, want again and again", n)
		}
		return nil
	})
	if n := systemd.count("READY=1"); n != 0 {
		t.Errorf("READY=1 was sent %d times while nothing is relayed", n)
	}
}

// TestStatusLine: "systemctl status" says that what runs is not what the file says, until it is, and that nothing runs.
func TestStatusLine(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	systemd, env := newManager(b)
	b.configure(echoRelay())
	b.launchWith(env)
	systemd.await(t, "READY=1", "")
	const fine = "STATUS=1 of 1 relays in the kernel"
	last := func(want string) {
		t.Helper()
		lab.Eventually(t, patience, func() error {
			if got := systemd.last("STATUS="); got != want {
				return fmt.Errorf("the status line is %q, want %q", got, want)
			}
			return nil
		})
	}
	last(fine)
	b.configure(echoRelay("bogus = 1", "wrong = 2"))
	if _, _, code := b.natctl("reload"); code != control.CodeConfig {
		t.Errorf("natctl reload exits %d, want %d", code, control.CodeConfig)
	}
	last(fine + "; the last reload was refused: " + b.configPath() + ":5: relay \"echo\": bogus = 1: unknown key")
	b.reload(echoRelay())
	last(fine)
	if out, errs, code := b.natctl("flush"); code != control.CodeOK {
		t.Fatalf("natctl flush exits %d:\n%s%s", code, out, errs)
	}
	last("STATUS=flushed: natctl reload programs the relays again")
	b.reload(echoRelay())
	last(fine)
}
