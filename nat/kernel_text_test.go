package nat

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"natd/internal/lab"
)

// The kernel is the judge: what it holds, as nft lists it, is natd's own text; that text is what nft reads; and a table
// that nft made of it needs no change.
func TestKernelHoldsTheText(t *testing.T) {
	t.Parallel()
	for name, s := range scenarios() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, want := newMachine(t, ProtectOff), s.build()
			m.lacks(t, want)
			ours := text(t, want)
			m.bring(want)
			if diff := cmp.Diff(normal(ours), m.listTable()); diff != "" {
				t.Errorf("what natd made (-its text +nft list):\n%s", diff)
			}
			_, err := m.host.RunInput(t.Context(), ours, "nft", "-c", "-f", "-")
			lab.Check(t, err)

			m.nft("flush ruleset\n" + ours)
			if diff := cmp.Diff(normal(ours), m.listTable()); diff != "" {
				t.Errorf("what nft made of the text (-text +nft list):\n%s", diff)
			}
			if p := m.plan(want); !p.Empty() {
				t.Errorf("what nft made of the text needs %q", p.Steps(10))
			}
		})
	}
}

// A plan that is empty says so truly: nothing is sent, the generation stays.
func TestApplyTwice(t *testing.T) {
	t.Parallel()
	for _, protect := range []Protect{ProtectOff, ProtectGuard, ProtectOwn} {
		t.Run(protect.String(), func(t *testing.T) {
			t.Parallel()
			m := newMachine(t, protect)
			m.needs(protect)
			want := scenarios()["sources"].build()
			m.bring(want)
			before := m.generation()
			have := m.read()
			lab.Check(t, m.Apply(Diff(want, have, m.hold), have.Generation, m.hold))
			if after := m.generation(); after != before {
				t.Errorf("applying nothing took the generation from %d to %d", before, after)
			}
		})
	}
}

// From any scenario to any other in one transaction: the set-up of the one leaves nothing behind in the other.
func TestFromScenarioToScenario(t *testing.T) {
	t.Parallel()
	m := newMachine(t, ProtectOff)
	all, texts := make(map[string]*Ruleset), make(map[string]string)
	for name, s := range m.scenarios() {
		all[name] = s.build()
		texts[name] = normal(text(t, all[name]))
	}
	way := tour(slices.Sorted(maps.Keys(all)))
	m.bring(all[way[0]])
	for i, is := range way[1:] {
		before, have := m.generation(), m.read()
		plan := Diff(all[is], have, m.hold)
		lab.Check(t, m.Apply(plan, have.Generation, m.hold))
		if after := m.generation(); !plan.Empty() && after != before+1 {
			t.Errorf("from %s to %s took %d transactions", way[i], is, after-before)
		}
		lab.Check(t, m.Release(plan.Retired))
		if diff := cmp.Diff(texts[is], m.listTable()); diff != "" {
			t.Fatalf("from %s to %s (-want +nft list):\n%s", way[i], is, diff)
		}
		if left := m.plan(all[is]); !left.Empty() {
			t.Fatalf("from %s to %s still takes %q", way[i], is, left.Steps(10))
		}
	}
}

// tour goes once from each to each, itself too, and ends where it begins: a de Bruijn sequence of pairs.
func tour(names []string) (way []string) {
	for i, one := range names {
		way = append(way, one)
		for _, other := range names[i+1:] {
			way = append(way, one, other)
		}
	}
	return append(way, names[0])
}

// The longest name on elements that take more than one message: comments are nft's to print, and natd's to read back.
func TestLongestName(t *testing.T) {
	t.Parallel()
	m := newMachine(t, ProtectOff)
	name := "a23456789-b23456789-c23456789-d23456789-e2345678"
	if len(name) != 48 {
		t.Fatalf("the name has %d characters", len(name))
	}
	want := build(relayOf(name, 1000, "10.3.0.100", width(300), protocols(TCP, UDP), from(clientNet), logged))
	m.bring(want)
	if diff := cmp.Diff(normal(text(t, want)), m.listTable()); diff != "" {
		t.Errorf("(-want +nft list):\n%s", diff)
	}
	if n := len(m.read().set(t, "listens4").Elements); n != 600 {
		t.Errorf("%d elements are read back, want 600", n)
	}
}

// needs skips the test on a kernel that cannot protect a table that way.
func (m *machine) needs(protect Protect) {
	m.t.Helper()
	if _, err := m.Protection(protect); err != nil {
		m.t.Skip(err)
	}
}
