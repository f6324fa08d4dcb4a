package nat

import (
	"cmp"
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
	b := newBuilder()
	b.reports = spec.ReportRefused
	if spec.ReportRepeated {
		b.repeats = &repeats{answer: places.Answered}
	}
	for i := range spec.Relays {
		if r, p := &spec.Relays[i], &places.Relays[i]; r.Enabled && !p.Held {
			b.relay(r, p, i)
		}
	}
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
	r := b.ruleset(spec.Forwarding)
	r.FastPath = fast
	return r
}

// builder collects the elements of each set, and what of the features in use is not to be seen from the sets that there
// are.
type builder struct {
	sets     map[string]*Set
	families []*familyUse
	chosen   map[chooser]bool
	pools    map[string]*pool // by the name of the chain
	reports  bool             // what is refused, see Spec.ReportRefused
	repeats  *repeats         // what is reported of what is not counted; nil for nothing
}

// familyUse is what is in use of one family.
type familyUse struct {
	family
	used      bool // anything is translated in it
	targets   map[Key]string
	lengths   map[int]bool // of the prefixes of sources that relays name
	protocols map[Protocol]bool
	limits    map[limit]map[Protocol]bool
	egresses  map[string]bool // of gateways; "" for every interface
}

func newBuilder() *builder {
	b := &builder{sets: make(map[string]*Set), chosen: make(map[chooser]bool), pools: make(map[string]*pool)}
	for i, f := range families() {
		use := &familyUse{
			family: f, targets: make(map[Key]string), lengths: make(map[int]bool),
			protocols: map[Protocol]bool{TCP: true, UDP: true}, limits: make(map[limit]map[Protocol]bool),
			egresses: make(map[string]bool),
		}
		b.families = append(b.families, use)
		// The journal is there in any case: what is in it waits for Kernel.Release.
		b.set(f.name(setListens), f.endpoint, nil).Keep = true
		if i == 0 {
			b.common(use)
		}
	}
	return b
}

// common makes the sets that every relay of the family uses.
func (b *builder) common(f *familyUse) {
	if b.has(f.name(setRelays)) {
		return
	}
	f.used = true
	b.set(f.name(setRelays), f.endpoint, f.target).Counter = true
	b.set(f.name(setSNAT), append(f.endpoint, f.dest), []Field{f.dest})
	b.set(f.name(setTargets), f.endpoint, nil)
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

func (s *Set) add(key Key, value Value, comment string) {
	s.Elements = append(s.Elements, Element{Key: key, Value: value, Comment: comment})
}

// relay adds a relay; lane is its position among all of them.
func (b *builder) relay(r *Relay, p *Placement, lane int) {
	for i, f := range b.families {
		addrs := ofFamily(p.Addrs, i, func(a netip.Addr) netip.Addr { return a })
		if len(addrs) == 0 {
			continue
		}
		b.common(f)
		targets := ofFamily(p.Targets, i, func(t Target) netip.Addr { return t.Addr })
		w := relayWork{builder: b, f: f, relay: r, addrs: addrs, targets: targets}
		w.prepare(lane)
		for _, proto := range r.Protocols {
			w.protocol(proto)
		}
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

// ruleset is what was collected, in order.
func (b *builder) ruleset(policy Forwarding) *Ruleset {
	for _, f := range b.families {
		if targets := b.sets[f.name(setTargets)]; targets != nil {
			for key, name := range f.targets {
				targets.add(key, "", name)
			}
		}
	}
	r := &Ruleset{Chains: b.chains(policy)}
	for _, s := range b.sets {
		s.Elements = slices.Clone(s.Elements) // a copy has no room to grow: a fifth of the memory
		sortElements(s.Elements)
		r.Sets = append(r.Sets, *s)
	}
	slices.SortFunc(r.Sets, func(a, b Set) int { return strings.Compare(a.Name, b.Name) })
	return r
}

// has tells whether there is a set of that name, and with it a need for the rules that use it.
func (b *builder) has(name string) bool { return b.sets[name] != nil }

// longestFirst is the numbers in falling order.
func longestFirst(lengths map[int]bool) []int {
	return slices.SortedFunc(maps.Keys(lengths), func(a, b int) int { return cmp.Compare(b, a) })
}
