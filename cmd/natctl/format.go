package main

import (
	"fmt"
	"strings"
	"unicode"
)

// field writes one line under the headline, its label in front; further lines of the value are aligned with the first.
func field(b *strings.Builder, label, value string) {
	const indent = "            "
	fmt.Fprintf(b, "  %-8s  %s\n", label, strings.ReplaceAll(printable(value), "\n", "\n"+indent))
}

// printable replaces control characters, and those that turn the direction of text. Names of processes and files are chosen by others,
// and must not steer the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) && r != '\n' {
			return '?'
		}
		return r
	}, s)
}
