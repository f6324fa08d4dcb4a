package config

import (
	"fmt"
	"strings"
)

// choice is a word of the file and what it stands for.
type choice[T any] struct {
	word  string
	means T
}

// choose returns what the word under the key stands for.
func choose[T any](t *table, key string, unset T, choices ...choice[T]) T {
	s, ok := t.text(key)
	if !ok {
		return unset
	}
	var words []string
	for _, c := range choices {
		if c.word == s {
			return c.means
		}
		words = append(words, c.word)
	}
	t.fail(key, "must be "+alternatives(words)+suggest(s, words))
	return unset
}

// alternatives is "a", "b" or "c".
func alternatives(words []string) string {
	var b strings.Builder
	for i, w := range words {
		switch {
		case i == 0:
		case i == len(words)-1:
			b.WriteString(" or ")
		default:
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%q", w)
	}
	return b.String()
}

// maxTypos is how many letters may differ for a word to be taken for another one.
const maxTypos = 2

// suggest returns "; did you mean ...?" with the nearest of the words, or "" when none is near.
func suggest(wrong string, words []string) string {
	best, least := "", maxTypos+1
	wrong = strings.ToLower(wrong)
	for _, w := range words {
		d := distance(wrong, w)
		if len(wrong) > maxTypos && strings.HasPrefix(w, wrong) {
			d = min(d, maxTypos) // a beginning is as good as a word with typos
		}
		if d < least && 2*d < len(w) {
			best, least = w, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

// distance counts the letters to change, add, drop or swap with the next to get from a to b (optimal string alignment).
// It gives up on words that differ much in length.
func distance(a, b string) int {
	if len(a)-len(b) > maxTypos || len(b)-len(a) > maxTypos {
		return maxTypos + 1
	}
	d := make([][]int, len(a)+1) // d[i][j] is the distance of a[:i] and b[:j]
	for i := range d {
		d[i] = make([]int, len(b)+1)
		for j := range d[i] {
			if i == 0 || j == 0 {
				d[i][j] = i + j
				continue
			}
			change := d[i-1][j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			d[i][j] = min(change, d[i-1][j]+1, d[i][j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d[i][j] = min(d[i][j], d[i-2][j-2]+1)
			}
		}
	}
	return d[len(a)][len(b)]
}
