package main

import (
	"fmt"
	"strings"
	"time"

	"natd/internal/control"
	"natd/internal/words"
)

// observed has a line for each way in which natd tells what it relays, as far as it does.
func observed(b *strings.Builder, s *control.Status, now time.Time) {
	if s.Accounting.Exact || s.Accounting.Lost > 0 {
		field(b, "counts", accountingText(&s.Accounting, now))
	}
	if l := s.FlowLog; l != nil {
		field(b, "flow log", flowLogText(l, now))
	}
	if m := s.Metrics; m != nil {
		text := "http://" + m.Listen + "/metrics"
		if m.Error != "" {
			text += ": " + m.Error
		}
		field(b, "metrics", text)
	}
}

func accountingText(a *control.Accounting, now time.Time) string {
	text := "connections that are open"
	if a.Exact {
		text = "every connection"
	}
	if !a.Since.IsZero() {
		text += " of the last " + words.Span(now.Sub(a.Since))
	}
	if a.Lost > 0 {
		text += fmt.Sprintf("; the kernel dropped events %s, so connections may be missing", times(a.Lost))
	}
	return text
}

func flowLogText(l *control.FlowLog, now time.Time) string {
	text := fmt.Sprintf("%s, %s, %s, last %s", l.Path, words.FlowLog(l), words.Count(int(l.Records), "record"), words.Ago(now, l.LastWrite))
	if l.Dropped > 0 {
		text += fmt.Sprintf(", %d not written", l.Dropped)
	}
	return text
}

func times(n uint64) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}
