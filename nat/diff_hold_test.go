package nat

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Port ids of this natd and of another process.
const (
	ours   = 4711
	others = 4712
)

func TestDiffOfOwnership(t *testing.T) {
	t.Parallel()
	own, off := Hold{ProtectOwn, ours}, Hold{ProtectOff, ours}
	take := []string{"take ownership of table inet natd"}
	held := func(flags, owner uint32) func(*Table) {
		return func(have *Table) { have.Flags, have.Owner = flags, owner }
	}
	want := build(web())
	runDiffCases(t, map[string]diffCase{
		"ours already":            {want: want, hold: own, have: held(flagOwner|flagPersist, ours)},
		"left by a natd before":   {want: want, hold: own, have: held(flagPersist, 0), steps: take},
		"of another, who refuses": {want: want, hold: own, have: held(flagOwner|flagPersist, others), steps: take},
		"never owned": {
			want: want, hold: own, have: held(0, 0),
			steps: everything("make table inet natd anew: its flags are 0x0 and should be 0x6"),
		},
		"switched off by its former owner": {
			want: want, hold: own, have: held(flagPersist|1, 0),
			steps: everything("make table inet natd anew: its flags are 0x5 and should be 0x6"),
		},
		"not to be owned any more": {
			want: want, hold: off, have: held(flagPersist, 0),
			steps: everything("make table inet natd anew: its flags are 0x4 and should be 0x0"),
		},
	})
}

func TestDiffOfTheGuard(t *testing.T) {
	t.Parallel()
	guard, off := Hold{ProtectGuard, ours}, Hold{ProtectOff, ours}
	held := func(owner uint32) func(*Table) {
		return func(have *Table) { have.Guard, have.GuardOwner = true, owner }
	}
	const made, deleted = "make table inet natd_guard", "delete table inet natd_guard"
	want := build(web())
	runDiffCases(t, map[string]diffCase{
		"missing":                    {want: want, hold: guard, steps: []string{made}},
		"ours":                       {want: want, hold: guard, have: held(ours)},
		"another's keeps hooks too":  {want: want, hold: guard, have: held(others)},
		"nobody's protects nothing":  {want: want, hold: guard, have: held(0), steps: []string{deleted, made}},
		"ours and not wanted":        {want: want, hold: off, have: held(ours), steps: []string{deleted}},
		"another's and not wanted":   {want: want, hold: off, have: held(others)},
		"nobody's and not wanted":    {want: want, hold: off, have: held(0), steps: []string{deleted}},
		"no table wanted":            {hold: guard, have: held(ours), steps: []string{"delete table inet natd", deleted}},
		"no table wanted, another's": {hold: guard, have: held(others), steps: []string{"delete table inet natd"}},
		"owning makes it unnecessary": {
			want: want, hold: Hold{ProtectOwn, ours},
			have:  func(have *Table) { held(ours)(have); have.Flags, have.Owner = flagOwner|flagPersist, ours },
			steps: []string{deleted},
		},
	})
}

// A plan that natctl makes shows what natd itself would do.
func TestHeldAs(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		have    Table
		protect Protect
		steps   []string
	}{
		"owned":            {Table{Flags: flagOwner | flagPersist, Owner: others}, ProtectOwn, nil},
		"orphaned":         {Table{Flags: flagPersist}, ProtectOwn, []string{"take ownership of table inet natd"}},
		"guarded":          {Table{Guard: true, GuardOwner: others}, ProtectGuard, nil},
		"guard is missing": {Table{}, ProtectGuard, []string{"make table inet natd_guard"}},
		"open":             {Table{}, ProtectOff, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			have := asTable(build(web()))
			have.Flags, have.Owner, have.Guard, have.GuardOwner = c.have.Flags, c.have.Owner, c.have.Guard, c.have.GuardOwner
			p := Diff(build(web()), have, HeldAs(have, c.protect))
			if diff := cmp.Diff(c.steps, p.Steps(5)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// What concerns only who holds the table is no repair of it.
func TestHeals(t *testing.T) {
	t.Parallel()
	table := func(edit func(*Table)) *Table {
		have := asTable(build(web()))
		edit(have)
		return have
	}
	for name, c := range map[string]struct {
		have  *Table
		hold  Hold
		heals bool
	}{
		"nothing to do": {table(func(*Table) {}), Hold{ProtectOff, ours}, false},
		"adopt":         {table(func(h *Table) { h.Flags = flagPersist }), Hold{ProtectOwn, ours}, false},
		"guard":         {table(func(*Table) {}), Hold{ProtectGuard, ours}, false},
		"no guard":      {table(func(h *Table) { h.Guard, h.GuardOwner = true, ours }), Hold{ProtectOff, ours}, false},
		"create":        {&Table{}, Hold{ProtectOff, ours}, true},
		"rebuild":       {table(func(h *Table) { h.Flags = 1 }), Hold{ProtectOff, ours}, true},
		"an element":    {table(func(h *Table) { find(h.Sets, "relays4").Elements = nil }), Hold{ProtectOff, ours}, true},
		"a rule":        {table(func(h *Table) { h.Chains[1].Rules = nil }), Hold{ProtectOff, ours}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := Diff(build(web()), c.have, c.hold)
			if p.Heals() != c.heals {
				t.Errorf("Heals() = %v, want %v for %q", p.Heals(), c.heals, p.Steps(5))
			}
		})
	}
}
