package main

import (
	"fmt"
	"strings"
	"time"
	"unicode"
)

// field writes one line under the headline, its label in front; further lines of the value are aligned with the first.
func field(b *strings.Builder, label, value string) {
	const indent = "            "
	fmt.Fprintf(b, "  %-8s  %s\n", label, strings.ReplaceAll(printable(value), "\n", "\n"+indent))
}

// printable replaces control characters. Names of processes and files are chosen by others, and must not
// steer the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' {
			return '?'
		}
		return r
	}, s)
}

// short is a list in the width of about one item: the first, and how many more.
func short(items []string) string {
	switch len(items) {
	case 0:
		return ""
	case 1:
		return items[0]
	}
	return fmt.Sprintf("%s +%d", items[0], len(items)-1)
}

// size is a number of bytes in IEC units, as in "1.5 KiB".
func size(bytes uint64) string {
	const units = "KMGTPE"
	if bytes < 1024 {
		return fmt.Sprintf("%d B", bytes)
	}
	// From 1023.95 on, one decimal would show 1024.0 of the smaller unit.
	value, unit := float64(bytes)/1024, 0
	for value >= 1023.95 && unit < len(units)-1 {
		value, unit = value/1024, unit+1
	}
	return fmt.Sprintf("%.1f %ciB", value, units[unit])
}

// span is a duration in its largest unit.
func span(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", max(0, d/time.Second))
	case d < time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", d/time.Hour)
	}
	return fmt.Sprintf("%d d", d/(24*time.Hour))
}

// ago is how long before now t was. The zero time was never.
func ago(now, t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return span(now.Sub(t)) + " ago"
}

// count is a number with its noun.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
