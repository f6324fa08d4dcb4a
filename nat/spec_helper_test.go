package nat

import (
	"net/netip"
	"slices"
	"testing"
	"time"
)

// clientNet is where the clients of tests are, and hostAddr what the host is called by them.
const (
	clientNet = "10.1.0.0/16"
	hostAddr  = "10.2.0.100"
	hostAddr6 = "fd00:10:2::100"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func ports(first, last uint16) PortRange { return PortRange{first, last} }

func endpoint(address string, proto Protocol, port uint16) Endpoint {
	return Endpoint{addr(address), proto, port}
}

// relayOf is an enabled TCP relay of the host's port to the same port of the backend, for every source; edits change it.
func relayOf(name string, port uint16, backend string, edits ...func(*Relay)) Relay {
	r := Relay{
		Name:      name,
		Listen:    Listen{addr(hostAddr), ports(port, port)},
		Protocols: []Protocol{TCP},
		Backends:  []Backend{{Addr: addr(backend), Ports: ports(port, port), Weight: 1}},
		Enabled:   true,
	}
	for _, edit := range edits {
		edit(&r)
	}
	return r
}

func from(sources ...string) func(*Relay) {
	return func(r *Relay) {
		for _, s := range sources {
			r.From = append(r.From, netip.MustParsePrefix(s))
		}
	}
}

func protocols(p ...Protocol) func(*Relay) { return func(r *Relay) { r.Protocols = p } }

func logged(r *Relay) { r.Log = true }

// width makes the relay's ranges so many ports wide.
func width(n uint16) func(*Relay) {
	return func(r *Relay) {
		r.Listen.Ports.Last = r.Listen.Ports.First + n - 1
		for i := range r.Backends {
			r.Backends[i].Ports.Last = r.Backends[i].Ports.First + n - 1
		}
	}
}

// backendPort makes the backend's range begin there.
func backendPort(first uint16) func(*Relay) {
	return func(r *Relay) {
		b := &r.Backends[0]
		b.Ports = ports(first, first+uint16(b.Ports.Width())-1)
	}
}

// also makes the relay go to more backends, each with its weight, at the ports of the first.
func also(weight int, backends ...string) func(*Relay) {
	return func(r *Relay) {
		for _, b := range backends {
			r.Backends = append(r.Backends, Backend{Addr: addr(b), Ports: r.Backends[0].Ports, Weight: weight})
		}
	}
}

func weigh(first int) func(*Relay) { return func(r *Relay) { r.Backends[0].Weight = first } }

func balanced(b Balance) func(*Relay) { return func(r *Relay) { r.Balance = b } }

func listen(a string) func(*Relay) { return func(r *Relay) { r.Listen.Addr = addr(a) } }

func anyAddress(r *Relay) { r.Listen.Addr = netip.Addr{} }

// scenario is a spec and what the host makes of it.
type scenario struct {
	policy   Forwarding
	relays   []Relay
	places   map[string]func(*Placement) // by the name of the relay: what the host makes of it else than usual
	gateways []Gateway
	statics  []Static
	reports  bool
	answered time.Duration // more than 0: what is repeated is reported
	fast     []string      // the interfaces of the fast path
}

func (s scenario) build() *Ruleset { return Build(s.placed()) }

// placed is the spec and its placements.
func (s scenario) placed() (*Spec, *Placements) {
	places := &Placements{
		Relays:   make([]Placement, len(s.relays)),
		Gateways: make([]Placement, len(s.gateways)),
		Statics:  make([]Placement, len(s.statics)),
		Answered: s.answered, FastLinks: s.fast,
	}
	for i := range s.relays {
		places.Relays[i] = placed(&s.relays[i])
		if edit := s.places[s.relays[i].Name]; edit != nil {
			edit(&places.Relays[i])
		}
	}
	for i := range s.gateways {
		places.Gateways[i].Addrs = s.gateways[i].SNAT.Addrs
	}
	for i := range s.statics {
		places.Statics[i].Addrs = s.statics[i].SNAT.Addrs
	}
	return &Spec{s.policy, s.relays, s.gateways, s.statics, s.fast != nil, s.reports, s.answered > 0}, places
}

// placed is the usual placement: the relay listens where it says or at the host's address, every backend takes
// connections, and the host's address is their source.
func placed(r *Relay) Placement {
	p := Placement{Addrs: []netip.Addr{r.Listen.Addr}}
	if r.Listen.Any() {
		p.Addrs = []netip.Addr{addr(hostAddr)}
	}
	for _, b := range r.Backends {
		source := addr(hostAddr)
		if b.Addr.Is6() {
			source = addr(hostAddr6)
		}
		p.Targets = append(p.Targets, Target{Addr: b.Addr, Ports: b.Ports, Weight: b.Weight, SNAT: []netip.Addr{source}})
	}
	return p
}

// at puts the relay at other addresses of the host.
func at(addrs ...string) func(*Placement) {
	return func(p *Placement) { p.Addrs = addresses(addrs...) }
}

// sources are the source addresses towards every target.
func sources(addrs ...string) func(*Placement) {
	return func(p *Placement) {
		for i := range p.Targets {
			p.Targets[i].SNAT = addresses(addrs...)
		}
	}
}

// weights are the shares of the targets.
func weights(all ...int) func(*Placement) {
	return func(p *Placement) {
		for i, w := range all {
			p.Targets[i].Weight = w
		}
	}
}

func held(p *Placement) { p.Held = true }

func addresses(texts ...string) (addrs []netip.Addr) {
	for _, t := range texts {
		addrs = append(addrs, addr(t))
	}
	return addrs
}

func prefixes(texts ...string) (all []netip.Prefix) {
	for _, t := range texts {
		all = append(all, netip.MustParsePrefix(t))
	}
	return all
}

// build is the ruleset of relays that are all served.
func build(relays ...Relay) *Ruleset { return scenario{relays: relays}.build() }

// asTable is what the kernel would hold of the ruleset.
func asTable(r *Ruleset) *Table {
	t := &Table{Generation: 1, Exists: true, Ruleset: Ruleset{Chains: slices.Clone(r.Chains), Sets: slices.Clone(r.Sets), FastPath: r.FastPath}}
	for i := range t.Chains {
		t.Chains[i].Rules = slices.Clone(t.Chains[i].Rules)
	}
	for i := range t.Sets {
		t.Sets[i].Elements = slices.Clone(t.Sets[i].Elements)
	}
	return t
}

// set is the table's set of that name.
func (r *Ruleset) set(t testing.TB, name string) *Set {
	t.Helper()
	s := find(r.Sets, name)
	if s == nil {
		t.Fatalf("no set %s", name)
	}
	return s
}
