package systemd

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/journal"
	"golang.org/x/sys/unix"
)

// journalPath is where the journal listens, see https://systemd.io/JOURNAL_NATIVE_PROTOCOL/.
const journalPath = "/run/systemd/journal/socket"

// journalPatience is how long natd waits for a journal that is busy. Every program of the host shares its queue, and what
// keeps the kernel in line must not hang on another's flood, or on a journal that is stuck.
const journalPatience = 50 * time.Millisecond

// longestField bounds a value in bytes. A datagram larger than the socket's buffer (net.core.wmem_default, 208 KiB) is refused.
const longestField = 32 << 10

// journalSocket sends entries to the journal without ever waiting long. go-systemd's journal.Send waits for as long as it takes.
type journalSocket struct {
	to *unix.SockaddrUnix

	mu      sync.Mutex
	fd      int
	stuck   bool // the last entry found the queue full: the next ones do not wait at all
	dropped int
}

func newJournalSocket(path string) *journalSocket {
	s := &journalSocket{to: &unix.SockaddrUnix{Name: path}}
	var err error
	if s.fd, err = unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
		s.fd = -1 // every entry goes to the other handler
		return s
	}
	patience := unix.NsecToTimeval(journalPatience.Nanoseconds())
	_ = unix.SetsockoptTimeval(s.fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &patience) // fails for a bad pointer only
	return s
}

// send sends an entry, or drops it when the journal is busy. An error means that there is no journal.
func (s *journalSocket) send(e *entry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dropped > 0 {
		lost := newEntry(fmt.Sprintf("the journal was busy: log entries were dropped entries=%d", s.dropped), slog.LevelWarn)
		lost.add("NATD_ENTRIES", fmt.Sprint(s.dropped))
		if err := s.write(lost); err != nil {
			return s.drop(err)
		}
		s.dropped = 0
	}
	if err := s.write(e); err != nil {
		return s.drop(err)
	}
	return nil
}

// drop counts an entry that a busy journal did not take.
func (s *journalSocket) drop(err error) error {
	if !errors.Is(err, unix.EAGAIN) {
		return err
	}
	s.dropped++
	return nil
}

func (s *journalSocket) write(e *entry) error {
	flags := unix.MSG_NOSIGNAL
	if s.stuck {
		flags |= unix.MSG_DONTWAIT
	}
	err := unix.Sendto(s.fd, e.Bytes(), flags, s.to)
	for errors.Is(err, unix.EINTR) {
		err = unix.Sendto(s.fd, e.Bytes(), flags, s.to)
	}
	s.stuck = errors.Is(err, unix.EAGAIN)
	return err
}

// entry is a journal entry as it goes over the socket.
type entry struct{ bytes.Buffer }

func newEntry(message string, level slog.Level) *entry {
	e := new(entry)
	e.add("MESSAGE", message)
	e.add("PRIORITY", fmt.Sprint(int(priority(level))))
	e.add("SYSLOG_IDENTIFIER", JournalIdentifier)
	return e
}

// add adds a field. A value with a line break has its length before it, see the protocol.
func (e *entry) add(name, value string) {
	if len(value) > longestField {
		value = strings.ToValidUTF8(value[:longestField], "") + "…"
	}
	e.WriteString(name)
	if !strings.Contains(value, "\n") {
		e.WriteString("=" + value + "\n")
		return
	}
	e.WriteByte('\n')
	e.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(value))))
	e.WriteString(value + "\n")
}

// fieldName is the journal's name of an attribute: capitals, digits and underscores, at most 64, see
// systemd.journal-fields(7).
func fieldName(key string) string {
	const longest = 64
	name := "NATD_" + strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z':
			return r - 'a' + 'A'
		case 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
			return r
		default:
			return '_'
		}
	}, key)
	return name[:min(len(name), longest)]
}

// priority is the level in syslog's terms.
func priority(level slog.Level) journal.Priority {
	switch {
	case level >= slog.LevelError:
		return journal.PriErr
	case level >= slog.LevelWarn:
		return journal.PriWarning
	case level >= slog.LevelInfo:
		return journal.PriInfo
	default:
		return journal.PriDebug
	}
}
