package systemd

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestWatchdogInterval(t *testing.T) {
	self := strconv.Itoa(os.Getpid())
	other := strconv.Itoa(os.Getppid())
	tests := []struct {
		name, usec, pid string
		want            time.Duration
		logs            string
	}{
		{"off", "", "", 0, ""},
		{"off, the number left over", "", self, 0, ""},
		{"on for whom it may concern", "30000000", "", 15 * time.Second, ""},
		{"on for us", "30000000", self, 15 * time.Second, ""},
		{"on for another process", "30000000", other, 0, ""},
		{"under a second", "500000", self, 250 * time.Millisecond, ""},
		{"not a number", "30s", self, 0, "WATCHDOG_USEC"},
		{"negative", "-1", self, 0, "WATCHDOG_USEC"},
		{"for nobody we know", "30000000", "init", 0, "WATCHDOG_PID"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("WATCHDOG_USEC", test.usec)
			t.Setenv("WATCHDOG_PID", test.pid)
			var logged bytes.Buffer
			if got := New(logTo(&logged)).WatchdogInterval(); got != test.want {
				t.Errorf("every %v, want %v", got, test.want)
			}
			if got := logged.String(); (got != "") != (test.logs != "") || !strings.Contains(got, test.logs) {
				t.Errorf("logged %q, want something about %q", got, test.logs)
			}
		})
	}
}

func TestNilNotifierHasNoWatchdog(t *testing.T) {
	t.Setenv("WATCHDOG_USEC", "30000000")
	t.Setenv("WATCHDOG_PID", "")
	var n *Notifier
	if got := n.WatchdogInterval(); got != 0 {
		t.Errorf("every %v, want 0", got)
	}
}
