package systemd

import (
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// WatchdogInterval returns how often Alive should be called: at half the time after which the manager loses
// patience, as sd_watchdog_enabled(3) advises. It is 0 when nobody watches this process.
func (n *Notifier) WatchdogInterval() time.Duration {
	if n == nil {
		return 0
	}
	patience, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		n.log.Warn("the watchdog is off: cannot read WATCHDOG_USEC and WATCHDOG_PID", "error", err)
		return 0
	}
	return patience / 2
}

// Alive keeps the watchdog from killing the daemon. Only the goroutine whose hanging would matter may call it.
func (n *Notifier) Alive() {
	n.send(daemon.SdNotifyWatchdog)
}
