package firewall

import (
	"golang.org/x/sys/unix"

	"natd/internal/nfnl"
)

// lookup looks a register up in a set, or in a map whose value goes to a register or is the verdict.
type lookup struct {
	set    *set // nil = there is none of that name
	name   string
	source uint32
	dest   uint32
	isMap  bool
	invert bool
}

func decodeLookup(b []byte, find func(string) *set) expression {
	name := nfnl.String(nfnl.Attr(b, unix.NFTA_LOOKUP_SET))
	l := &lookup{
		set: find(name), name: name,
		source: nfnl.Uint32(nfnl.Attr(b, unix.NFTA_LOOKUP_SREG)),
		dest:   nfnl.Uint32(nfnl.Attr(b, unix.NFTA_LOOKUP_DREG)),
		isMap:  nfnl.Attr(b, unix.NFTA_LOOKUP_DREG) != nil,
		invert: nfnl.Uint32(nfnl.Attr(b, unix.NFTA_LOOKUP_FLAGS))&unix.NFT_LOOKUP_F_INV != 0,
	}
	if l.set != nil {
		l.set.used = true
	}
	return l
}

func (l *lookup) eval(m *machine) tri {
	if l.set == nil {
		return m.undecided()
	}
	found, hits := m.find(l.set, m.regs.load(l.source, l.set.keyLen))
	if !l.isMap {
		return found.inverted(l.invert)
	}
	if found == no {
		return no
	}
	if l.set.dataType == typeVerdict {
		return m.turn(found, hits)
	}
	m.regs.store(l.dest, sameData(hits))
	return found
}

// turn takes the verdicts that the map may give.
func (m *machine) turn(found tri, hits []*element) tri {
	if hits == nil {
		return m.undecided()
	}
	seen := make(map[verdict]bool)
	for _, e := range hits {
		if e.verdict == nil {
			return m.undecided()
		}
		if !seen[*e.verdict] {
			seen[*e.verdict] = true
			found = min(found, m.end(*e.verdict))
		}
	}
	return found
}

// sameData is what is sure of the data of all elements.
func sameData(hits []*element) bits {
	if len(hits) == 0 {
		return unknown(16)
	}
	b := known(hits[0].data)
	for _, e := range hits[1:] {
		for i := range b.value {
			b.known[i] &^= b.value[i] ^ at(e.data, i)
			b.value[i] &= b.known[i]
		}
	}
	return b
}

// find looks for the elements that the key may be: whether it is in the set, and which they are; nil when that is open.
func (w *walker) find(s *set, key bits) (tri, []*element) {
	if s.large {
		return w.ask(s, key)
	}
	var hits []*element
	found := no
	if key.whole() {
		if i, ok := s.exact[string(key.value)]; ok {
			return yes.weakened(s.elements[i].stateful), []*element{&s.elements[i]}
		}
	}
	for i := range s.elements {
		e := &s.elements[i]
		t := s.holds(e, key).weakened(e.stateful)
		if t != no {
			hits = append(hits, e)
		}
		if found = max(found, t); t == yes && len(hits) == 1 {
			return yes, hits
		}
	}
	if s.fallback != nil && found != yes {
		return yes.weakened(s.fallback.stateful), append(hits, s.fallback)
	}
	return found, hits
}

// weakened is the truth where something else may stand against it.
func (t tri) weakened(by bool) tri {
	if by {
		return min(t, maybe)
	}
	return t
}

// holds tells whether the element stands for the key.
func (s *set) holds(e *element, key bits) tri {
	if e.end == nil {
		return key.equal(e.key)
	}
	if len(s.fields) < 2 {
		return key.between(e.key, e.end)
	}
	all, from := yes, 0
	for _, n := range s.fields {
		to := from + n
		if to > len(e.key) || to > len(e.end) || to > key.len() {
			return maybe
		}
		all = min(all, key.slice(from, to).between(e.key[from:to], e.end[from:to]))
		from = to + (4-n%4)%4
	}
	return all
}

// ask asks the kernel for the element.
func (w *walker) ask(s *set, key bits) (tri, []*element) {
	if w.member == nil || !key.whole() {
		return maybe, nil
	}
	e, err := w.member(s, key.value)
	switch {
	case err != nil:
		return maybe, nil
	case e == nil:
		return no, nil
	}
	return yes.weakened(e.stateful), []*element{e}
}

// dynset adds the key to a set, where a limit may stand beside it: what comes of it depends on what was counted. Without
// one it matches unless the set is full.
type dynset struct {
	set    *set
	name   string
	source uint32
	op     uint32
	exprs  []expression
}

func (*dynset) eval(*machine) tri { return maybe }
