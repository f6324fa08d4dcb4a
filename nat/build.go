package nat

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Names of the sets in the table. A map of relays for sources of one prefix length has the length behind its name.
const (
	setRelays  = "relays4"
	setFrom    = "relays4_from"
	setSNAT    = "snat4"
	setListens = "listens4"
	setTargets = "targets4"
	setLogged  = "logged4"
)

// Build is the ruleset for the spec, as the placements decide about it. The number of rules depends on the features in
// use, never on the number of relays.
func Build(spec *Spec, places *Placements) *Ruleset {
	b := builder{from: make(map[int]*Set), targets: make(map[Key]string)}
	for i := range spec.Relays {
		if !places.Relays[i].Held {
			b.relay(&spec.Relays[i], &places.Relays[i])
		}
	}
	return b.ruleset(spec.Forwarding)
}

// builder collects the elements of each set.
type builder struct {
	relays, snat, listens, logged []Element
	from                          map[int]*Set // by prefix length
	targets                       map[Key]string
}

func (b *builder) relay(r *Relay, p *Placement) {
	for _, proto := range r.Protocols {
		for offset := range r.Listen.Ports.Width() {
			port := r.Listen.Ports.First + uint16(offset)
			target := netip.AddrPortFrom(p.Targets[0].Addr, p.Targets[0].Port(r.Listen.Ports, port))
			b.target(Endpoint{target.Addr(), proto, target.Port()}, r.Name)
			for _, addr := range p.Addrs {
				b.listen(r, p, Endpoint{addr, proto, port}, target)
			}
		}
	}
}

// target remembers the first relay by name that uses a backend's port: the element is shared.
func (b *builder) target(e Endpoint, name string) {
	k := e.key()
	if old, ok := b.targets[k]; !ok || name < old {
		b.targets[k] = name
	}
}

func (b *builder) listen(r *Relay, p *Placement, e Endpoint, target netip.AddrPort) {
	own := Element{Key: e.key(), Comment: r.Name}
	b.listens = append(b.listens, own)
	if r.Log {
		b.logged = append(b.logged, own)
	}
	if snat := p.Targets[0].SNAT; len(snat) > 0 {
		b.snat = append(b.snat, Element{Key: own.Key, Value: addrValue(snat[0]), Comment: r.Name})
	}
	dnat := Element{Key: own.Key, Value: addrPortValue(target), Comment: r.Name}
	if len(r.From) == 0 {
		b.relays = append(b.relays, dnat)
		return
	}
	for _, prefix := range r.From {
		dnat.Key = e.keyFrom(prefix.Masked().Addr())
		set := b.fromSet(prefix.Bits())
		set.Elements = append(set.Elements, dnat)
	}
}

func (b *builder) fromSet(bits int) *Set {
	set := b.from[bits]
	if set == nil {
		set = &Set{
			Name:    fmt.Sprintf("%s%d", setFrom, bits),
			Key:     []Field{addrField(), addrField(), protoField(), portField()},
			Data:    []Field{addrField(), portField()},
			Counter: true,
		}
		b.from[bits] = set
	}
	return set
}

func (b *builder) ruleset(policy Forwarding) *Ruleset {
	endpoint := []Field{addrField(), protoField(), portField()}
	sets := []Set{
		{Name: setRelays, Key: endpoint, Data: []Field{addrField(), portField()}, Counter: true, Elements: b.relays},
		{Name: setSNAT, Key: endpoint, Data: []Field{addrField()}, Elements: b.snat},
		{Name: setListens, Key: endpoint, Keep: true, Elements: b.listens},
		{Name: setTargets, Key: endpoint, Elements: b.targetElements()},
	}
	if len(b.logged) > 0 {
		sets = append(sets, Set{Name: setLogged, Key: endpoint, Elements: b.logged})
	}
	lengths := make([]int, 0, len(b.from))
	for bits, set := range b.from {
		lengths = append(lengths, bits)
		sets = append(sets, *set)
	}
	slices.SortFunc(lengths, func(a, b int) int { return b - a })
	slices.SortFunc(sets, func(a, b Set) int { return strings.Compare(a.Name, b.Name) })
	for i := range sets {
		sortElements(sets[i].Elements)
	}
	return &Ruleset{Chains: chains(policy, lengths, len(b.logged) > 0), Sets: sets}
}

func (b *builder) targetElements() []Element {
	elements := make([]Element, 0, len(b.targets))
	for key, name := range b.targets {
		elements = append(elements, Element{Key: key, Comment: name})
	}
	return elements
}
