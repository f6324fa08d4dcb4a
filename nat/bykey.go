package nat

import (
	"errors"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"natd/internal/nfnl"
)

// byKeyMost is how many elements are read one by one. Of more, a dump is the shorter way.
const byKeyMost = 4096

// askAtOnce is how many elements are asked for with one write. Their answers wait in the receive buffer, each in a page of its own.
const askAtOnce = 64

// ByKey tells whether the plan changes so little of a table that stands that Kernel.Counts and Kernel.Prove ask only for what it
// changes. Any other plan takes a Kernel.Read before and after it.
func (p *Plan) ByKey() bool {
	return !p.remove && !p.create && p.want != nil && !p.Large()
}

// Large tells whether the plan changes so many elements that it is worth it to spare the kernel all that it does for one.
func (p *Plan) Large() bool {
	n := 0
	for i := range p.elements {
		n += len(p.elements[i].del) + len(p.elements[i].add)
	}
	for i := range p.newSets {
		n += len(p.newSets[i].Elements)
	}
	for i := range p.oldSets {
		n += len(p.oldSets[i].Elements)
	}
	return n > byKeyMost
}

// get asks for elements by their keys and calls found for those that the kernel has, by their index.
func (r *reader) get(s *Set, elements []Element, found func(i int, e Element)) error {
	for first := 0; first < len(elements); first += askAtOnce {
		var b nfnl.Builder
		for i := first; i < min(first+askAtOnce, len(elements)); i++ {
			b.Begin(nfnl.Type(unix.NFNL_SUBSYS_NFTABLES, unix.NFT_MSG_GETSETELEM), unix.NLM_F_ACK, unix.NFPROTO_INET, 0)
			b.String(unix.NFTA_SET_ELEM_LIST_TABLE, TableName)
			b.String(unix.NFTA_SET_ELEM_LIST_SET, s.Name)
			list := b.Nest(unix.NFTA_SET_ELEM_LIST_ELEMENTS)
			w := elementWriter{Builder: &b, set: s}
			w.write(&elements[i])
			b.Unnest(list)
			b.End()
		}
		var failed error
		err := r.socket.Query(&b, func(i int, m nfnl.Message) error {
			for _, b := range nfnl.Attrs(nfnl.Attr(m.Attrs(), unix.NFTA_SET_ELEM_LIST_ELEMENTS)) {
				found(first+i, r.elements.decode(b))
			}
			return nil
		}, func(refusal *nfnl.Error) {
			if refusal.Errno != unix.ENOENT && failed == nil {
				failed = refusal
			}
		})
		if err := errors.Join(err, failed); err != nil {
			return err
		}
	}
	return nil
}

// Counts reads the counters of the elements that the plan takes away, and lets the new ones count on from there. It is for a plan that
// was computed from a table whose counters were not read, as Prove returns it, and is ByKey. What is not there any more
// makes the plan stale, which Apply tells.
func (k *Kernel) Counts(p *Plan) error {
	r := newReader(k.dumps, 0)
	for i := range p.elements {
		c := &p.elements[i]
		if !c.set.Counter {
			continue
		}
		if err := r.get(&c.set, c.del, func(i int, e Element) { c.del[i].Count = e.Count }); err != nil {
			return readError("counters", err)
		}
	}
	for i := range p.oldSets {
		if s := &p.oldSets[i]; s.Counter {
			s.Elements = nil
			if err := r.elementsOf(s); err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, nfnl.ErrInterrupted) {
				return readError("counters", err)
			}
		}
	}
	p.handOn()
	return nil
}

// Counted is the elements with counters of gateways, statics and the chosen relays, with what the kernel has counted, in a table that has
// nothing else; r is what the kernel should hold. Of so many elements that a dump is the shorter way it reads the whole table.
func (k *Kernel) Counted(r *Ruleset, chosen func(relay string) bool) (*Table, error) {
	sets, n := r.countedOf(chosen)
	if n > byKeyMost {
		return k.Read()
	}
	return k.steady(func(r *reader) error {
		r.table.Sets = slices.Clone(sets)
		for i := range r.table.Sets {
			s := &r.table.Sets[i]
			s.Elements = slices.Clone(s.Elements)
			var err error
			if s.Interval { // by a key the kernel finds also intervals that are around it
				s.Elements = nil
				err = r.elementsOf(s)
			} else {
				err = r.get(s, s.Elements, func(i int, e Element) { s.Elements[i].Count = e.Count })
			}
			if err != nil && !errors.Is(err, unix.ENOENT) {
				return readError("counters", err)
			}
		}
		return nil
	})
}

// countedOf is the sets with counters, with the elements of gateways, statics and the chosen relays, and how many those are.
func (r *Ruleset) countedOf(chosen func(relay string) bool) (sets []Set, n int) {
	for i := range r.Sets {
		if !r.Sets[i].Counter {
			continue
		}
		s := r.Sets[i]
		s.Elements = nil
		for _, e := range r.Sets[i].Elements {
			if isRelay := !strings.HasPrefix(e.Comment, kindGateway) && !strings.HasPrefix(e.Comment, kindStatic); !isRelay || chosen(e.Comment) {
				s.Elements = append(s.Elements, e)
			}
		}
		if n += len(s.Elements); len(s.Elements) > 0 {
			sets = append(sets, s)
		}
	}
	return sets, n
}
