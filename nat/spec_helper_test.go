package nat

import (
	"net/netip"
	"slices"
	"testing"
)

// clientNet is where the clients of tests are, and hostAddr what the host is called by them.
const (
	clientNet = "10.1.0.0/16"
	hostAddr  = "10.2.0.100"
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
		Backend:   Backend{addr(backend), ports(port, port)},
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
		r.Backend.Ports.Last = r.Backend.Ports.First + n - 1
	}
}

// backendPort makes the backend's range begin there.
func backendPort(first uint16) func(*Relay) {
	return func(r *Relay) { r.Backend.Ports = ports(first, first+r.Backend.Ports.Last-r.Backend.Ports.First) }
}

func anyAddress(r *Relay) { r.Listen.Addr = netip.Addr{} }

// scenario is a spec and what the host makes of it.
type scenario struct {
	policy Forwarding
	relays []Relay
	places []Placement // nil: every relay where it listens, with the host's address as source
}

func (s scenario) build() *Ruleset {
	places := s.places
	if places == nil {
		places = slices.Repeat([]Placement{served()}, len(s.relays))
	}
	return Build(&Spec{Forwarding: s.policy, Relays: s.relays}, places)
}

// served is the usual placement, at the host's addresses or those given.
func served(addrs ...string) Placement {
	p := Placement{SNAT: addr(hostAddr)}
	for _, a := range addrs {
		p.Addrs = append(p.Addrs, addr(a))
	}
	if len(addrs) == 0 {
		p.Addrs = []netip.Addr{addr(hostAddr)}
	}
	return p
}

// build is the ruleset of relays that are all served.
func build(relays ...Relay) *Ruleset { return scenario{relays: relays}.build() }

// asTable is what the kernel would hold of the ruleset.
func asTable(r *Ruleset) *Table {
	t := &Table{Generation: 1, Exists: true, Ruleset: Ruleset{Chains: slices.Clone(r.Chains), Sets: slices.Clone(r.Sets)}}
	for i := range t.Chains {
		t.Chains[i].Rules = slices.Clone(t.Chains[i].Rules)
	}
	for i := range t.Sets {
		t.Sets[i].Elements = slices.Clone(t.Sets[i].Elements)
	}
	return t
}

// set is the table's set of that name.
func (r *Ruleset) set(t *testing.T, name string) *Set {
	t.Helper()
	s := find(r.Sets, name)
	if s == nil {
		t.Fatalf("no set %s", name)
	}
	return s
}

// scenarios are the specs that the text is compared for, and that the kernel is asked to hold.
func scenarios() map[string]scenario {
	return map[string]scenario{
		"empty": {},
		"one":   {relays: []Relay{relayOf("web", 80, "10.3.0.100", from(clientNet))}},
		"open":  {policy: ForwardOpen, relays: []Relay{relayOf("web", 80, "10.3.0.100")}},
		"sources": {relays: []Relay{
			relayOf("everyone", 80, "10.3.0.100"),
			relayOf("mixed", 81, "10.3.0.101", from("10.9.9.9/32", "10.1.2.0/24", "10.1.0.0/16", "172.16.0.0/12", "0.0.0.0/0")),
			relayOf("odd", 82, "10.3.0.102", from("10.1.2.128/25", "128.0.0.0/1")),
		}},
		"ranges": {relays: []Relay{
			relayOf("same", 8000, "10.3.0.100", width(3)),
			relayOf("moved", 9000, "10.3.0.100", width(3), backendPort(19000)),
			relayOf("top", 65534, "10.3.0.100", width(2), backendPort(1)),
		}},
		"protocols": {relays: []Relay{
			relayOf("dns", 53, "10.3.0.100", protocols(TCP, UDP), from(clientNet)),
			relayOf("syslog", 514, "10.3.0.100", protocols(UDP)),
		}},
		"wildcard": {
			relays: []Relay{relayOf("any", 80, "10.3.0.100", anyAddress), relayOf("one", 81, "10.3.0.100")},
			places: []Placement{served("10.2.0.100", "10.2.0.101", "192.0.2.1"), served()},
		},
		"held": {
			relays: []Relay{
				relayOf("held", 80, "10.3.0.100", from(clientNet), logged), relayOf("served", 81, "10.3.0.101"),
				relayOf("disabled", 82, "10.3.0.102", func(r *Relay) { r.Enabled = false }),
			},
			places: []Placement{{Held: true, Addrs: []netip.Addr{addr(hostAddr)}}, served(), {Held: true}},
		},
		"snat": {
			relays: []Relay{
				relayOf("auto", 80, "10.3.0.100"),
				relayOf("fixed", 81, "10.3.0.100", func(r *Relay) { r.SNAT = SNAT{SNATFixed, addr("10.2.0.7")} }),
				relayOf("off", 82, "10.3.0.100", func(r *Relay) { r.SNAT.Mode = SNATOff }),
			},
			places: []Placement{
				served(),
				{Addrs: []netip.Addr{addr(hostAddr)}, SNAT: addr("10.2.0.7")},
				{Addrs: []netip.Addr{addr(hostAddr)}},
			},
		},
		"log": {relays: []Relay{
			relayOf("quiet", 80, "10.3.0.100"),
			relayOf("told", 81, "10.3.0.100", logged, from(clientNet), protocols(TCP, UDP)),
		}},
		"shared": {relays: []Relay{
			relayOf("zeta", 80, "10.3.0.100", backendPort(8080)),
			relayOf("alpha", 81, "10.3.0.100", backendPort(8080)),
			relayOf("mid", 82, "10.3.0.100", backendPort(8080)),
		}},
	}
}
