package systemd

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"strings"

	"github.com/coreos/go-systemd/v22/journal"
)

// JournalIdentifier is the SYSLOG_IDENTIFIER of natd's entries: journalctl -t natd.
const JournalIdentifier = "natd"

// InJournal tells whether standard error goes to the journal, see JOURNAL_STREAM in systemd.exec(5).
func InJournal() bool {
	is, err := journal.StderrIsJournalStream()
	return err == nil && is
}

// NewJournal returns a handler that writes to the journal. An entry has the text that a person reads in MESSAGE, its level
// as PRIORITY, and each attribute also as a field of its own: relay=web becomes NATD_RELAY=web, for journalctl NATD_RELAY=web.
// Where there is no journal, entries go to the other handler. A journal that is busy or stuck is not waited for: entries are
// dropped then, and counted in an entry that follows.
func NewJournal(level slog.Leveler, otherwise slog.Handler) slog.Handler {
	return &journalHandler{level: level, otherwise: otherwise, socket: newJournalSocket(journalPath)}
}

// journalHandler is a slog.Handler. Attributes that belong to the logger are kept in the order in which they came.
type journalHandler struct {
	level     slog.Leveler
	otherwise slog.Handler
	prefix    string // of the names of attributes that come next: the groups
	attrs     []slog.Attr
	socket    *journalSocket
}

// Enabled tells whether a level is written at all.
func (h *journalHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= h.level.Level()
}

// WithAttrs returns a handler that adds the attributes to each entry.
func (h *journalHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	next := *h
	next.otherwise = h.otherwise.WithAttrs(attrs)
	next.attrs = flatten(slices.Clip(h.attrs), h.prefix, attrs...)
	return &next
}

// WithGroup returns a handler that puts the name and a dot before the name of attributes that come later.
func (h *journalHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	next := *h
	next.otherwise = h.otherwise.WithGroup(name)
	next.prefix = h.prefix + name + "."
	return &next
}

// Handle writes an entry.
func (h *journalHandler) Handle(ctx context.Context, r slog.Record) error {
	attrs := slices.Clip(h.attrs)
	r.Attrs(func(a slog.Attr) bool {
		attrs = flatten(attrs, h.prefix, a)
		return true
	})
	message, err := line(ctx, r.Message, attrs)
	if err != nil {
		return h.otherwise.Handle(ctx, r) // it has the attributes of the logger, too
	}
	e := newEntry(message, r.Level)
	for _, a := range attrs {
		e.add(fieldName(a.Key), a.Value.String())
	}
	if err := h.socket.send(e); err != nil {
		return h.otherwise.Handle(ctx, r)
	}
	return nil
}

// line is what a person reads: the message and name=value for each attribute, quoted where need be.
func line(ctx context.Context, message string, attrs []slog.Attr) (string, error) {
	if len(attrs) == 0 {
		return message, nil
	}
	var text bytes.Buffer
	// A text handler writes level and message first, and a record without time has none.
	builtIn := 2
	handler := slog.NewTextHandler(&text, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if builtIn--; builtIn >= 0 {
			return slog.Attr{}
		}
		return a
	}})
	var r slog.Record
	r.AddAttrs(attrs...)
	if err := handler.Handle(ctx, r); err != nil {
		return "", err
	}
	return message + " " + strings.TrimSuffix(text.String(), "\n"), nil
}

// flatten appends attributes with the names that their groups give them.
func flatten(to []slog.Attr, prefix string, attrs ...slog.Attr) []slog.Attr {
	for _, a := range attrs {
		value := a.Value.Resolve()
		switch {
		case value.Kind() == slog.KindGroup && a.Key == "":
			to = flatten(to, prefix, value.Group()...)
		case value.Kind() == slog.KindGroup:
			to = flatten(to, prefix+a.Key+".", value.Group()...)
		case !a.Equal(slog.Attr{}):
			to = append(to, slog.Attr{Key: prefix + a.Key, Value: value})
		}
	}
	return to
}
