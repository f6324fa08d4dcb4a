package daemon

import (
	"net/netip"
	"strings"
	"testing"

	"natd/internal/probe"
	"natd/nat"
	"natd/netconf"
)

// manyPorts makes the relay one of this many ports.
func manyPorts(n int) func(*nat.Relay) {
	return func(r *nat.Relay) {
		r.Listen.Ports = nat.PortRange{First: 10000, Last: uint16(9999 + n)}
		r.Backends[0].Ports = r.Listen.Ports
	}
}

// TestRoomForAddresses wants a relay of too many ports for the addresses that the host has to be held back alone.
func TestRoomForAddresses(t *testing.T) {
	t.Parallel()
	f := hostFacts()
	for i := range 200 {
		a := netip.PrefixFrom(netip.AddrFrom4([4]byte{172, 17, byte(i), 1}), 24)
		f.addresses = append(f.addresses, netconf.Address{Addr: a, Link: "docker0"})
	}
	spec := &nat.Spec{Relays: []nat.Relay{
		relay("few", ":80"), relay("many", ":90", manyPorts(20_000)), relay("one", "10.2.0.100:90", manyPorts(20_000)), relay("last", ":81"),
	}}
	places := placeOn(f, spec, nil).relays
	for i, held := range []bool{false, true, false, false} {
		if p := &places[i]; p.Held != held || held != strings.Contains(p.reason(), "202 addresses are more than the kernel can hold") {
			t.Errorf("relay %s is held: %v, because %q; want %v", spec.Relays[i].Name, p.Held, p.reason(), held)
		}
	}
}

// TestRoomForAnswers wants the addresses of names to share what room there is, each name with one at least.
func TestRoomForAnswers(t *testing.T) {
	t.Parallel()
	f := hostFacts()
	var answer []netip.Addr
	for i := range 200 {
		answer = append(answer, netip.AddrFrom4([4]byte{10, 9, 0, byte(i)}))
		f.ways[answer[i]] = f.ways[netip.MustParseAddr("10.3.0.100")]
	}
	f.live.answer = func(probe.Name) probe.Answer { return probe.Answer{Addrs: answer} }
	named := func(r *nat.Relay) { r.Backends[0] = nat.Backend{Name: "db.internal", Ports: r.Listen.Ports, Weight: 1} }
	twice := func(r *nat.Relay) {
		r.Backends = append(r.Backends, nat.Backend{Addr: answer[199], Ports: r.Listen.Ports, Weight: 1})
	}
	spec := &nat.Spec{Relays: []nat.Relay{
		relay("small", "10.2.0.100:80", named), relay("wide", "10.2.0.100:90", manyPorts(40_000), named), relay("both", "10.2.0.100:81", named, twice),
	}}
	places := placeOn(f, spec, nil).relays
	for i, want := range []struct {
		addresses int
		reason    string
	}{{200, ""}, {3, "db.internal has 200 addresses, which are not all used"}, {200, ""}} {
		if p := &places[i]; len(p.backends) != want.addresses || !strings.HasPrefix(p.reason(), want.reason) || want.reason == "" && p.reason() != "" {
			t.Errorf("relay %s has %d addresses, because %q; want %d", spec.Relays[i].Name, len(p.backends), p.reason(), want.addresses)
		}
	}
}
