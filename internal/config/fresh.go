package config

import (
	"hash/maphash"

	"natd/nat"
)

// freshShare is of how many relays one may be fresh, if only fresh ones are to be held against the others: that is no gain with more.
const freshShare = 4

// rivals is some relays, of which it is asked who contradicts one: by its name, or by where it listens or leads to.
type rivals struct {
	seed   maphash.Seed
	relays []nat.Relay
	names  index
	claims *claims
	leads  map[endpoint]bool // where the relays lead to
}

// clash tells whether one of the relays at the positions may contradict anything in the spec. The rest of it is known not to
// contradict itself. What exactly is wrong, checkConflicts says.
func clash(spec *nat.Spec, fresh []int) bool {
	r := &rivals{
		seed: maphash.MakeSeed(), relays: make([]nat.Relay, len(fresh)), names: newIndex(len(fresh)), leads: make(map[endpoint]bool),
	}
	for i, at := range fresh {
		r.relays[i] = spec.Relays[at]
	}
	r.claims = newClaims(r.relays, listensAnywhere(spec.Relays))
	for i := range r.relays {
		if r.named(r.relays[i].Name) || r.add(i) {
			return true
		}
	}
	for i := range r.relays {
		if r.contradicts(&r.relays[i], false) {
			return true
		}
	}
	isFresh := make([]bool, things(spec))
	for _, at := range fresh {
		isFresh[at] = true
	}
	return !inParallel(blocks(len(isFresh)), func(block int) bool {
		for i := block * blockSize; i < min((block+1)*blockSize, len(isFresh)); i++ {
			if !isFresh[i] && (r.named(nameOf(spec, i)) || i < len(spec.Relays) && r.contradicts(&spec.Relays[i], true)) {
				return false
			}
		}
		return true
	})
}

// blockSize is how many things one worker holds against the fresh ones at a time.
const blockSize = 1 << 12

func blocks(n int) int { return (n + blockSize - 1) / blockSize }

// add notes what the i-th relay takes, and tells whether one before it takes that.
func (r *rivals) add(i int) bool {
	one := &r.relays[i]
	r.names.put(maphash.String(r.seed, one.Name), i, func(int) bool { return false })
	for _, e := range led(one) {
		r.leads[e] = true
	}
	_, _, clashes := r.claims.add(i)
	return clashes
}

func (r *rivals) named(name string) bool {
	_, found := r.names.get(maphash.String(r.seed, name), func(j int) bool { return r.relays[j].Name == name })
	return found
}

// contradicts tells whether a relay leads to where one of the relays listens, or the other way about; and of one that is not among them, whether
// it takes what one of them takes.
func (r *rivals) contradicts(o *nat.Relay, other bool) bool {
	if _, _, loops := r.claims.target(o); loops {
		return true
	}
	if !isListening(o) {
		return false
	}
	for f, e := range taken(o) {
		if r.leads[e] || other && r.holds(o, f, e) {
			return true
		}
	}
	return false
}

// holds tells whether one of the relays takes what another one takes.
func (r *rivals) holds(o *nat.Relay, f families, e endpoint) bool {
	_, held := r.claims.holder(e)
	if !held && r.claims.anyone {
		_, held = r.claims.holder(e.rival(o, f))
	}
	return held
}
