package nat

import (
	"fmt"
	"net/netip"
	"slices"
)

// relayOfFamily is a relay, as far as it is of one family.
type relayOfFamily struct {
	*builder
	f       *familyUse
	relay   *Relay
	addrs   []netip.Addr
	targets []Target
	lane    int // its position among all relays
}

// relayWork adds what one relay needs in one family. It is used again for the next one, with the memory of its lists.
type relayWork struct {
	relayOfFamily

	taking   []Target // those that take new connections
	idle     []Target // the others
	distinct []Target // one for each address: several targets may have the same
	ways     []way    // to the one backend, or to the chain
	slots    []int    // in taking, by slot, when there are several
	chain    Value    // that chooses the slot

	takingValues, idleValues []Value // of one port
}

// way is the map that the relay is found in by clients of one source network; the zero Addr stands for every client.
type way struct {
	source netip.Addr
	set    *Set
}

// wayName is what tells such a map from others.
type wayName struct {
	kind string
	bits int // of the source network, or everySource
}

const everySource = -1

// begin finds out which targets take connections, and the maps that the relay is found in.
func (w *relayWork) begin(r relayOfFamily) {
	*w = relayWork{
		relayOfFamily: r, taking: w.taking[:0], idle: w.idle[:0], distinct: w.distinct[:0], ways: w.ways[:0],
		takingValues: w.takingValues[:0], idleValues: w.idleValues[:0],
	}
	for i := range w.targets {
		t := &w.targets[i]
		if !slices.ContainsFunc(w.targets[:i], func(o Target) bool { return o.Addr == t.Addr }) {
			w.distinct = append(w.distinct, *t)
		}
		if t.Weight > 0 && !t.Closing {
			w.taking = append(w.taking, *t)
		} else {
			w.idle = append(w.idle, *t)
		}
	}
	switch len(w.taking) {
	case 0:
	case 1:
		w.findWays(setRelays)
	default:
		w.findWays(setBalance)
	}
}

// findWays finds the maps that the relay is found in.
func (w *relayWork) findWays(kind string) {
	if len(w.relay.From) == 0 {
		w.ways = append(w.ways, way{set: w.way(wayName{kind, everySource})})
	}
	for _, prefix := range w.relay.From {
		if prefix.Addr().BitLen() == w.f.dest.size*8 {
			w.ways = append(w.ways, way{prefix.Masked().Addr(), w.way(wayName{kind, prefix.Bits()})})
		}
	}
}

// way is the map of that kind, made when it is not there yet.
func (w *relayWork) way(n wayName) *Set {
	if s := w.f.ways[n]; s != nil {
		return s
	}
	name, key, data := w.f.name(n.kind), w.f.endpoint, w.f.target
	if n.bits != everySource {
		w.f.lengths[n.bits] = true
		name, key = fromName(w.f, n.kind, n.bits), w.f.sourced
	}
	if n.kind == setBalance {
		data = []Field{chainField()}
	}
	s := w.set(name, key, data)
	s.Counter = n.kind == setRelays
	w.f.ways[n] = s
	return s
}

// reserve announces the elements that fill adds to the sets that every relay uses.
func (w *relayWork) reserve() {
	ports := w.relay.Listen.Ports.Width() * len(w.relay.Protocols)
	listens := ports * len(w.addrs)
	w.f.listens.reserve(listens)
	w.f.targets.reserve(ports * len(w.targets))
	for i := range w.distinct {
		if len(w.distinct[i].SNAT) == 1 {
			w.f.snat.reserve(listens)
		}
	}
	for i := range w.ways {
		w.ways[i].set.reserve(listens)
	}
}

// fill adds all that the relay needs.
func (w *relayWork) fill() {
	if len(w.taking) > 1 {
		w.slots = slotsOf(w.relay.Balance, w.taking)
		c := chooser{w.relay.Balance, len(w.slots)}
		w.chosen[c] = true
		w.chain = Value(c.lane(w.lane))
	}
	for _, proto := range w.relay.Protocols {
		w.protocol(proto)
	}
}

// protocol adds all ports of one protocol.
func (w *relayWork) protocol(proto Protocol) {
	if !w.f.protocols[proto] {
		w.f.protocols[proto] = true
	}
	var turns *Set
	if len(w.slots)+len(w.idle) > 0 {
		turns = w.set(w.f.nameOf(setTurns, proto.String()), []Field{w.f.dest, portOf(proto), slotField()}, []Field{w.f.dest, portOf(proto)})
		turns.Counter = true
	}
	for offset := range w.relay.Listen.Ports.Width() {
		port := w.relay.Listen.Ports.First + uint16(offset)
		for i := range w.targets {
			t := &w.targets[i]
			e := Endpoint{t.Addr, proto, t.Port(w.relay.Listen.Ports, port)}
			w.f.targets.add(w.key(e.appendTo(w.buf[:0])), "", w.relay.Name)
		}
		w.takingValues = w.values(w.takingValues[:0], w.taking, port)
		w.idleValues = w.values(w.idleValues[:0], w.idle, port)
		for _, addr := range w.addrs {
			e := Endpoint{addr, proto, port}
			w.listen(e, turns)
			for i, value := range w.idleValues {
				turns.add(w.key(e.appendSlot(w.buf[:0], idleSlot+i)), value, w.relay.Name)
			}
		}
	}
}

// idleSlot is the first slot that no connection ever gets: those from it on keep the counts of backends that take none now.
const idleSlot = 1 << 16

func (b *builder) key(raw []byte) Key { return Key(b.keys.keep(raw)) }

// values appends the targets as connections to the port are sent to them.
func (w *relayWork) values(values []Value, targets []Target, port uint16) []Value {
	for i := range targets {
		t := &targets[i]
		to := netip.AddrPortFrom(t.Addr, t.Port(w.relay.Listen.Ports, port))
		values = append(values, Value(w.keys.keep(appendTarget(w.buf[:0], to))))
	}
	return values
}

// listen adds one endpoint that clients dial.
func (w *relayWork) listen(e Endpoint, turns *Set) {
	key := w.key(e.appendTo(w.buf[:0]))
	w.f.listens.add(key, "", w.relay.Name)
	w.flags(key)
	w.limit(key, e.Proto)
	w.sources(e, key)
	value := w.chain
	switch len(w.takingValues) {
	case 0:
		w.flag(setClosed, key)
	case 1:
		value = w.takingValues[0]
	default:
		for slot, target := range w.slots {
			turns.add(w.key(e.appendSlot(w.buf[:0], slot)), w.takingValues[target], w.relay.Name)
		}
	}
	for i := range w.ways {
		way, k := &w.ways[i], key
		if way.source.IsValid() {
			k = w.key(e.appendFrom(w.buf[:0], way.source))
		}
		way.set.add(k, value, w.relay.Name)
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
func (w *relayWork) sources(e Endpoint, key Key) {
	var pool []netip.Addr
	for i := range w.distinct {
		t := &w.distinct[i]
		switch len(t.SNAT) {
		case 0:
		case 1:
			w.f.snat.add(w.key(e.appendToward(w.buf[:0], t.Addr)), w.f.host(t.SNAT[0]), w.relay.Name)
		default:
			pool = t.SNAT
		}
	}
	if pool == nil {
		return
	}
	pools := w.set(w.f.name(setPools), append(w.f.endpoint, slotField()), []Field{w.f.dest})
	for slot := range hashSlots {
		pools.add(w.key(appendSlot(append(w.buf[:0], key...), slot)), w.f.host(pool[slot*len(pool)/hashSlots]), w.relay.Name)
	}
}

// host is the value of a source address, each once.
func (f *familyUse) host(a netip.Addr) Value {
	v, ok := f.hosts[a]
	if !ok {
		v = addrValue(a)
		f.hosts[a] = v
	}
	return v
}
