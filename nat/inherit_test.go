package nat

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// after is what the kernel holds when the plan is carried out: what is wanted, with the counts of what was there and of the plan.
func after(have *Table, want *Ruleset, p *Plan) *Table {
	counted := make(map[string]map[Key]Element)
	note := func(set string, elements []Element) {
		if counted[set] == nil {
			counted[set] = make(map[Key]Element)
		}
		for _, e := range elements {
			counted[set][e.Key] = e
		}
	}
	for i := range have.Sets {
		note(have.Sets[i].Name, have.Sets[i].Elements)
	}
	for _, c := range p.elements {
		note(c.set.Name, c.add)
	}
	for _, s := range p.newSets {
		note(s.Name, s.Elements)
	}
	table := asTable(want)
	for i := range table.Sets {
		for j := range table.Sets[i].Elements {
			e := &table.Sets[i].Elements[j]
			e.Count = counted[table.Sets[i].Name][e.Key].Count
		}
	}
	return table
}

func TestCountsFollowTheBackend(t *testing.T) {
	t.Parallel()
	web := relayOf("web", 80, "10.3.0.1", func(r *Relay) {
		for _, b := range []string{"10.3.0.2", "10.3.0.3"} {
			r.Backends = append(r.Backends, Backend{Addr: addr(b), Ports: ports(80, 80), Weight: 1})
		}
	})
	with := func(shares ...int) *Ruleset {
		return scenario{relays: []Relay{web}, places: map[string]func(*Placement){"web": weights(shares...)}}.build()
	}
	have := asTable(with(1, 1, 1))
	turns := find(have.Sets, "turns4_tcp")
	for i := range turns.Elements {
		turns.Elements[i].Count = &Count{Packets: uint64(10 * (i + 1))}
	}
	want := have.TargetConnections()
	for _, shares := range [][]int{{1, 0, 1}, {0, 0, 1}, {0, 0, 0}, {0, 1, 0}, {3, 1, 2}, {1, 1, 0}, {1, 1, 1}} {
		next := with(shares...)
		have = after(have, next, Diff(next, have, Hold{Protect: ProtectOff}))
		if diff := cmp.Diff(want, have.TargetConnections(), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
			t.Errorf("with the weights %v (-want +got):\n%s", shares, diff)
		}
	}
	other := build(relayOf("web", 80, "10.3.0.9"))
	have = after(have, other, Diff(other, have, Hold{Protect: ProtectOff}))
	if got := have.Connections().Relays["web"]; got != 60 {
		t.Errorf("with another backend the relay counts %d connections, want 60", got)
	}
}
