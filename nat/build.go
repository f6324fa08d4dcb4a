package nat

import (
	"cmp"
	"iter"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// Kinds of sets. Behind them stands the digit of the family, and where there are several of a kind what they differ in.
const (
	setRelays  = "relays"  // what clients dial -> backend, of relays with one
	setBalance = "balance" // what clients dial -> the chain that chooses a slot, of relays with several backends
	setTurns   = "turns"   // what clients dial and slot -> backend
	setSNAT    = "snat"    // what clients dial and backend -> source address
	setPools   = "pools"   // what clients dial and slot -> source address, of relays with a pool
	setListens = "listens" // what clients dial
	setTargets = "targets" // backends
	setLogged  = "logged"
	setClosed  = "closed" // what clients dial and nobody answers
)

// Build is the ruleset for the spec, as the placements decide about it. The number of rules depends on the features in
// use, never on the number of relays.
func Build(spec *Spec, places *Placements) *Ruleset {
	return newBuilderFor(spec, places).all(spec, places)
}

// newBuilderFor begins a ruleset.
func newBuilderFor(spec *Spec, places *Placements) *builder {
	b := newBuilder()
	b.reports, b.fastPath = spec.ReportRefused, len(places.FastLinks) > 0
	if spec.ReportRepeated {
		b.repeats = &repeats{answer: places.Answered}
	}
	return b
}

// all builds everything.
func (b *builder) all(spec *Spec, places *Placements) *Ruleset {
	b.relays(spec, places, between(0, len(spec.Relays)))
	for i := range spec.Gateways {
		if g, p := &spec.Gateways[i], &places.Gateways[i]; g.Enabled && !p.Held {
			b.gateway(g, p.Addrs)
		}
	}
	for i := range spec.Statics {
		if s, p := &spec.Statics[i], &places.Statics[i]; s.Enabled && !p.Held {
			b.static(s, p.Addrs)
		}
	}
	fast := b.fast(places.FastLinks)
	return &Ruleset{Chains: b.chains(spec.Forwarding), Sets: b.finish(), FastPath: fast}
}

// builder collects the elements of each set, and what of the features in use is not to be seen from the sets that there
// are.
type builder struct {
	sets     map[string]*Set
	families []*familyUse
	chosen   map[chooser]bool
	pools    map[string]*pool // by the name of the chain
	reports  bool             // what is refused, see Spec.ReportRefused
	refusing map[string]bool  // chains that refuse and report
	fastPath bool             // there is one
	repeats  *repeats         // what is reported of what is not counted; nil for nothing

	keys arena // of keys and values
	work relayWork
	buf  [maxKey]byte // where keys and values are put together
}

// familyUse is what is in use of one family.
type familyUse struct {
	family
	used      bool // anything is translated in it
	listens   *Set
	snat      *Set
	targets   *Set
	ways      map[wayName]*Set
	hosts     map[netip.Addr]Value // source addresses, of which there are few
	lengths   map[int]bool         // of the prefixes of sources that relays name
	protocols map[Protocol]bool
	limits    map[limit]map[Protocol]bool
	egresses  map[string]bool // of gateways; "" for every interface
}

func newBuilder() *builder {
	b := &builder{sets: make(map[string]*Set), chosen: make(map[chooser]bool), pools: make(map[string]*pool), refusing: make(map[string]bool)}
	for i, f := range families() {
		use := &familyUse{
			family: f, ways: make(map[wayName]*Set), hosts: make(map[netip.Addr]Value), lengths: make(map[int]bool),
			protocols: map[Protocol]bool{TCP: true, UDP: true}, limits: make(map[limit]map[Protocol]bool),
			egresses: make(map[string]bool),
		}
		b.families = append(b.families, use)
		// The journal is there in any case: what is in it waits for Kernel.Release.
		use.listens = b.set(f.name(setListens), f.endpoint, nil)
		use.listens.Keep = true
		if i == 0 {
			b.common(use)
		}
	}
	return b
}

// common makes the sets that every relay of the family uses.
func (b *builder) common(f *familyUse) {
	if f.targets != nil {
		return
	}
	f.used = true
	b.set(f.name(setRelays), f.endpoint, f.target).Counter = true
	f.snat = b.set(f.name(setSNAT), append(f.endpoint, f.dest), []Field{f.dest})
	f.targets = b.set(f.name(setTargets), f.endpoint, nil)
}

// set is the set of that name, made when it is not there yet.
func (b *builder) set(name string, key, data []Field) *Set {
	s := b.sets[name]
	if s == nil {
		s = newSetOf(name, key, data)
		b.sets[name] = s
	}
	return s
}

// add appends an element. The first one makes room for all that were announced.
func (s *Set) add(key Key, value Value, comment string) {
	if s.Elements == nil && s.room > 0 {
		s.Elements = make([]Element, 0, s.room)
	}
	s.Elements = append(s.Elements, Element{Key: key, Value: value, Comment: comment})
}

// reserve announces so many more elements, before any is added.
func (s *Set) reserve(n int) { s.room += n }

// relays adds the relays at some positions. Twice, so that the elements of many get memory once, and exactly as much as they need.
func (b *builder) relays(spec *Spec, places *Placements, which iter.Seq[int]) {
	for _, do := range []func(*relayWork){(*relayWork).reserve, (*relayWork).fill} {
		for i := range which {
			if r, p := &spec.Relays[i], &places.Relays[i]; r.Enabled && !p.Held {
				b.relay(r, p, i, do)
			}
		}
	}
}

// between is the numbers from first up to end, without it.
func between(first, end int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := first; i < end && yield(i); i++ {
		}
	}
}

// relay does something about a relay in each of its families; lane is its position among all of them.
func (b *builder) relay(r *Relay, p *Placement, lane int, do func(*relayWork)) {
	for i, f := range b.families {
		addrs := ofFamily(p.Addrs, i, func(a netip.Addr) netip.Addr { return a })
		if len(addrs) == 0 {
			continue
		}
		b.common(f)
		targets := ofFamily(p.Targets, i, func(t Target) netip.Addr { return t.Addr })
		w := &b.work
		w.begin(relayOfFamily{builder: b, f: f, relay: r, addrs: addrs, targets: targets, lane: lane})
		do(w)
	}
}

func ofFamily[T any](all []T, family int, addr func(T) netip.Addr) []T {
	mine := func(t T) bool { return familyIndex(addr(t)) == family }
	first := slices.IndexFunc(all, mine)
	if first < 0 || len(all) == 1 {
		return all[:first+1]
	}
	return slices.DeleteFunc(slices.Clone(all), func(t T) bool { return !mine(t) })
}

// finish returns the sets, by their names, each with its elements in order.
func (b *builder) finish() (sets []Set) {
	for _, f := range b.families {
		if f.targets != nil {
			f.targets.Elements = oneOfEach(f.targets.Elements)
		}
	}
	for _, s := range b.sets {
		if len(s.Elements) < cap(s.Elements) {
			s.Elements = slices.Clone(s.Elements) // a copy has no room to grow: a fifth of the memory
		}
		sortElements(s.Elements)
		s.room = 0
		s.declareSize()
		sets = append(sets, *s)
	}
	sortSets(sets)
	return sets
}

func sortSets(sets []Set) {
	slices.SortFunc(sets, func(a, b Set) int { return strings.Compare(a.Name, b.Name) })
}

// oneOfEach is the elements, each key once and in order. One that several relays share is the first one's by name.
func oneOfEach(elements []Element) []Element {
	sortElements(elements)
	once := elements[:0]
	for i := range elements {
		switch last := len(once) - 1; {
		case last < 0 || once[last].Key != elements[i].Key:
			once = append(once, elements[i])
		case elements[i].Comment < once[last].Comment:
			once[last].Comment = elements[i].Comment
		}
	}
	return once
}

// has tells whether there is a set of that name, and with it a need for the rules that use it.
func (b *builder) has(name string) bool { return b.sets[name] != nil }

// longestFirst is the numbers in falling order.
func longestFirst(lengths map[int]bool) []int {
	return slices.SortedFunc(maps.Keys(lengths), func(a, b int) int { return cmp.Compare(b, a) })
}
