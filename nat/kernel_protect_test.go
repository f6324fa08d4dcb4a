package nat

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"natd/internal/lab"
)

// From every kind of protection to every other: one transaction each, and then what the kernel was asked for stands.
func TestProtectionChanges(t *testing.T) {
	t.Parallel()
	m, want := newMachine(t, ProtectOff), damaged()
	m.needs(ProtectOwn)
	kinds := []Protect{ProtectOff, ProtectGuard, ProtectOwn}
	for _, was := range kinds {
		for _, is := range kinds {
			m.hold.Protect = was
			m.bring(want)
			m.hold.Protect = is
			before, have := m.generation(), m.read()
			p := Diff(want, have, m.hold)
			lab.Check(t, m.Apply(p, have.Generation, m.hold))
			if n := m.generation() - before; n > 1 || (n == 0) != (was == is) {
				t.Errorf("from %s to %s took %d transactions", was, is, n)
			}
			if left := m.plan(want); !left.Empty() {
				t.Errorf("from %s to %s it still takes %q", was, is, left.Steps(5))
			}
			held, listing := m.read(), m.list("tables")
			if owned := is == ProtectOwn; (held.Owner == m.Port()) != owned || (held.Flags == flagOwner|flagPersist) != owned {
				t.Errorf("from %s to %s: flags %#x, owner %d, natd is %d", was, is, held.Flags, held.Owner, m.Port())
			}
			if guarded := is == ProtectGuard; held.Guard != guarded || strings.Contains(listing, guardName) != guarded {
				t.Errorf("from %s to %s: guard %v among the tables\n%s", was, is, held.Guard, listing)
			}
		}
	}
}

// refusedToOthers is what another program may not do to a table that natd owns.
func refusedToOthers() []string {
	return []string{
		"delete table inet natd",
		"flush table inet natd",
		"delete element inet natd relays4 { 10.2.0.100 . tcp . 80 }",
		"add element inet natd targets4 { 10.3.0.9 . tcp . 80 }",
		"add chain inet natd mine",
		"insert rule inet natd forward accept",
		"flush chain inet natd prerouting",
		"add counter inet natd mine",
	}
}

func TestOwnedTableIsNobodyElses(t *testing.T) {
	t.Parallel()
	m, want := newMachine(t, ProtectOwn), damaged()
	m.needs(ProtectOwn)
	m.bring(want)
	before := m.listTable()
	for _, script := range refusedToOthers() {
		if err := m.host.Nft(t.Context(), script); err == nil || !strings.Contains(err.Error(), "Operation not permitted") {
			t.Errorf("%s: %v, want it refused", script, err)
		}
	}
	m.nft("add table inet other\nflush ruleset")
	if diff := cmp.Diff(before, m.listTable()); diff != "" {
		t.Errorf("after others tried (-before +after):\n%s", diff)
	}
	if tables := m.list("tables"); strings.Contains(tables, "other") {
		t.Errorf("the flush did nothing at all:\n%s", tables)
	}
}

// The table outlives natd, and the next natd takes it over with nothing else changed.
func TestOwnedTableIsAdopted(t *testing.T) {
	t.Parallel()
	m, want := newMachine(t, ProtectOwn), damaged()
	m.needs(ProtectOwn)
	m.bring(want)
	m.nft(`table inet other { chain c { type nat hook output priority 0; }; }`)
	content := func() string {
		text := m.host.Output(t, "nft", "-a", "list", "ruleset")
		before, rest, _ := strings.Cut(text, "table inet natd {")
		return before + rest[strings.Index(rest, "\tset "):] // between them stands who owns it
	}
	before := content()
	m.reopen()
	lab.Eventually(t, 5*time.Second, func() error {
		if have := m.read(); !have.Exists || have.Owner != 0 {
			return fmt.Errorf("exists %v, owner %d, after its owner closed", have.Exists, have.Owner)
		}
		return nil
	})
	m.hold.Port = m.Port()
	if diff := cmp.Diff([]string{"take ownership of table inet natd"}, m.plan(want).Steps(5)); diff != "" {
		t.Errorf("plan of the next natd (-want +got):\n%s", diff)
	}
	m.bring(want)
	if have := m.read(); have.Owner != m.Port() {
		t.Errorf("the owner is %d, want %d", have.Owner, m.Port())
	}
	if diff := cmp.Diff(before, content()); diff != "" {
		t.Errorf("adopting changed (-before +after):\n%s", diff)
	}
}

// A second natd hears that there is another one, whatever it wants to do to the table.
func TestTableOfAnotherProcess(t *testing.T) {
	t.Parallel()
	m, want := newMachine(t, ProtectOwn), damaged()
	m.needs(ProtectOwn)
	m.bring(want)
	before := m.list("ruleset")
	second := m.open()
	for name, c := range map[string]struct {
		want    *Ruleset
		protect Protect
	}{
		"the same":       {want, ProtectOwn},
		"something else": {build(web()), ProtectOwn},
		"unprotected":    {want, ProtectOff},
		"guarded":        {want, ProtectGuard},
		"nothing":        {nil, ProtectOwn},
	} {
		have, err := second.Read()
		lab.Check(t, err)
		hold := Hold{c.protect, second.Port()}
		err = second.Apply(Diff(c.want, have, hold), have.Generation, hold)
		if !errors.Is(err, ErrOwned) || !errors.Is(err, fs.ErrPermission) {
			t.Errorf("wanting %s: %v, want %v", name, err, ErrOwned)
		}
	}
	if err := second.Release(want.set(t, "listens4").Elements[:1]); !errors.Is(err, ErrOwned) {
		t.Errorf("Release: %v, want %v", err, ErrOwned)
	}
	if diff := cmp.Diff(before, m.list("ruleset")); diff != "" {
		t.Errorf("the second natd changed (-before +after):\n%s", diff)
	}
}

// The guard goes with natd; another program cannot remove it before.
func TestGuard(t *testing.T) {
	t.Parallel()
	m := newMachine(t, ProtectGuard)
	m.needs(ProtectGuard)
	m.bring(damaged())
	wantGuard := normal(fmt.Sprintf(`table inet natd_guard { # progname nat.test
	flags owner

	chain keep {
		type nat hook prerouting priority filter; policy accept;
		%s comment %q
	}
}
`, guardChain().Rules[0].Text, guardChain().Rules[0].Comment))
	if diff := cmp.Diff(wantGuard, m.list("table", "inet", guardName)); diff != "" {
		t.Errorf("(-want +nft list):\n%s", diff)
	}
	if err := m.host.Nft(t.Context(), "delete table inet natd_guard"); err == nil {
		t.Error("another program deleted the guard")
	}
	m.nft("flush ruleset")
	if have := m.read(); have.Exists || have.GuardOwner != m.Port() {
		t.Errorf("after a flush: table %v, guard of %d, want that of %d", have.Exists, have.GuardOwner, m.Port())
	}
	m.bring(damaged())
	m.reopen()
	lab.Eventually(t, 5*time.Second, func() error {
		if have := m.read(); have.Guard || !have.Exists {
			return fmt.Errorf("guard %v, table %v, after natd closed", have.Guard, have.Exists)
		}
		return nil
	})
}

// A table by the guard's name that nobody owns, from a saved ruleset say, is made a real one.
func TestGuardOfNobody(t *testing.T) {
	t.Parallel()
	m := newMachine(t, ProtectGuard)
	m.needs(ProtectGuard)
	m.nft("table inet natd_guard { chain keep { type nat hook prerouting priority 0; }; }")
	m.bring(damaged())
	if have := m.read(); have.GuardOwner != m.Port() {
		t.Errorf("the guard belongs to %d, want %d", have.GuardOwner, m.Port())
	}
}

// Asking what the kernel can do changes nothing, not even the generation.
func TestProtectionLeavesNoTrace(t *testing.T) {
	t.Parallel()
	m := newMachine(t, ProtectOff)
	watcher := m.watch(m.Port() + 1) // to which nobody is natd
	before := m.generation()
	for _, want := range []Protect{ProtectAuto, ProtectOwn, ProtectGuard, ProtectOff} {
		got, err := m.Protection(want)
		if err == nil && (got == ProtectAuto || want != ProtectAuto && got != want) {
			t.Errorf("Protection(%s) = %s", want, got)
		}
		if err != nil && !strings.Contains(err.Error(), `use "auto"`) {
			t.Errorf("Protection(%s): %v, want a hint to the user", want, err)
		}
	}
	if after := m.generation(); after != before {
		t.Errorf("the generation went from %d to %d", before, after)
	}
	if tables := m.list("ruleset"); tables != "" {
		t.Errorf("it left behind:\n%s", tables)
	}
	m.nft("add table inet last")
	if first := watcher.next(t); first.Writer.Name != "nft" {
		t.Errorf("the first change that is reported was made by %v", first.Writer)
	}
}
