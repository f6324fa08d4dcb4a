package config

import (
	"fmt"
	"hash/maphash"

	"natd/nat"
)

// written is the tables of a Spec: the n-th of each kind says what the n-th there is.
type written struct {
	relays, gateways, statics tables
}

// tables returns the i-th table of a kind. There may be very many, and only those that are blamed are asked for.
type tables func(i int) *table

func listed(all []table) tables { return func(i int) *table { return &all[i] } }

// checkConflicts looks for contradictions between tables. Those with errors of their own take part as far as they are
// known: what is wrong in them is zero, and claims nothing.
func checkConflicts(spec *nat.Spec, in *written) {
	checkUnique(spec, in)
	checkCounts(spec, in, checkListens)
}

// checkFresh is checkConflicts where only the relays at the positions are not known to be free of contradictions to all the rest.
func checkFresh(spec *nat.Spec, in *written, fresh []int) {
	if len(fresh) > len(spec.Relays)/freshShare {
		checkConflicts(spec, in)
		return
	}
	checkCounts(spec, in, func(relays []nat.Relay, tables tables) {
		if clash(spec, fresh) {
			checkUnique(spec, in)
			checkListens(relays, tables)
		}
	})
}

// checkCounts looks at what is bounded, and then at what may take as much time as there is of it.
func checkCounts(spec *nat.Spec, in *written, listens func([]nat.Relay, tables)) {
	checkValues(spec.Relays, in.relays)
	if !checkElements(spec, in) {
		return // what follows goes port by port, and network by network
	}
	listens(spec.Relays, in.relays)
	checkGateways(spec.Gateways, in)
	checkStatics(spec, in)
}

func checkListens(relays []nat.Relay, tables tables) {
	claims := newClaims(relays, listensAnywhere(relays))
	for i := range relays {
		if other, ports, taken := claims.add(i); taken {
			tables(i).fail("listen", fmt.Sprintf("%s also claimed by %s", ports, tables(other).place()))
		}
	}
	for i := range relays {
		switch backend, target, loops := claims.target(&relays[i]); {
		case loops && target == i:
			tables(i).failItem("to", backend, "loop: this is where the relay itself listens")
		case loops:
			tables(i).failItem("to", backend, fmt.Sprintf("loop: this is where %s listens; write its backend instead", tables(target).place()))
		}
	}
}

// checkUnique holds a name for one thing, of whatever kind.
func checkUnique(spec *nat.Spec, in *written) {
	seed, names := maphash.MakeSeed(), newIndex(things(spec))
	for i := range things(spec) {
		name := nameOf(spec, i)
		if name == "" {
			continue
		}
		if j, taken := names.put(maphash.String(seed, name), i, func(j int) bool { return nameOf(spec, j) == name }); taken {
			other := in.table(spec, j)
			in.table(spec, i).fail("name", fmt.Sprintf("must be unique, but is also the name of the %s in line %d", other.kind, other.lines.line))
		}
	}
}

// things is how many relays, gateways and statics there are. They have numbers in this order.
func things(spec *nat.Spec) int { return len(spec.Relays) + len(spec.Gateways) + len(spec.Statics) }

func nameOf(spec *nat.Spec, i int) string {
	if i < len(spec.Relays) {
		return spec.Relays[i].Name
	}
	if i -= len(spec.Relays); i < len(spec.Gateways) {
		return spec.Gateways[i].Name
	}
	return spec.Statics[i-len(spec.Gateways)].Name
}

func (w *written) table(spec *nat.Spec, i int) *table {
	if i < len(spec.Relays) {
		return w.relays(i)
	}
	if i -= len(spec.Relays); i < len(spec.Gateways) {
		return w.gateways(i)
	}
	return w.statics(i - len(spec.Gateways))
}

// maxValues is how many different values of a limit the relays can have: each takes a set and a rule in the kernel, of
// which there is to be a fixed number.
const maxValues = 32

func checkValues(relays []nat.Relay, tables tables) {
	connections, perSource, rates := make(map[int]bool), make(map[int]bool), make(map[nat.Rate]bool)
	for i := range relays {
		if !checkValue(relays[i].MaxConnections, connections) {
			failValues(tables(i), "max_connections")
		}
		if !checkValue(relays[i].MaxPerSource, perSource) {
			failValues(tables(i), "max_per_source")
		}
		if !checkValue(relays[i].Rate, rates) {
			failValues(tables(i), "rate")
		}
	}
}

// checkValue tells whether there is room for the value, and notes it.
func checkValue[T comparable](value T, seen map[T]bool) bool {
	var unlimited T
	if value == unlimited || seen[value] {
		return true
	}
	if len(seen) == maxValues {
		return false
	}
	seen[value] = true
	return true
}

func failValues(t *table, key string) {
	t.fail(key, fmt.Sprintf("the relays have %d other values of it already, which is the limit: use one of those", maxValues))
}

// isListening tells whether the relay's listen is free of errors.
func isListening(r *nat.Relay) bool { return r.Listen.Ports.First != 0 }
