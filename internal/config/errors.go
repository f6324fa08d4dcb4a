package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Error is one thing that is wrong with a configuration file.
type Error struct {
	File  string
	Line  int    // from 1; 0 when the file as a whole is to blame
	Table string // `relay "web"`, `relay 3` when it has no usable name, `daemon`; "" at the top of the file
	Key   string // "" when the table as a whole is to blame
	Value string // in TOML notation, shortened; "" when the key is missing
	Rule  string // what is wrong, and what would be right

	cause error
}

// Error is one line: FILE:LINE: TABLE: KEY = VALUE: RULE, without the parts that are empty.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
	}
	b.WriteString(": ")
	if e.Table != "" {
		b.WriteString(e.Table + ": ")
	}
	if e.Key != "" {
		b.WriteString(e.Key)
		if e.Value != "" {
			b.WriteString(" = " + e.Value)
		}
		b.WriteString(": ")
	}
	b.WriteString(e.Rule)
	return b.String()
}

// Unwrap returns the cause, if it is an error of the system.
func (e *Error) Unwrap() error { return e.cause }

// Errors is everything that is wrong with a configuration file, in the order of the lines.
type Errors []*Error

// Error is one line for each error.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, one := range e {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the errors one by one.
func (e Errors) Unwrap() []error {
	all := make([]error, len(e))
	for i, one := range e {
		all[i] = one
	}
	return all
}

func (e Errors) sorted() Errors {
	slices.SortStableFunc(e, func(a, b *Error) int { return a.Line - b.Line })
	return e
}

// maxShown is how many characters of a value an error shows.
const maxShown = 60

// show writes a value as TOML would, shortened, and with everything escaped that is not printable: a value must not
// be able to forge a line of the log.
func show(v any) string {
	switch v := v.(type) {
	case string:
		return shorten(strconv.Quote(head(v)), `"`)
	case []any:
		return showList(v)
	case []map[string]any:
		return "[{…}]"
	case map[string]any:
		return "{…}"
	case time.Time:
		return v.Format(time.RFC3339)
	}
	return fmt.Sprint(v)
}

func showList(list []any) string {
	var b strings.Builder
	for i, v := range list {
		if b.Len() > maxShown {
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(show(v))
	}
	return shorten("["+b.String()+"]", "]")
}

// showKey writes a key as TOML would: bare when it can be.
func showKey(key string) string {
	if key == "" || strings.ContainsFunc(key, func(r rune) bool { return r > 0x7f || !isBare(byte(r)) }) {
		return show(key)
	}
	return shorten(head(key), "")
}

// head cuts off what would not be shown anyway, so that quoting a huge value costs nothing.
func head(s string) string {
	const most = (maxShown + 1) * utf8.UTFMax
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "")
}

// shorten cuts s to maxShown characters and closes it again.
func shorten(s, closing string) string {
	if utf8.RuneCountInString(s) <= maxShown {
		return s
	}
	return string([]rune(s)[:maxShown-1]) + "…" + closing
}
