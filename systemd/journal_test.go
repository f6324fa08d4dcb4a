package systemd

import (
	"bytes"
	"encoding/binary"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"testing/slogtest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// sent is an entry as the journal got it.
type sent map[string]string

// newJournal returns a handler and the journal's end of its socket.
func newJournal(t *testing.T, otherwise slog.Handler) (slog.Handler, *net.UnixConn) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "socket")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &journalHandler{level: slog.LevelInfo, otherwise: otherwise, socket: newJournalSocket(path)}, conn
}

// receive is the next entry.
func receive(t *testing.T, conn *net.UnixConn) sent {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1<<18)
	n, err := conn.Read(buf)
	if err != nil {
		t.Fatalf("no entry arrived: %v", err)
	}
	fields := sent{}
	for rest := buf[:n]; len(rest) > 0; {
		name, after, _ := bytes.Cut(rest, []byte("\n"))
		if key, value, simple := strings.Cut(string(name), "="); simple {
			fields[key], rest = value, after
			continue
		}
		length := binary.LittleEndian.Uint64(after)
		fields[string(name)] = string(after[8 : 8+length])
		rest = after[8+length+1:]
	}
	return fields
}

func TestJournalEntry(t *testing.T) {
	t.Parallel()
	h, conn := newJournal(t, slog.DiscardHandler)
	log := slog.New(h)
	log.Debug("not wanted")
	log.Info("stopping")
	log.Warn("relay is not as configured", "relay", "web", "reason", "ens6 is\nnot there", "took", 2*time.Millisecond)
	log.With("relay", "web").WithGroup("a").Error("failed", slog.Group("b", "c", 1), "d-e", errors.New("x y"))
	log.Info("text", "MESSAGE", 1, "level", 2, "msg", 3, "größe", 4)
	for _, want := range []sent{
		{"MESSAGE": "stopping", "PRIORITY": "6", "SYSLOG_IDENTIFIER": "natd"},
		{
			"MESSAGE":  `relay is not as configured relay=web reason="ens6 is\nnot there" took=2ms`,
			"PRIORITY": "4", "SYSLOG_IDENTIFIER": "natd", "NATD_RELAY": "web", "NATD_REASON": "ens6 is\nnot there", "NATD_TOOK": "2ms",
		},
		{
			"MESSAGE":  `failed relay=web a.b.c=1 a.d-e="x y"`,
			"PRIORITY": "3", "SYSLOG_IDENTIFIER": "natd", "NATD_RELAY": "web", "NATD_A_B_C": "1", "NATD_A_D_E": "x y",
		},
		{
			"MESSAGE":  `text MESSAGE=1 level=2 msg=3 größe=4`,
			"PRIORITY": "6", "SYSLOG_IDENTIFIER": "natd", "NATD_MESSAGE": "1", "NATD_LEVEL": "2", "NATD_MSG": "3", "NATD_GR__E": "4",
		},
	} {
		if diff := cmp.Diff(want, receive(t, conn)); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}
}

// A value as long as a file of errors must still fit, and a long name, too.
func TestJournalLimits(t *testing.T) {
	t.Parallel()
	h, conn := newJournal(t, slog.DiscardHandler)
	slog.New(h).Info(strings.Repeat("ä", 1<<20), strings.Repeat("k", 100), "v")
	got := receive(t, conn)
	if n := len(got["MESSAGE"]); n < longestField || n > longestField+4 || !utf8.ValidString(got["MESSAGE"]) {
		t.Errorf("the message has %d bytes", n)
	}
	if name := "NATD_" + strings.Repeat("K", 59); got[name] != "v" {
		t.Errorf("no field %s", name)
	}
}

// A journal that does not read must not hold up natd. What it did not take is counted.
func TestJournalStuck(t *testing.T) {
	t.Parallel()
	h, conn := newJournal(t, slog.DiscardHandler)
	log, socket := slog.New(h), h.(*journalHandler).socket
	const most = 100_000 // net.unix.max_dgram_qlen is 10 to some hundreds
	written := 0
	for socket.dropped < 3 && written < most {
		log.Info("flood")
		written++
	}
	if socket.dropped != 3 || !socket.stuck {
		t.Fatalf("%d of %d entries were dropped", socket.dropped, written)
	}
	for range written - 3 {
		if got := receive(t, conn)["MESSAGE"]; got != "flood" {
			t.Fatalf("received %q", got)
		}
	}
	log.Info("after")
	if got := receive(t, conn); got["NATD_ENTRIES"] != "3" || got["PRIORITY"] != "4" {
		t.Errorf("received %v, want that 3 entries were dropped", got)
	}
	if got := receive(t, conn)["MESSAGE"]; got != "after" || socket.stuck {
		t.Errorf("received %q", got)
	}
}

// Where there is no journal the other handler writes, all of it.
func TestJournalGone(t *testing.T) {
	t.Parallel()
	var text bytes.Buffer
	h, conn := newJournal(t, slog.NewTextHandler(&text, nil))
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	slog.New(h).With("relay", "web").Info("ready", "status", "fine")
	for _, want := range []string{"msg=ready", "relay=web", "status=fine"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q does not have %s", text.String(), want)
		}
	}
}

// TestJournalHandler holds the handler to the contract of slog.Handler, as far as a journal can show it.
func TestJournalHandler(t *testing.T) {
	t.Parallel()
	var conn *net.UnixConn
	slogtest.Run(t, func(t *testing.T) slog.Handler {
		if strings.Contains(t.Name(), "time") {
			t.Skip("the journal stamps its entries itself")
		}
		var h slog.Handler
		h, conn = newJournal(t, slog.DiscardHandler)
		return h
	}, func(t *testing.T) map[string]any { return nested(receive(t, conn)) })
}

// nested is an entry as slogtest wants to see it: groups as maps, and the attributes by the names that they had.
func nested(e sent) map[string]any {
	message, rest, _ := strings.Cut(e["MESSAGE"], " ")
	m := map[string]any{slog.MessageKey: message, slog.LevelKey: e["PRIORITY"], slog.TimeKey: time.Now()}
	for pair := range strings.FieldsSeq(rest) {
		key, value, _ := strings.Cut(pair, "=")
		at := m
		for group, name, found := strings.Cut(key, "."); found; group, name, found = strings.Cut(key, ".") {
			if _, ok := at[group]; !ok {
				at[group] = map[string]any{}
			}
			at, key = at[group].(map[string]any), name
		}
		at[key] = value
	}
	return m
}
