// Package systemd tells the service manager how the daemon is doing, in the protocol of sd_notify(3), and holds
// the unit files that make natd a service.
//
// It owns the messages and nothing else: when to send one is for the daemon to decide. Started by hand, without a
// service manager, natd sends into the void and notices nothing.
package systemd

import (
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// maxStatus bounds a status in bytes. The manager drops a datagram of more than 4096 bytes (NOTIFY_BUFFER_MAX in
// systemd's src/basic/constants.h), and READY=1 travels in the same one.
const maxStatus = 1024

// Notifier sends the state of the daemon to the service manager. The nil Notifier is valid and silent.
//
// No method returns an error, for there is nothing that a caller could do about one: a manager that has stopped
// listening must not keep packets from being translated. What goes wrong is logged.
type Notifier struct {
	log *slog.Logger
}

// New returns a Notifier for the manager that the environment names in NOTIFY_SOCKET, if it names one.
func New(log *slog.Logger) *Notifier {
	return &Notifier{log: log}
}

// Ready says that the daemon does its job, after its start or after Reloading, and how well in a line.
func (n *Notifier) Ready(status string) {
	n.send(daemon.SdNotifyReady, statusLine(status))
}

// Reloading says that the daemon takes a new configuration; Ready must follow, whatever comes of it.
func (n *Notifier) Reloading() {
	// The manager compares this time with that of its own request: Type=notify-reload, since systemd 253, does
	// not accept a RELOADING=1 without it. Type=notify ignores it.
	n.send(daemon.SdNotifyReloading, "MONOTONIC_USEC="+microseconds(monotonic()))
}

// Stopping says that the daemon is about to end.
func (n *Notifier) Stopping() {
	n.send(daemon.SdNotifyStopping)
}

// Status sets the line that "systemctl status" shows.
func (n *Notifier) Status(status string) {
	n.send(statusLine(status))
}

// Extend asks for patience: what goes on now, start, reload or stop, ends within d or asks again.
func (n *Notifier) Extend(d time.Duration) {
	n.send("EXTEND_TIMEOUT_USEC=" + microseconds(d))
}

func (n *Notifier) send(assignments ...string) {
	if n == nil {
		return
	}
	if _, err := daemon.SdNotify(false, strings.Join(assignments, "\n")); err != nil {
		err = fmt.Errorf("send %s to the socket in NOTIFY_SOCKET: %w", assignments[0], err)
		n.log.Warn("cannot notify the service manager", "error", err)
	}
}

// statusLine makes one assignment of a text. A line break would begin the next assignment, and the manager ignores
// what is not UTF-8.
func statusLine(status string) string {
	line := strings.Join(strings.Fields(strings.ToValidUTF8(status, "?")), " ")
	if len(line) > maxStatus {
		line = strings.ToValidUTF8(line[:maxStatus-len("…")], "") + "…"
	}
	return "STATUS=" + line
}

// monotonic is the time that systemd goes by: CLOCK_MONOTONIC, which Go's time package keeps to itself.
func monotonic() time.Duration {
	var now unix.Timespec
	// It fails for an unknown clock or a bad pointer only, see clock_gettime(2).
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
	return time.Duration(now.Nano())
}

func microseconds(d time.Duration) string {
	return strconv.FormatInt(d.Microseconds(), 10)
}
