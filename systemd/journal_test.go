package systemd

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/slogtest"
	"time"

	"github.com/coreos/go-systemd/v22/journal"
	"github.com/google/go-cmp/cmp"
)

// entry is what a handler sent.
type entry struct {
	Message  string
	Priority journal.Priority
	Fields   map[string]string
}

// newJournal returns a logger and where its entries go.
func newJournal(level slog.Level, otherwise slog.Handler) (*slog.Logger, *[]entry) {
	h := NewJournal(level, otherwise).(*journalHandler)
	entries := new([]entry)
	h.send = func(message string, p journal.Priority, fields map[string]string) error {
		*entries = append(*entries, entry{message, p, fields})
		return nil
	}
	return slog.New(h), entries
}

func TestJournalEntry(t *testing.T) {
	t.Parallel()
	log, entries := newJournal(slog.LevelInfo, slog.DiscardHandler)
	log.Debug("not wanted")
	log.Info("stopping")
	log.Warn("relay is not as configured", "relay", "web", "reason", "ens6 is\nnot there", "took", 2*time.Millisecond)
	log.With("relay", "web").WithGroup("a").Error("failed", slog.Group("b", "c", 1), "d-e", errors.New("x y"))
	want := []entry{
		{"stopping", journal.PriInfo, map[string]string{"SYSLOG_IDENTIFIER": "natd"}},
		{`relay is not as configured relay=web reason="ens6 is\nnot there" took=2ms`, journal.PriWarning, map[string]string{
			"SYSLOG_IDENTIFIER": "natd", "NATD_RELAY": "web", "NATD_REASON": "ens6 is\nnot there", "NATD_TOOK": "2ms",
		}},
		{`failed relay=web a.b.c=1 a.d-e="x y"`, journal.PriErr, map[string]string{
			"SYSLOG_IDENTIFIER": "natd", "NATD_RELAY": "web", "NATD_A_B_C": "1", "NATD_A_D_E": "x y",
		}},
	}
	if diff := cmp.Diff(want, *entries); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// A name that the journal does not know, or an attribute with the name of something that a handler writes itself, must neither
// be lost nor replace it.
func TestJournalNames(t *testing.T) {
	t.Parallel()
	log, entries := newJournal(slog.LevelDebug, slog.DiscardHandler)
	log.Debug("text", "MESSAGE", 1, "level", 2, "msg", 3, "größe", 4)
	got := (*entries)[0]
	if got.Priority != journal.PriDebug || !strings.HasPrefix(got.Message, "text ") {
		t.Errorf("sent %+v", got)
	}
	for field, value := range map[string]string{"NATD_MESSAGE": "1", "NATD_LEVEL": "2", "NATD_MSG": "3", "NATD_GR__E": "4"} {
		if got.Fields[field] != value {
			t.Errorf("field %s is %q, not %q, in %v", field, got.Fields[field], value, got.Fields)
		}
	}
}

// What the journal does not take is written by the other handler, whole.
func TestJournalGone(t *testing.T) {
	t.Parallel()
	var text bytes.Buffer
	h := NewJournal(slog.LevelInfo, slog.NewTextHandler(&text, nil)).(*journalHandler)
	h.send = func(string, journal.Priority, map[string]string) error { return errors.New("no socket") }
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
	var h *journalHandler
	var last entry
	slogtest.Run(t, func(t *testing.T) slog.Handler {
		if strings.Contains(t.Name(), "time") {
			t.Skip("the journal stamps its entries itself")
		}
		h = NewJournal(slog.LevelInfo, slog.DiscardHandler).(*journalHandler)
		h.send = func(message string, p journal.Priority, fields map[string]string) error {
			last = entry{message, p, fields}
			return nil
		}
		return h
	}, func(*testing.T) map[string]any { return nested(last) })
}

// nested is an entry as slogtest wants to see it: groups as maps, and the attributes by the names that they had.
func nested(e entry) map[string]any {
	message, rest, _ := strings.Cut(e.Message, " ")
	m := map[string]any{slog.MessageKey: message, slog.LevelKey: e.Priority, slog.TimeKey: time.Now()}
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
