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

	taking []Target // those that take new connections
	slots  []int    // in taking, by slot
	chain  Value    // that chooses the slot
}

// choose finds out which targets take connections, and how one is chosen when there are several.
func (w *relayWork) choose(lane int) {
	for _, t := range w.targets {
		if t.Weight > 0 && !t.Closing {
			w.taking = append(w.taking, t)
		}
	}
	if len(w.taking) < 2 {
		return
	}
	w.slots = slotsOf(w.relay.Balance, w.taking)
	c := chooser{w.relay.Balance, len(w.slots)}
	w.chosen[c] = true
	w.chain = Value(c.lane(lane))
}

// port adds one port of the relay at all of its addresses.
func (w *relayWork) port(proto Protocol, port uint16) {
	for _, t := range w.targets {
		w.f.target(Endpoint{t.Addr, proto, t.Port(w.relay.Listen.Ports, port)}, w.relay.Name)
	}
	for _, addr := range w.addrs {
		e := Endpoint{addr, proto, port}
		key := e.key()
		w.set(w.f.name(setListens), nil, nil).add(key, "", w.relay.Name)
		w.flags(key)
		w.limit(key, proto)
		w.sources(e)
		switch len(w.taking) {
		case 0:
			w.flag(setClosed, key)
		case 1:
			w.single(e, key)
		default:
			w.several(e, key)
		}
	}
}

// target remembers the first relay by name that uses a backend's port: the element is shared.
func (f *familyUse) target(e Endpoint, name string) {
	k := e.key()
	if old, ok := f.targets[k]; !ok || name < old {
		f.targets[k] = name
	}
}

// flag puts what clients dial into a set of such.
func (w *relayWork) flag(kind string, key Key) {
	w.set(w.f.name(kind), w.f.endpoint(), nil).add(key, "", w.relay.Name)
}

// flags is the features that are a set each.
func (w *relayWork) flags(key Key) {
	if w.relay.Log {
		w.flag(setLogged, key)
	}
	if mss := w.relay.MSS; mss.Off || mss.Size > 0 {
		w.flag(setUnclamped, key)
		if mss.Size > 0 {
			w.set(w.f.name(setMSS), w.f.endpoint(), []Field{mssField()}).add(key, mssValue(mss.Size), w.relay.Name)
		}
	}
}

// single sends connections to the one backend that takes them.
func (w *relayWork) single(e Endpoint, key Key) {
	t := &w.taking[0]
	value := addrPortValue(netip.AddrPortFrom(t.Addr, t.Port(w.relay.Listen.Ports, e.Port)))
	if len(w.relay.From) == 0 {
		w.relays(w.f).add(key, value, w.relay.Name)
		return
	}
	w.from(e, func(bits int, key Key) {
		s := w.set(fromName(w.f, setRelays, bits), append([]Field{w.f.source}, w.f.endpoint()...), []Field{w.f.dest, portField()})
		s.Counter = true
		s.add(key, value, w.relay.Name)
	})
}

// several sends connections to the chain that chooses one of the backends.
func (w *relayWork) several(e Endpoint, key Key) {
	if len(w.relay.From) == 0 {
		w.set(w.f.name(setBalance), w.f.endpoint(), []Field{chainField()}).add(key, w.chain, w.relay.Name)
	}
	w.from(e, func(bits int, key Key) {
		w.set(fromName(w.f, setBalance, bits), append([]Field{w.f.source}, w.f.endpoint()...), []Field{chainField()}).
			add(key, w.chain, w.relay.Name)
	})
	turns := w.set(w.f.nameOf(setTurns, e.Proto.String()), []Field{w.f.dest, portOf(e.Proto), slotField()}, []Field{w.f.dest, portOf(e.Proto)})
	turns.Counter = true
	values := make([]Value, len(w.taking))
	for i := range w.taking {
		values[i] = addrPortValue(netip.AddrPortFrom(w.taking[i].Addr, w.taking[i].Port(w.relay.Listen.Ports, e.Port)))
	}
	port := e.portKey()
	for slot, target := range w.slots {
		turns.add(port.slot(slot), values[target], w.relay.Name)
	}
}

// from calls add with the length of each source prefix of the family, and the key that has it in front.
func (w *relayWork) from(e Endpoint, add func(bits int, key Key)) {
	for _, prefix := range w.relay.From {
		if prefix.Addr().BitLen() == e.Addr.BitLen() {
			w.f.lengths[prefix.Bits()] = true
			add(prefix.Bits(), e.keyFrom(prefix.Masked().Addr()))
		}
	}
}

// fromName is the name of the map for sources of one prefix length.
func fromName(f *familyUse, kind string, bits int) string {
	return f.nameOf(kind, fmt.Sprintf("from%d", bits))
}

// sources adds the source addresses towards each backend: several targets may have one address. A pool is the same
// towards all of them; nft has no registers for two IPv6 addresses, a port, a slot and what that is the hash of.
func (w *relayWork) sources(e Endpoint) {
	var pool []netip.Addr
	for i, t := range w.targets {
		if slices.ContainsFunc(w.targets[:i], func(o Target) bool { return o.Addr == t.Addr }) {
			continue
		}
		switch len(t.SNAT) {
		case 0:
		case 1:
			w.set(w.f.name(setSNAT), nil, nil).add(e.keyTo(t.Addr), addrValue(t.SNAT[0]), w.relay.Name)
		default:
			pool = t.SNAT
		}
	}
	if pool == nil {
		return
	}
	pools := w.set(w.f.name(setPools), append(w.f.endpoint(), slotField()), []Field{w.f.dest})
	key := e.key()
	for slot := range hashSlots {
		pools.add(key.slot(slot), addrValue(pool[slot*len(pool)/hashSlots]), w.relay.Name)
	}
}
