package nat

import (
	"fmt"
	"slices"
	"strings"
)

// Diff is the plan that makes the kernel hold the wanted ruleset. It touches only what differs. A nil want means no
// table at all.
func Diff(want *Ruleset, have *Table, hold Hold) *Plan {
	p := &Plan{want: want}
	p.guard(want != nil && hold.Protect == ProtectGuard, have, hold)
	switch {
	case want == nil:
		p.remove = have.Exists
		return p
	case !have.Exists:
		p.create = true
	default:
		p.why = rebuildReason(want, have, hold)
		p.remove, p.create = p.why != "", p.why != ""
		// Another process's table is claimed too: the kernel's refusal tells, where silence would look like success.
		p.adopt = hold.Protect == ProtectOwn && (have.Owner == 0 || have.Owner != hold.Port) && !p.create
	}
	if p.create {
		p.all(want, have)
		p.fastPath(want.FastPath, nil)
	} else {
		p.fastPath(want.FastPath, have.FastPath)
		p.sets(want, have)
		p.handOn()
		p.chains(want, have)
	}
	return p
}

func (p *Plan) guard(want bool, have *Table, hold Hold) {
	// One that nobody owns does not survive a flush. Somebody else's is not ours to remove: it goes with its owner.
	orphan := have.Guard && have.GuardOwner == 0
	p.makeGuard = want && (!have.Guard || orphan)
	p.removeGuard = orphan || !want && have.Guard && have.GuardOwner == hold.Port
}

// rebuildReason says why the table cannot be changed into what is wanted piece by piece, or "".
func rebuildReason(want *Ruleset, have *Table, hold Hold) string {
	wantFlags := uint32(0)
	if hold.Protect == ProtectOwn {
		wantFlags = flagOwner | flagPersist
	}
	// Of the flags of a living table, persist cannot be changed, and owner only be taken where nobody has it
	// (nf_tables_updtable in net/netfilter/nf_tables_api.c).
	orphan := wantFlags != 0 && have.Flags == flagPersist
	if have.Flags != wantFlags && !orphan {
		return fmt.Sprintf("its flags are %#x and should be %#x", have.Flags, wantFlags)
	}
	if have.Others != 0 {
		return fmt.Sprintf("it has %d objects or flowtables that are not natd's", have.Others)
	}
	for i := range have.Chains {
		c := &have.Chains[i]
		w := findChain(want.Chains, c.Name)
		if w == nil && !knownChain(c) {
			return fmt.Sprintf("it has a chain %s that is not natd's", c.Name)
		}
		if w != nil && !c.sameHook(w) {
			return fmt.Sprintf("its chain %s hangs at another hook", c.Name)
		}
	}
	for i := range have.Sets {
		s := &have.Sets[i]
		if why := s.unfit(find(want.Sets, s.Name)); why != "" {
			return why
		}
	}
	return ""
}

// unfit says why the set cannot stay, or "". want is the one of its name, nil for none.
func (s *Set) unfit(want *Set) string {
	switch {
	case want == nil && kindOf(s.Name) == "":
		return fmt.Sprintf("it has a set %s that is not natd's", s.Name)
	case want == nil:
		return ""
	case !s.sameShape(want):
		return fmt.Sprintf("its set %s has another type", s.Name)
	case !s.holds(want):
		return fmt.Sprintf("its set %s has size %d, which is not natd's or too small", s.Name, s.Size)
	}
	return ""
}

// all makes everything; counters go on from where they stood in a table that is replaced.
func (p *Plan) all(want *Ruleset, have *Table) {
	p.newChains, p.rewriteRules = want.Chains, want.Chains
	for _, s := range want.Sets {
		if old := find(have.Sets, s.Name); old != nil && old.sameShape(&s) {
			if s.Counter {
				s.Elements = carry(s.Elements, old.Elements)
			}
			if s.Keep {
				s.Elements = p.keep(&s, old)
				s.Size = max(s.Size, sizeFor(len(s.Elements)))
			}
		}
		p.newSets = append(p.newSets, s)
	}
}

// carry returns the wanted elements with the counts of those that the kernel has. Both are sorted.
func carry(want, have []Element) []Element {
	want = slices.Clone(want)
	walk(want, have, func(w, h *Element) {
		if w != nil && h != nil {
			w.goOn(h)
		}
	})
	return want
}

// keep returns the wanted elements and the ones that only the kernel has, which become retired.
func (p *Plan) keep(want, have *Set) []Element {
	before := len(p.Retired)
	walk(want.Elements, have.Elements, func(w, h *Element) {
		if w == nil {
			p.Retired = append(p.Retired, *h)
		}
	})
	elements := slices.Concat(want.Elements, p.Retired[before:])
	sortElements(elements)
	return elements
}

func (p *Plan) sets(want *Ruleset, have *Table) {
	for _, w := range want.Sets {
		h := find(have.Sets, w.Name)
		if h == nil {
			p.newSets = append(p.newSets, w)
			continue
		}
		if !w.State {
			p.setElements(&w, h)
		}
	}
	for _, h := range have.Sets {
		if find(want.Sets, h.Name) == nil {
			p.oldSets = append(p.oldSets, h)
		}
	}
}

func (p *Plan) setElements(want, have *Set) {
	if shared(want.Elements, have.Elements) {
		return
	}
	c := setChange{set: *want}
	c.set.Elements = nil
	walk(want.Elements, have.Elements, func(w, h *Element) {
		switch {
		case h == nil:
			c.add = append(c.add, *w)
		case w == nil && want.Keep:
			p.Retired = append(p.Retired, *h)
		case w == nil:
			c.del = append(c.del, *h)
		case !w.same(h):
			// The kernel takes a new value for a key only after the old one is deleted.
			c.del = append(c.del, *h)
			c.add = append(c.add, *w)
		}
	})
	if len(c.add)+len(c.del) > 0 {
		p.elements = append(p.elements, c)
	}
}

func (p *Plan) chains(want *Ruleset, have *Table) {
	for _, w := range want.Chains {
		h := findChain(have.Chains, w.Name)
		switch {
		case h == nil:
			p.newChains = append(p.newChains, w)
		case h.Drop != w.Drop:
			p.newPolicies = append(p.newPolicies, w)
		}
		if h == nil || !slices.EqualFunc(h.Rules, w.Rules, sameRule) {
			p.rewriteRules = append(p.rewriteRules, w)
		}
	}
	for _, h := range have.Chains {
		if findChain(want.Chains, h.Name) == nil {
			p.oldChains = append(p.oldChains, h)
		}
	}
}

func sameRule(a, b Rule) bool { return a.Comment == b.Comment && a.canon == b.canon }

// shared tells whether the lists are one, as those of a table are that Kernel.Prove returned.
func shared(a, b []Element) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// walk goes through two sorted lists together and calls each with the pair of elements of one key, nil where a list
// has none.
func walk(want, have []Element, each func(w, h *Element)) {
	for i, j := 0, 0; i < len(want) || j < len(have); {
		order := 0
		switch {
		case i == len(want):
			order = 1
		case j == len(have):
			order = -1
		default:
			order = strings.Compare(string(want[i].Key), string(have[j].Key))
		}
		var w, h *Element
		if order <= 0 {
			w = &want[i]
			i++
		}
		if order >= 0 {
			h = &have[j]
			j++
		}
		each(w, h)
	}
}

// HeldAs is the hold of whoever holds the table now, so that a plan made by another process shows what natd itself
// would change.
func HeldAs(have *Table, protect Protect) Hold {
	h := Hold{Protect: protect, Port: have.Owner}
	if protect == ProtectGuard {
		h.Port = have.GuardOwner
	}
	return h
}
