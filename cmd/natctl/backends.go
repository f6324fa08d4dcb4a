package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"natd/internal/control"
	"natd/internal/words"
)

// backendsShown is how many of a relay's backends have lines of their own. Of more than these, those that are not
// well come first: one that works looks like the next.
const backendsShown = 10

// backendTable has a line for each of several backends; rest says what it leaves out.
func backendTable(backends []control.Backend, now time.Time) (t *table, rest string) {
	t = &table{columns: []column{
		{}, {state: true}, {}, {}, {}, {right: true}, {right: true}, {right: true, spare: 2}, {right: true, spare: 2}, {}, {},
	}}
	known := words.HealthKnown(backends)
	if more := len(backends) - backendsShown; more > 0 {
		backends = slices.Clone(backends)
		slices.SortStableFunc(backends, func(a, b control.Backend) int { return cmp.Compare(words.Wellness(&a), words.Wellness(&b)) })
		backends = backends[:backendsShown]
		rest = fmt.Sprintf("and %d more (--json lists them)", more)
	}
	for i := range backends {
		b := &backends[i]
		state := b.State
		if state == control.BackendUnknown && !known {
			state = "" // nobody asks for it
		}
		t.add(row{cells: []string{
			words.Place(b), state, words.Since(b, now), words.Weight(b.Weight), words.Role(b),
			fmt.Sprintf("%d active", b.Active), fmt.Sprintf("%d total", b.Total), words.Carried(b.Bytes.ToTarget, "→"), words.Carried(b.Bytes.ToClient, "←"),
			words.Failed(b), strings.ReplaceAll(b.Reason, "\n", " "),
		}})
	}
	return t, rest
}
