package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// table is one table of a document. Its methods read a key, check its type, and record what is wrong with it.
type table struct {
	doc    *document
	kind   string
	index  int // from 1 in an array of tables, 0 for a table that exists once
	values map[string]any
	lines  tableLines

	owner *table // of a table within a table: the one that errors name
	path  string // its key there
}

// below returns the table that is the value of a key, whose name errors show in front of each key. The keys have no lines of their own.
func (t *table) below(path string, line int, values map[string]any, known string) *table {
	sub := &table{doc: t.doc, owner: t, path: path, values: values, lines: tableLines{line: line}}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		sub.lines.keys = append(sub.lines.keys, keyLine{key: key})
	}
	sub.checkKeys(strings.Fields(known))
	return sub
}

// label names the table in an error.
func (t *table) label() string {
	if t.owner != nil {
		return t.owner.label()
	}
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
	if t.owner != nil {
		e.Key = t.path + "." + e.Key
	}
	if v, ok := t.values[key]; ok {
		e.Value = show(v)
	}
	t.doc.errs = append(t.doc.errs, e)
}

// failItem records that an item of the list under the key breaks the rule; i counts from 0, what users see from 1. The only item
// is shown as the list.
func (t *table) failItem(key string, i int, rule string) {
	items := anyItems(t.values[key])
	if len(items) < 2 {
		t.fail(key, rule)
		return
	}
	t.doc.errs = append(t.doc.errs, &Error{
		File: t.doc.file, Line: t.lines.item(key, i), Table: t.label(), Key: itemKey(key, i, len(items)), Value: show(items[i]), Rule: rule,
	})
}

// itemKey is how errors name an item of a list.
func itemKey(key string, i, of int) string {
	if of < 2 {
		return key
	}
	return fmt.Sprintf("%s[%d]", key, i+1)
}

// anyItems returns the items of a list; tables have a type of their own in the TOML library.
func anyItems(v any) []any {
	switch v := v.(type) {
	case []any:
		return v
	case []map[string]any:
		items := make([]any, len(v))
		for i := range v {
			items[i] = v[i]
		}
		return items
	}
	return nil
}

// failMissing records that a key is not there; a value of the wrong type is recorded already.
func (t *table) failMissing(key, what string) {
	if _, ok := t.values[key]; !ok {
		t.fail(key, "missing: "+what)
	}
}

// checkKeys refuses the keys that are not known. It goes by the lines, for a map has no order.
func (t *table) checkKeys(known []string) {
	for _, k := range t.lines.keys {
		_, present := t.values[k.key]
		switch {
		case !present || slices.Contains(known, k.key):
			continue
		default:
			t.failAt(k, "unknown key"+t.hint(k.key, known))
		}
		delete(t.values, k.key) // a key with dots in it comes several times
	}
}

// hint says what may be meant by a key that is not known. Some belong one level below.
func (t *table) hint(key string, known []string) string {
	if t.kind == "relay" {
		switch {
		case slices.Contains(strings.Fields(backendKeys), key):
			return `; it belongs to a backend, as in to = [{address = "10.3.0.100:80", weight = 2}]`
		case slices.Contains(strings.Fields(healthKeys), key):
			return `; it belongs to health, as in health = {type = "tcp", interval = "2s"}`
		}
	}
	return suggest(key, known)
}

// failAt is fail for a key whose line is at hand: a table may have very many unknown keys.
func (t *table) failAt(k keyLine, rule string) {
	one := *t
	one.lines.keys = []keyLine{k}
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

// number returns the whole number under the key.
func (t *table) number(key string, unset, least, most int) int {
	v, ok := t.values[key]
	if !ok {
		return unset
	}
	n, ok := v.(int64)
	if !ok || n < int64(least) || n > int64(most) {
		t.fail(key, fmt.Sprintf("must be a number in %d-%d, without quotes", least, most))
		return unset
	}
	return int(n)
}

// duration returns the duration under the key.
func (t *table) duration(key string, unset, least, most time.Duration) time.Duration {
	v, ok := t.values[key]
	if !ok {
		return unset
	}
	s, ok := v.(string)
	d, err := time.ParseDuration(s)
	switch {
	case !ok || err != nil:
		t.fail(key, fmt.Sprintf(`must be a duration in quotes, such as %q`, durationText(unset)))
	case d < least || d > most:
		t.fail(key, fmt.Sprintf("must be between %q and %q", durationText(least), durationText(most)))
	default:
		return d
	}
	return unset
}

// durationText is a duration as people write it: without the parts at its end that are zero.
func durationText(d time.Duration) string {
	s := d.String()
	if short, ok := strings.CutSuffix(s, "m0s"); ok {
		s = short + "m"
	}
	if short, ok := strings.CutSuffix(s, "h0m"); ok {
		s = short + "h"
	}
	return s
}
