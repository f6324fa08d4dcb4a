package nat

import (
	"fmt"
	"net/netip"
	"slices"
)

// relayWork adds what one relay needs in one family.
type relayWork struct {
	*builder
	f       *familyUse
	relay   *Relay
	addrs   []netip.Addr
	targets []Target

	taking        []Target // those that take new connections
	idle          []Target // the others
	distinct      []Target // one for each address: several targets may have the same
	slots         []int    // in taking, by slot, when there are several
	chain         Value    // that chooses the slot
	ways          []way    // to the one backend, or to the chain
	listens, snat *Set
}

// way is the map that the relay is found in by clients of one source network; the zero Addr stands for every client.
type way struct {
	source netip.Addr
	set    *Set
}

// prepare finds out which targets take connections, how one is chosen when there are several, and where that is
// written. lane is the relay's position among all of them.
func (w *relayWork) prepare(lane int) {
	w.listens, w.snat = w.sets[w.f.name(setListens)], w.sets[w.f.name(setSNAT)]
	for i, t := range w.targets {
		if !slices.ContainsFunc(w.targets[:i], func(o Target) bool { return o.Addr == t.Addr }) {
			w.distinct = append(w.distinct, t)
		}
		if t.Weight > 0 && !t.Closing {
			w.taking = append(w.taking, t)
		} else {
			w.idle = append(w.idle, t)
		}
	}
	kind, data, counter := setRelays, w.f.target, true
	switch {
	case len(w.taking) == 0:
		return
	case len(w.taking) > 1:
		w.slots = slotsOf(w.relay.Balance, w.taking)
		c := chooser{w.relay.Balance, len(w.slots)}
		w.chosen[c] = true
		w.chain = Value(c.lane(lane))
		kind, data, counter = setBalance, []Field{chainField()}, false
	}
	w.findWays(kind, data, counter)
}

// findWays makes the maps that the relay is found in.
func (w *relayWork) findWays(kind string, data []Field, counter bool) {
	if len(w.relay.From) == 0 {
		w.ways = []way{{set: w.set(w.f.name(kind), w.f.endpoint, data)}}
	}
	for _, prefix := range w.relay.From {
		if prefix.Addr().BitLen() == w.f.dest.size*8 {
			w.f.lengths[prefix.Bits()] = true
			set := w.set(fromName(w.f, kind, prefix.Bits()), w.f.sourced, data)
			w.ways = append(w.ways, way{prefix.Masked().Addr(), set})
		}
	}
	for i := range w.ways {
		w.ways[i].set.Counter = counter
	}
}

// protocol adds all ports of one protocol.
func (w *relayWork) protocol(proto Protocol) {
	w.f.protocols[proto] = true
	var turns *Set
	if len(w.slots)+len(w.idle) > 0 {
		turns = w.set(w.f.nameOf(setTurns, proto.String()), []Field{w.f.dest, portOf(proto), slotField()}, []Field{w.f.dest, portOf(proto)})
		turns.Counter = true
	}
	for offset := range w.relay.Listen.Ports.Width() {
		port := w.relay.Listen.Ports.First + uint16(offset)
		for _, t := range w.targets {
			w.f.shared(Endpoint{t.Addr, proto, t.Port(w.relay.Listen.Ports, port)}, w.relay.Name)
		}
		values, idle := w.values(w.taking, port), w.values(w.idle, port)
		for _, addr := range w.addrs {
			e := Endpoint{addr, proto, port}
			w.listen(e, values, turns)
			for i, value := range idle {
				turns.add(e.portKey().slot(idleSlot+i), value, w.relay.Name)
			}
		}
	}
}

// idleSlot is the first slot that no connection ever gets: those from it on keep the counts of backends that take none now.
const idleSlot = 1 << 16

// values are the targets as connections to the port are sent to them.
func (w *relayWork) values(targets []Target, port uint16) []Value {
	values := make([]Value, len(targets))
	for i := range targets {
		t := &targets[i]
		values[i] = addrPortValue(netip.AddrPortFrom(t.Addr, t.Port(w.relay.Listen.Ports, port)))
	}
	return values
}

// listen adds one endpoint that clients dial.
func (w *relayWork) listen(e Endpoint, values []Value, turns *Set) {
	key := e.key()
	w.listens.add(key, "", w.relay.Name)
	w.flags(key)
	w.limit(key, e.Proto)
	w.sources(e)
	value := w.chain
	switch len(values) {
	case 0:
		w.flag(setClosed, key)
	case 1:
		value = values[0]
	default:
		port := e.portKey()
		for slot, target := range w.slots {
			turns.add(port.slot(slot), values[target], w.relay.Name)
		}
	}
	for _, way := range w.ways {
		k := key
		if way.source.IsValid() {
			k = e.keyFrom(way.source)
		}
		way.set.add(k, value, w.relay.Name)
	}
}

// shared remembers the first relay by name that uses a backend's port: the element is shared.
func (f *familyUse) shared(e Endpoint, name string) {
	k := e.key()
	if old, ok := f.targets[k]; !ok || name < old {
		f.targets[k] = name
	}
}

// flag puts what clients dial into a set of such.
func (w *relayWork) flag(kind string, key Key) {
	w.set(w.f.name(kind), w.f.endpoint, nil).add(key, "", w.relay.Name)
}

// flags is the features that are a set each.
func (w *relayWork) flags(key Key) {
	if w.relay.Log {
		w.flag(setLogged, key)
	}
	if mss := w.relay.MSS; mss.Off || mss.Size > 0 {
		w.flag(setUnclamped, key)
		if mss.Size > 0 {
			w.set(w.f.name(setMSS), w.f.endpoint, []Field{mssField()}).add(key, mssValue(mss.Size), w.relay.Name)
		}
	}
}

// fromName is the name of the map for sources of one prefix length.
func fromName(f *familyUse, kind string, bits int) string {
	return f.nameOf(kind, fmt.Sprintf("from%d", bits))
}

// sources adds the source addresses towards each backend's address. A pool is the same
// towards all of them; nft has no registers for two IPv6 addresses, a port, a slot and what that is the hash of.
func (w *relayWork) sources(e Endpoint) {
	var pool []netip.Addr
	for _, t := range w.distinct {
		switch len(t.SNAT) {
		case 0:
		case 1:
			w.snat.add(e.keyTo(t.Addr), addrValue(t.SNAT[0]), w.relay.Name)
		default:
			pool = t.SNAT
		}
	}
	if pool == nil {
		return
	}
	pools := w.set(w.f.name(setPools), append(w.f.endpoint, slotField()), []Field{w.f.dest})
	key := e.key()
	for slot := range hashSlots {
		pools.add(key.slot(slot), addrValue(pool[slot*len(pool)/hashSlots]), w.relay.Name)
	}
}
