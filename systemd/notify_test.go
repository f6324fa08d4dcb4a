package systemd

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// notifyBufferMax is where systemd cuts a message off, and then drops it.
const notifyBufferMax = 4096

// manager is the receiving end of NOTIFY_SOCKET.
type manager struct {
	t    *testing.T
	conn *net.UnixConn
}

// newManager makes the environment name a new socket. The environment is the process's: no test here is parallel.
func newManager(t *testing.T, path string) *manager {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatalf("listen on %q: %v", path, err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return &manager{t: t, conn: conn}
}

// next is the next message as it came.
func (m *manager) next() string {
	m.t.Helper()
	if err := m.conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		m.t.Fatal(err)
	}
	buf := make([]byte, 2*notifyBufferMax)
	n, err := m.conn.Read(buf)
	if err != nil {
		m.t.Fatalf("no message arrived: %v", err)
	}
	return string(buf[:n])
}

func logTo(buf *bytes.Buffer) *slog.Logger {
	return slog.New(slog.NewTextHandler(buf, nil))
}

func TestMessages(t *testing.T) {
	var logged bytes.Buffer
	n := New(logTo(&logged))
	m := newManager(t, filepath.Join(t.TempDir(), "notify"))

	tests := []struct {
		name string
		send func()
		want string
	}{
		{"ready", func() { n.Ready("3 relays") }, "READY=1\nSTATUS=3 relays"},
		{"ready without a status clears the old one", func() { n.Ready("") }, "READY=1\nSTATUS="},
		{"stopping", n.Stopping, "STOPPING=1"},
		{"alive", n.Alive, "WATCHDOG=1"},
		{"extend", func() { n.Extend(90 * time.Second) }, "EXTEND_TIMEOUT_USEC=90000000"},
		{"extend by less than a second", func() { n.Extend(1500 * time.Microsecond) }, "EXTEND_TIMEOUT_USEC=1500"},
		{"status", func() { n.Status("ready: 2 of 3 relays") }, "STATUS=ready: 2 of 3 relays"},
		{"status of many lines", func() { n.Status("a\nREADY=1\r\n\tb \v c\n") }, "STATUS=a READY=1 b c"},
		{"status that is not UTF-8", func() { n.Status("relay \xff\xfe down") }, "STATUS=relay ? down"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.send()
			if got := m.next(); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
	if logged.Len() > 0 {
		t.Errorf("logged although all went well:\n%s", &logged)
	}
}

func TestReloadingCarriesTheTimeOfTheManager(t *testing.T) {
	m := newManager(t, filepath.Join(t.TempDir(), "notify"))
	before := clock(t)
	New(slog.New(slog.DiscardHandler)).Reloading()
	after := clock(t)

	first, second, _ := strings.Cut(m.next(), "\n")
	if first != "RELOADING=1" {
		t.Errorf("the message begins with %q, want RELOADING=1", first)
	}
	digits, ok := strings.CutPrefix(second, "MONOTONIC_USEC=")
	sent, err := strconv.ParseInt(digits, 10, 64)
	if !ok || err != nil {
		t.Fatalf("the second line is %q (%v), want MONOTONIC_USEC and a number", second, err)
	}
	if sent < before || sent > after {
		t.Errorf("MONOTONIC_USEC=%d, want one from %d to %d", sent, before, after)
	}
}

// clock reads CLOCK_MONOTONIC in microseconds.
func clock(t *testing.T) int64 {
	t.Helper()
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		t.Fatal(err)
	}
	return now.Nano() / 1000
}

func TestLongStatusStaysWholeAndFits(t *testing.T) {
	m := newManager(t, filepath.Join(t.TempDir(), "notify"))
	n := New(slog.New(slog.DiscardHandler))
	for _, text := range []string{
		strings.Repeat("x", 10*notifyBufferMax),
		strings.Repeat("ä", 10*notifyBufferMax),
		"x" + strings.Repeat("ä", 10*notifyBufferMax), // cut in the middle of a letter
	} {
		n.Ready(text)
		got := m.next()
		if len(got) > notifyBufferMax {
			t.Errorf("%d bytes: systemd drops more than %d", len(got), notifyBufferMax)
		}
		if !utf8.ValidString(got) {
			t.Errorf("not UTF-8, systemd ignores it: ends in %q", got[len(got)-8:])
		}
		if !strings.HasPrefix(got, "READY=1\nSTATUS="+text[:100]) || !strings.HasSuffix(got, "…") {
			t.Errorf("got %q … %q, want the beginning of the text and an ellipsis", got[:32], got[len(got)-8:])
		}
	}
}

func TestAbstractSocket(t *testing.T) {
	m := newManager(t, fmt.Sprintf("@natd-test-%d", os.Getpid()))
	New(slog.New(slog.DiscardHandler)).Alive()
	if got := m.next(); got != "WATCHDOG=1" {
		t.Errorf("got %q, want WATCHDOG=1", got)
	}
}

// sendAll calls everything that sends.
func sendAll(n *Notifier) {
	n.Ready("x")
	n.Reloading()
	n.Stopping()
	n.Status("x")
	n.Alive()
	n.Extend(time.Second)
}

func TestSilence(t *testing.T) {
	t.Run("nil notifier", func(t *testing.T) {
		m := newManager(t, filepath.Join(t.TempDir(), "notify"))
		sendAll(nil)
		New(slog.New(slog.DiscardHandler)).Alive()
		if got := m.next(); got != "WATCHDOG=1" {
			t.Errorf("the nil Notifier sent %q", got)
		}
	})
	t.Run("no service manager", func(t *testing.T) {
		t.Setenv("NOTIFY_SOCKET", "")
		var logged bytes.Buffer
		sendAll(New(logTo(&logged)))
		if logged.Len() > 0 {
			t.Errorf("logged although nobody asked for notifications:\n%s", &logged)
		}
	})
}

func TestDeafManagerIsLogged(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "nobody"))
	var logged bytes.Buffer
	New(logTo(&logged)).Ready("x")
	for _, want := range []string{"level=WARN", "READY=1", "NOTIFY_SOCKET", "no such file"} {
		if !strings.Contains(logged.String(), want) {
			t.Errorf("the log has no %q:\n%s", want, &logged)
		}
	}
}
