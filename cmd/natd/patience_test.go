package main

import (
	"fmt"
	"testing"
	"time"

	"natd/internal/lab"
)

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
