package config

import (
	"fmt"
	"slices"
	"strings"
)

// table is one table of a document. Its methods read a key, check its type, and record what is wrong with it.
type table struct {
	doc    *document
	kind   string
	index  int // from 1 in an array of tables, 0 for a table that exists once
	values map[string]any
	lines  tableLines
}

// label names the table in an error.
func (t *table) label() string {
	if t.index == 0 {
		return t.kind
	}
	if name, ok := t.values["name"].(string); ok && isName(name) {
		return fmt.Sprintf("%s %q", t.kind, name)
	}
	return fmt.Sprintf("%s %d", t.kind, t.index)
}

// place names the table and its line, for an error in another one.
func (t *table) place() string {
	return fmt.Sprintf("%s (line %d)", t.label(), t.lines.line)
}

// fail records that the value of the key breaks the rule.
func (t *table) fail(key, rule string) {
	line, _ := t.lines.find(key)
	e := &Error{File: t.doc.file, Line: line, Table: t.label(), Key: showKey(key), Rule: rule}
	if v, ok := t.values[key]; ok {
		e.Value = show(v)
	}
	t.doc.errs = append(t.doc.errs, e)
}

// failMissing records that a key is not there; a value of the wrong type is recorded already.
func (t *table) failMissing(key, what string) {
	if _, ok := t.values[key]; !ok {
		t.fail(key, "missing: "+what)
	}
}

// checkKeys refuses the keys that are not known. It goes by the lines, for a map has no order.
func (t *table) checkKeys(known, coming []string) {
	for _, k := range t.lines.keys {
		_, present := t.values[k.key]
		switch {
		case !present || slices.Contains(known, k.key):
			continue
		case slices.Contains(coming, k.key):
			t.failAt(k, later)
		default:
			t.failAt(k, "unknown key"+suggest(k.key, known))
		}
		delete(t.values, k.key) // a key with dots in it comes several times
	}
}

// failAt is fail for a key whose line is at hand: a table may have very many unknown keys.
func (t *table) failAt(k keyLine, rule string) {
	one := table{doc: t.doc, kind: t.kind, index: t.index, values: t.values, lines: tableLines{keys: []keyLine{k}}}
	one.fail(k.key, rule)
}

// text returns the string under the key, and whether there is one.
func (t *table) text(key string) (string, bool) {
	v, ok := t.values[key]
	if !ok {
		return "", false
	}
	s, ok := v.(string)
	if !ok {
		t.fail(key, "must be a string, in quotes")
	}
	return s, ok
}

// flag returns the boolean under the key.
func (t *table) flag(key string, unset bool) bool {
	v, ok := t.values[key]
	if !ok {
		return unset
	}
	b, ok := v.(bool)
	if !ok {
		t.fail(key, "must be true or false, without quotes")
	}
	return b
}

// list returns the strings under the key, and whether there is a list of strings.
func (t *table) list(key, example string) ([]string, bool) {
	v, ok := t.values[key]
	if !ok {
		return nil, false
	}
	list, ok := v.([]any)
	if !ok {
		if s, isText := v.(string); isText {
			example = s
		}
		t.fail(key, fmt.Sprintf("must be a list: write %s = [%s]", key, show(example)))
		return nil, false
	}
	all := make([]string, len(list))
	for i, v := range list {
		if all[i], ok = v.(string); !ok {
			t.fail(key, fmt.Sprintf("must be a list of strings, but item %d is none", i+1))
			return nil, false
		}
	}
	return all, true
}

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
	for _, w := range words {
		if d := distance(strings.ToLower(wrong), w); d < least && 2*d < len(w) {
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
