package nat

import "slices"

// leads tells whether the elements of the set lead connections to backends, and count them.
func (s *Set) leads() bool {
	kind := kindOf(s.Name)
	return s.Counter && (kind == setRelays || kind == setTurns)
}

// heir is whose count an element has: that of a relay's connections to one backend.
type heir struct {
	relay   string
	backend Value // "" for any
}

// handOn lets the new elements count on from where those that go have counted to. It can be done again with newer counts.
func (p *Plan) handOn() {
	for i := range p.elements {
		c := &p.elements[i]
		if !c.set.Counter {
			continue
		}
		for j := range c.add {
			c.add[j].Count = nil
		}
		if c.set.leads() {
			continue
		}
		walk(c.add, c.del, func(next, old *Element) {
			if next != nil && old != nil {
				next.goOn(old)
			}
		})
	}
	p.inherit()
}

// inherit hands on the counts of elements that go: to a new element of the same relay and backend, else to any new one of the
// relay. Backends that come and go move from slot to slot, and from map to map when only one is left.
func (p *Plan) inherit() {
	lost := p.lostCounts()
	if len(lost) == 0 {
		return
	}
	heirs := make(map[heir]*Element)
	p.fresh(func(e *Element) {
		for _, h := range []heir{{e.Comment, e.Value}, {e.Comment, ""}} {
			if heirs[h] == nil {
				heirs[h] = e
			}
		}
	})
	for _, e := range lost {
		to := heirs[heir{e.Comment, e.Value}]
		if to == nil {
			to = heirs[heir{e.Comment, ""}]
		}
		if to != nil {
			to.Count = e.Count.plus(to.Count)
		}
	}
}

// plus is the sum of two counts, of which the other may be nil.
func (c *Count) plus(o *Count) *Count {
	if o == nil {
		return c
	}
	return &Count{c.Packets + o.Packets, c.Bytes + o.Bytes}
}

// lostCounts is the elements that go and have counted something.
func (p *Plan) lostCounts() (lost []*Element) {
	collect := func(elements []Element) {
		for i := range elements {
			if elements[i].Packets() > 0 {
				lost = append(lost, &elements[i])
			}
		}
	}
	for i := range p.elements {
		if p.elements[i].set.leads() {
			collect(p.elements[i].del)
		}
	}
	for i := range p.oldSets {
		if p.oldSets[i].leads() {
			collect(p.oldSets[i].Elements)
		}
	}
	return lost
}

// fresh calls each with the new elements that lead to backends. Those of new sets belong to the ruleset that is wanted, which
// is nobody's to change: the plan gets its own.
func (p *Plan) fresh(each func(*Element)) {
	for i := range p.elements {
		if c := &p.elements[i]; c.set.leads() {
			for j := range c.add {
				each(&c.add[j])
			}
		}
	}
	for i := range p.newSets {
		if s := &p.newSets[i]; s.leads() {
			s.Elements = slices.Clone(s.Elements)
			for j := range s.Elements {
				s.Elements[j].Count = nil
				each(&s.Elements[j])
			}
		}
	}
}
