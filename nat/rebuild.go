package nat

import (
	"net/netip"
	"reflect"
	"slices"
)

// Rebuilder builds one ruleset again and again, and each time only what is new in it. The zero value is ready for use, by one goroutine
// at a time. It keeps what it has built last, and from what: nobody may change that.
type Rebuilder struct {
	spec    *Spec
	places  *Placements
	last    *Ruleset
	uses    *builder // the features in use of last: its sets, without their elements, and more
	patched int      // relays that were built anew since all were
}

// What is built in parts costs more than all of it when there is much of it; and each part keeps some memory of those before it alive.
const (
	patchShare = 8   // of so many relays one may be built anew, and of the same number all together before everything is
	patchMost  = 256 // or so many
	witnesses  = 64  // relays that are asked whether they need what another does not need any more
)

// Build is the ruleset that the function Build returns.
func (r *Rebuilder) Build(spec *Spec, places *Placements) *Ruleset {
	want := r.patch(spec, places)
	if want == nil {
		b := newBuilderFor(spec, places)
		want = b.all(spec, places)
		r.uses, r.patched = b.emptied(), 0
	}
	r.spec, r.places, r.last = spec, places, want
	return want
}

// patch builds what differs from the last ruleset; nil when all has to be built.
func (r *Rebuilder) patch(spec *Spec, places *Placements) *Ruleset {
	if r.last == nil || !r.sameAround(spec, places) {
		return nil
	}
	most := max(patchMost, len(spec.Relays)/patchShare)
	old, now := r.differing(spec, places, most-r.patched)
	if r.patched += max(len(old), len(now)); r.patched > most {
		return nil
	}
	gone, come := newBuilderFor(r.spec, r.places), newBuilderFor(spec, places)
	gone.relays(r.spec, r.places, slices.Values(old))
	come.relays(spec, places, slices.Values(now))
	if !stillUsed(gone, come, spec, places, now) {
		return nil
	}
	next := &Ruleset{Chains: r.last.Chains, Sets: slices.Clone(r.last.Sets), FastPath: r.last.FastPath}
	if r.uses.learn(come) {
		next.Chains = r.uses.chains(spec.Forwarding)
	}
	next.exchange(gone.finish(), come.finish(), unchanged{spec, places, now})
	return next
}

// sameAround tells whether all is as it was but for relays.
func (r *Rebuilder) sameAround(spec *Spec, places *Placements) bool {
	was, now := *r.spec, *spec
	was.Relays, now.Relays = nil, nil
	had, have := *r.places, *places
	had.Relays, have.Relays = nil, nil
	return reflect.DeepEqual(was, now) && reflect.DeepEqual(had, have)
}

// differing is the positions of relays that are not as they were, in the last spec and in this one; more than most of them when all is
// to be built. Relays that were put in or taken out move those behind them.
func (r *Rebuilder) differing(spec *Spec, places *Placements, most int) (old, now []int) {
	was, is := len(r.spec.Relays), len(spec.Relays)
	same := func(i, j int) bool {
		p, q := &r.places.Relays[i], &places.Relays[j]
		// Relays with several backends take turns in chains by their positions.
		return r.spec.Relays[i].same(&spec.Relays[j]) && p.same(q) && ((i-j)%lanes == 0 || len(p.Targets) < 2)
	}
	if was == is {
		for i := 0; i < is && len(now) <= most; i++ {
			if !same(i, i) {
				now = append(now, i)
			}
		}
		return now, now
	}
	first := 0
	for first < min(was, is) && same(first, first) {
		first++
	}
	for was > first && is > first && same(was-1, is-1) {
		was, is = was-1, is-1
	}
	return slices.Collect(between(first, was)), slices.Collect(between(first, is))
}

// stillUsed tells whether everything that the relays which are gone needed is needed by those that come, or by others: else rules go.
func stillUsed(gone, come *builder, spec *Spec, places *Placements, now []int) bool {
	left := gone.features()
	for f := range come.features() {
		delete(left, f)
	}
	for i := 0; i < min(witnesses, len(spec.Relays)) && len(left) > 0; i++ {
		if _, comes := slices.BinarySearch(now, i); comes {
			continue
		}
		witness := newBuilderFor(spec, places)
		witness.relays(spec, places, between(i, i+1))
		for f := range witness.features() {
			delete(left, f)
		}
	}
	return len(left) == 0
}

// exchange takes the elements of some sets out of those of the ruleset, and puts others in.
func (r *Ruleset) exchange(gone, come []Set, others unchanged) {
	for i := range come {
		var without []Element
		if g := find(gone, come[i].Name); g != nil {
			without = g.Elements
		}
		r.exchangeIn(&come[i], without, others)
	}
	for i := range gone {
		if find(come, gone[i].Name) == nil {
			r.exchangeIn(&Set{Name: gone[i].Name}, gone[i].Elements, others)
		}
	}
}

// exchangeIn does it for one set.
func (r *Ruleset) exchangeIn(come *Set, without []Element, others unchanged) {
	with := come.Elements
	if kindOf(come.Name) == setTargets {
		with = others.claim(without, with)
	}
	switch old := find(r.Sets, come.Name); {
	case old == nil:
		r.Sets = append(r.Sets, *come)
		sortSets(r.Sets)
	case !slices.EqualFunc(without, with, func(a, b Element) bool { return a.same(&b) }):
		old.Elements = splice(old.Elements, without, with)
		old.declareSize()
	}
}

// splice returns the elements without those that have the key of any in the two other lists, and with those of the second. All are sorted.
func splice(elements, without, with []Element) []Element {
	out := make([]Element, 0, len(elements)+len(with))
	walk(with, without, func(add, drop *Element) {
		key := drop
		if add != nil {
			key = add
		}
		at, found := slices.BinarySearchFunc(elements, *key, byKey)
		out = append(out, elements[:at]...)
		if found {
			at++
		}
		elements = elements[at:]
		if add != nil {
			out = append(out, *add)
		}
	})
	return append(out, elements...)
}

// unchanged is the relays that stay as they were: all but some.
type unchanged struct {
	spec   *Spec
	places *Placements
	but    []int
}

// claim is the backends that come, and those that go which other relays share: each with the first relay by name.
func (u unchanged) claim(gone, come []Element) []Element {
	owners := make(map[Key]*Element, len(gone)+len(come))
	for _, list := range [][]Element{gone, come} {
		for i := range list {
			owners[list[i].Key] = nil
		}
	}
	if len(owners) == 0 {
		return nil
	}
	for i := range come {
		e := come[i]
		owners[e.Key] = &e
	}
	u.each(func(e Endpoint, relay string) {
		var buf [maxKey]byte
		raw := e.appendTo(buf[:0])
		owner, wanted := owners[Key(raw)]
		if wanted && (owner == nil || relay < owner.Comment) {
			owners[Key(raw)] = &Element{Key: Key(raw), Comment: relay}
		}
	})
	var claimed []Element
	for _, e := range owners {
		if e != nil {
			claimed = append(claimed, *e)
		}
	}
	sortElements(claimed)
	return claimed
}

// each calls do with every backend of the relays.
func (u unchanged) each(do func(backend Endpoint, relay string)) {
	but := u.but
	for i := range u.spec.Relays {
		if len(but) > 0 && but[0] == i {
			but = but[1:]
			continue
		}
		r, p := &u.spec.Relays[i], &u.places.Relays[i]
		if !r.Enabled || p.Held {
			continue
		}
		for j := range p.Targets {
			t := &p.Targets[j]
			if !slices.ContainsFunc(p.Addrs, func(a netip.Addr) bool { return familyIndex(a) == familyIndex(t.Addr) }) {
				continue
			}
			for _, proto := range r.Protocols {
				for offset := range r.Listen.Ports.Width() {
					do(Endpoint{t.Addr, proto, t.Port(r.Listen.Ports, r.Listen.Ports.First+uint16(offset))}, r.Name)
				}
			}
		}
	}
}
