package nat

import (
	"strings"
	"testing"

	"natd/internal/lab"
)

// Twenty thousand relays arrive whole, in one transaction, as nft counts them; and so do they go.
func TestTwentyThousandRelays(t *testing.T) {
	t.Parallel()
	const relays = 20000
	m := newMachine(t, ProtectOff)
	want := manyRelays(relays).build()
	before := m.generation()
	m.bring(want)
	if n := m.generation() - before; n != 1 {
		t.Errorf("it took %d transactions", n)
	}
	for kind, sets := range map[string]map[string]int{
		"set": {setListens + "4": relays, setTargets + "4": relays},
		"map": {setRelays + "4": relays / 2, setRelays + "4_from16": relays / 2, setSNAT + "4": relays},
	} {
		for name, elements := range sets {
			out := m.host.Output(t, "nft", "-j", "list", kind, "inet", TableName, name)
			if got := strings.Count(out, `"elem": {`); got != elements {
				t.Errorf("nft counts %d elements in %s, want %d", got, name, elements)
			}
		}
	}
	have := m.read()
	gone := Diff(build(), have, m.hold)
	if len(gone.Retired) != relays {
		t.Errorf("%d listens are retired, want %d", len(gone.Retired), relays)
	}
	lab.Check(t, m.Apply(gone, have.Generation, m.hold))
	lab.Check(t, m.Release(gone.Retired))
	if left := m.read().Listens(); len(left) != 0 {
		t.Errorf("%d listens are left", len(left))
	}
}

// What a change costs does not depend on what stands beside it: one relay among many is one element in each set that has its backend.
func TestOneAmongMany(t *testing.T) {
	t.Parallel()
	have := asTable(manyRelays(5000).build())
	changed := manyRelays(5000)
	changed.relays[2500].Backends[0].Addr = addr("10.66.0.1")
	steps := Diff(changed.build(), have, Hold{Protect: ProtectOff}).Steps(100)
	if len(steps) != 6 {
		t.Errorf("one backend of 5000 changed, and the plan is %q", steps)
	}
}
