package main

import (
	"strings"
	"unicode/utf8"
)

// fold breaks the lines of a text where a screen would, so that they can be counted. Width 0 is room for all.
func fold(text string, width int) (lines []string) {
	for line := range strings.Lines(text) {
		rest := strings.TrimSuffix(line, "\n")
		for {
			var head string
			head, rest = cut(rest, width)
			lines = append(lines, head)
			if rest == "" {
				break
			}
		}
	}
	return lines
}

// cut splits a line behind as many characters as a screen is wide. Sequences that colour take no room, and stay with what is before them.
func cut(line string, width int) (head, rest string) {
	if width <= 0 {
		return line, ""
	}
	at := 0
	for room := width; at < len(line); {
		if n := sequence(line[at:]); n > 0 {
			at += n
			continue
		}
		if room == 0 {
			return line[:at], line[at:]
		}
		_, n := utf8.DecodeRuneInString(line[at:])
		at, room = at+n, room-1
	}
	return line, ""
}

// sequence is the length of the colouring at the beginning of s, in bytes; 0 for none.
func sequence(s string) int {
	if !strings.HasPrefix(s, "\x1b[") {
		return 0
	}
	return strings.IndexByte(s, 'm') + 1
}

// spread puts two texts at the ends of a line, the second only if both have room.
func spread(left, right string, width int) string {
	room := width - utf8.RuneCountInString(left) - utf8.RuneCountInString(right)
	if room < len(gap) {
		left, _ = cut(left, width)
		return left
	}
	return left + strings.Repeat(" ", room) + right
}
