package nat

import (
	"fmt"
	"slices"
)

// Prove reads back what Apply of the plan has made, and returns the table as it stands then; generation and hold are those that Apply
// got. The next plan can be computed from that table, without another Read, as long as the generation of the ruleset
// is the table's. Its counters were not read; those that matter are got by Counts,
// and what the kernel does to the flowtable by itself, by Refresh.
//
// Of a plan that is not ByKey it reads the whole table. Of one that is, it reads everything that does not grow with the number
// of relays: the headers of both tables, the chains, rules, headers of sets and the flowtable, and of the elements only those that the plan changed. The
// rest is known, by this chain of reasons:
//
//   - What the plan was computed from was the kernel's state at the generation that Apply got: it was read, or proved likewise.
//   - The kernel carries a batch out only if that generation still is the ruleset's, and compares under the lock under which it
//     commits (nfnetlink_rcv_batch and nf_tables_valid_genid), so that nobody's change comes between.
//   - A batch is carried out as a whole or not at all, changes what it names and nothing else, and counts the generation up by one. Elements
//     of natd's sets have no timeout, and no rule fills them: without a commit they do not change.
//   - So at the next generation the table is what it was, and the plan. What could be wrong in that is what natd asked for,
//     such as a message cut short without an error, and that is what is read: each new element with its value and comment,
//     and that each deleted one is gone.
//   - All this is read between two looks at the generation. If it is the same both times, it is what that generation holds.
//
// If another program commits after Apply, the generation is beyond the next one, and with a table that others can change the kernel does
// not say what they did: that is ErrLater, with the table as it stands if they did it elsewhere. Who does not know that takes a Read.
// A table that natd owns, by the header that was
// read, cannot have been changed by others at all (nft_table_lookup refuses them); then the later generation holds the same.
func (k *Kernel) Prove(p *Plan, generation uint32, hold Hold) (*Table, error) {
	if !p.ByKey() {
		return k.proveWhole(p, hold)
	}
	var wrong error
	result := p.result()
	have, err := k.steady(func(r *reader) error {
		wrong = nil
		return r.readWith(func(r *reader) (err error) {
			wrong, err = r.changed(p, result)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	owned := hold.Protect == ProtectOwn && have.Exists && have.Owner == hold.Port
	if wrong == nil {
		wrong = left(result, have, hold)
	}
	switch {
	case wrong != nil:
		return nil, wrong
	case have.Generation != p.Follows(generation) && !owned:
		return have, ErrLater
	}
	return have, nil
}

func (k *Kernel) proveWhole(p *Plan, hold Hold) (*Table, error) {
	have, err := k.Read()
	if err != nil {
		return nil, err
	}
	return have, left(p.want, have, hold)
}

// left is the error that the table is not what is wanted, if it is not.
func left(want *Ruleset, have *Table, hold Hold) error {
	const shown = 5
	if left := Diff(want, have, hold); !left.Empty() {
		return fmt.Errorf("%w: after the change it still takes: %v", ErrStale, left.Steps(shown))
	}
	return nil
}

// Follows is the generation that the plan leads to. The kernel leaves out 0 (nf_tables_commit), and Apply of no change sends nothing.
func (p *Plan) Follows(generation uint32) uint32 {
	if p.Empty() {
		return generation
	}
	return max(generation+1, 1)
}

// changed gives the sets of the table their elements: those that the plan leads to, and read from the kernel where it changed them.
// What the kernel has else is wrong.
func (r *reader) changed(p *Plan, result *Ruleset) (wrong, err error) {
	for i := range r.table.Sets {
		s := &r.table.Sets[i]
		want, change := find(result.Sets, s.Name), p.change(s.Name)
		switch {
		case want == nil || s.Key == nil || s.State:
			continue
		case find(p.newSets, s.Name) != nil, change != nil && s.Interval:
			// Of a new set nothing is known; and by a key of an interval the kernel finds also intervals that are around it.
			err = r.elementsOf(s)
		default:
			s.Elements = want.Elements
			if change != nil && wrong == nil {
				wrong, err = r.changedIn(change)
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return wrong, nil
}

// changedIn compares the elements that the plan changed in one set with what the kernel has.
func (r *reader) changedIn(c *setChange) (wrong, err error) {
	seen := make([]bool, len(c.add))
	err = r.get(&c.set, c.add, func(i int, e Element) {
		if seen[i] = true; !e.same(&c.add[i]) {
			wrong = fmt.Errorf("%w: after the change %s has %s", ErrStale, c.set.Name, e.text(&c.set))
		}
	})
	if i := slices.Index(seen, false); i >= 0 && wrong == nil && err == nil {
		wrong = fmt.Errorf("%w: after the change %s lacks %s", ErrStale, c.set.Name, c.add[i].text(&c.set))
	}
	if wrong != nil || err != nil {
		return wrong, err
	}
	gone := make([]Element, 0, len(c.del))
	walk(c.add, c.del, func(added, deleted *Element) {
		if added == nil {
			gone = append(gone, *deleted)
		}
	})
	err = r.get(&c.set, gone, func(_ int, e Element) {
		wrong = fmt.Errorf("%w: after the change %s still has %s", ErrStale, c.set.Name, e.text(&c.set))
	})
	return wrong, err
}

func (p *Plan) change(set string) *setChange {
	i := slices.IndexFunc(p.elements, func(c setChange) bool { return c.set.Name == set })
	if i < 0 {
		return nil
	}
	return &p.elements[i]
}

// result is what the plan leads to: what is wanted, and the listens that it retired. It shares the elements with what is wanted.
func (p *Plan) result() *Ruleset {
	r := &Ruleset{Chains: p.want.Chains, Sets: slices.Clone(p.want.Sets), FastPath: p.want.FastPath}
	for i := range r.Sets {
		s := &r.Sets[i]
		if retired := p.retiredOf(s); s.Keep && len(retired) > 0 {
			s.Elements = slices.Concat(s.Elements, retired)
			sortElements(s.Elements)
		}
	}
	return r
}

// retiredOf is the retired listens of the set: its family is told by the length of the key.
func (p *Plan) retiredOf(s *Set) []Element {
	return slices.DeleteFunc(slices.Clone(p.Retired), func(e Element) bool { return len(e.Key) != fieldsLen(s.Key) })
}

// Release is the plan that deletes the listens that this one retired, once the connections that were made through them are gone. It is for the table
// that Prove of this plan returned.
func (p *Plan) Release() *Plan {
	q := &Plan{want: p.want}
	for i := range p.want.Sets {
		s := p.want.Sets[i]
		if retired := p.retiredOf(&s); s.Keep && len(retired) > 0 {
			s.Elements = nil
			q.elements = append(q.elements, setChange{set: s, del: retired})
		}
	}
	return q
}

// Share makes the table, which holds what is wanted, hold its elements in the same memory. Of 100,000 relays that is a half.
func (t *Table) Share(want *Ruleset) {
	for i := range t.Sets {
		if w := find(want.Sets, t.Sets[i].Name); w != nil && !w.State {
			t.Sets[i].Elements = w.Elements
		}
	}
}
