package daemon

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"natd/internal/probe"
	"natd/nat"
	"natd/netconf"
)

// relay is a relay of ADDR:PORT, or :PORT, to the same port of 10.3.0.100.
func relay(name, listen string, change ...func(*nat.Relay)) nat.Relay {
	var at netip.AddrPort
	if listen[0] == ':' {
		at = netip.AddrPortFrom(netip.Addr{}, netip.MustParseAddrPort("0.0.0.0"+listen).Port())
	} else {
		at = netip.MustParseAddrPort(listen)
	}
	ports := nat.PortRange{First: at.Port(), Last: at.Port()}
	r := nat.Relay{
		Name: name, Listen: nat.Listen{Addr: at.Addr(), Ports: ports}, Protocols: []nat.Protocol{nat.TCP},
		Backends: []nat.Backend{{Addr: netip.MustParseAddr("10.3.0.100"), Ports: ports, Weight: 1}}, Enabled: true,
	}
	for _, c := range change {
		c(&r)
	}
	return r
}

// hostFacts is a host with 10.2.0.100 on ens5 and 10.2.9.1 on ens6, that reaches 10.3.0.100 by ens5 and itself by lo.
func hostFacts() *facts {
	source, gateway := netip.MustParseAddr("10.2.0.100"), netip.MustParseAddr("10.2.0.1")
	refused := fmt.Errorf("find the way to 192.0.2.1: %w", netconf.ErrNoRoute)
	return &facts{
		live: live{
			answer:  func(probe.Name) probe.Answer { return probe.Answer{} },
			verdict: func(probe.Check) probe.Verdict { return probe.Verdict{} },
			drained: func(string, *nat.Backend, netip.Addr) (time.Time, bool) { return time.Time{}, false },
		},
		addresses: []netconf.Address{
			{Addr: netip.MustParsePrefix("10.2.0.100/24"), Link: "ens5"},
			{Addr: netip.MustParsePrefix("10.2.9.1/24"), Link: "ens6"},
		},
		ways: map[netip.Addr]*way{
			netip.MustParseAddr("10.3.0.100"): {route: netconf.Route{Link: "ens5", Source: source, Gateway: gateway}},
			netip.MustParseAddr("10.2.9.7"):   {route: netconf.Route{Link: "ens6"}},
			netip.MustParseAddr("10.2.0.100"): {route: netconf.Route{Link: "lo", Source: source, Local: true}},
			netip.MustParseAddr("192.0.2.1"):  {err: refused},
		},
	}
}

func to(backend string) func(*nat.Relay) {
	return func(r *nat.Relay) { r.Backends[0].Addr = netip.MustParseAddr(backend) }
}

func from(mode nat.SNATMode, addr string) func(*nat.Relay) {
	return func(r *nat.Relay) {
		r.SNAT.Mode = mode
		if addr != "" {
			r.SNAT.Addrs = []netip.Addr{netip.MustParseAddr(addr)}
		}
	}
}

func by(egress string) func(*nat.Relay) { return func(r *nat.Relay) { r.Egress = egress } }

func TestPlace(t *testing.T) {
	t.Parallel()
	const here = "10.2.0.100:80"
	tests := []struct {
		name   string
		relay  nat.Relay
		addrs  string // "" = held
		snat   string
		egress string
		reason string // in part
	}{
		{"as configured", relay("a", here), "10.2.0.100", "10.2.0.100", "ens5", ""},
		{"every address", relay("a", ":80"), "10.2.0.100 10.2.9.1", "10.2.0.100", "ens5", ""},
		{"listen address is not here", relay("a", "10.2.0.77:80"), "10.2.0.77", "10.2.0.100", "ens5", "listen address 10.2.0.77 is on no interface"},
		{"egress agrees", relay("a", here, by("ens5")), "10.2.0.100", "10.2.0.100", "ens5", ""},
		{"egress differs", relay("a", here, by("ens6")), "", "", "ens5", "leaves by ens5, not by egress ens6"},
		{"fixed source", relay("a", here, from(nat.SNATFixed, "10.2.9.1")), "10.2.0.100", "10.2.9.1", "ens5", ""},
		{"fixed source is not here", relay("a", here, from(nat.SNATFixed, "10.2.9.9")), "", "", "ens5", "snat address 10.2.9.9 is on no interface"},
		{"source off", relay("a", here, from(nat.SNATOff, "")), "10.2.0.100", "", "ens5", ""},
		{"no source to have", relay("a", here, to("10.2.9.7")), "", "", "ens6", "ens6 has no address to send from"},
		{"no source needed", relay("a", here, to("10.2.9.7"), from(nat.SNATOff, "")), "10.2.0.100", "", "ens6", ""},
		{"backend is the host", relay("a", here, to("10.2.0.100")), "10.2.0.100", "", "lo", ""},
		{"no route", relay("a", here, to("192.0.2.1")), "", "", "", "backend 192.0.2.1 cannot be reached: no route"},
		{"disabled", relay("a", here, func(r *nat.Relay) { r.Enabled = false }), "", "", "", ""},
		{
			"two reasons", relay("a", "10.2.0.77:80", by("ens6")), "", "", "ens5",
			"not by egress ens6; listen address 10.2.0.77 is on no interface: add it to one, or correct listen",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			spec := &nat.Spec{Relays: []nat.Relay{tt.relay}}
			got := placeOn(hostFacts(), spec, nil).relays[0]
			if got.Held != (tt.addrs == "") || !got.Held && words(got.Addrs) != tt.addrs {
				t.Errorf("held %v on %v, want it on %q", got.Held, got.Addrs, tt.addrs)
			}
			if snat, egress := words(got.sources()), strings.Join(got.links(), ","); snat != tt.snat || egress != tt.egress {
				t.Errorf("from %s by %s, want %q by %q", snat, egress, tt.snat, tt.egress)
			}
			if reason := got.reason(); !strings.Contains(reason, tt.reason) || (reason == "") != (tt.reason == "") {
				t.Errorf("reason %q, want %q", reason, tt.reason)
			}
		})
	}
}

func words(addrs []netip.Addr) string { return strings.Join(texts(addrs), " ") }

func TestPlaceWithoutAddresses(t *testing.T) {
	t.Parallel()
	f := hostFacts()
	f.addresses = nil
	spec := &nat.Spec{Relays: []nat.Relay{relay("everywhere", ":80"), relay("here", "10.2.0.100:80")}}
	places := placeOn(f, spec, nil).relays
	if !places[0].Held || !strings.Contains(places[0].reason(), "no address yet") {
		t.Errorf("a relay of every address on a host without any: %+v", places[0])
	}
	if places[1].Held || !strings.Contains(places[1].reason(), "is on no interface") {
		t.Errorf("a relay of one address on a host without any: %+v", places[1])
	}
}

func TestPlaceRefused(t *testing.T) {
	t.Parallel()
	spec := &nat.Spec{Relays: []nat.Relay{relay("ssh", "10.2.0.100:22"), relay("web", "10.2.0.100:80")}}
	placed := placeOn(hostFacts(), spec, map[string]string{"ssh": "the port is 100% taken"})
	places := placed.relays
	if !places[0].Held || places[0].reason() != "the port is 100% taken" {
		t.Errorf("the refused relay is %+v", places[0])
	}
	if places[1].Held || places[1].reason() != "" {
		t.Errorf("the other relay is %+v", places[1])
	}
	if got := placed.placements; len(got) != 2 || !got[0].Held || got[1].Held {
		t.Errorf("placements %+v", got)
	}
}

// TestOutage wants the reason to tell what is down from what somebody drained, for the remedies differ.
func TestOutage(t *testing.T) {
	t.Parallel()
	open := relay("web", "10.2.0.100:80")
	closed := relay("web", "10.2.0.100:80", func(r *nat.Relay) { r.Fail = nat.FailClosed })
	down := []string{"backend 10.3.0.100:80 is down: refused"}
	tests := []struct {
		relay   *nat.Relay
		down    []string
		drained int
		want    string
	}{
		{&open, down, 0, `every backend is down, connections go to them all the same (fail = "open"): ` + down[0]},
		{&closed, down, 0, `every backend is down, new connections are refused (fail = "closed"): ` + down[0]},
		{&open, down, 2, `every backend is down or drained, connections go to those that are down all the same (fail = "open"): ` + down[0] + "; 2 drained: natctl enable web"},
		{&closed, down, 1, `every backend is down or drained, new connections are refused (fail = "closed"): ` + down[0] + "; 1 drained: natctl enable web"},
		{&open, nil, 1, "every backend is drained, so new connections are refused: natctl enable web"},
	}
	for _, tt := range tests {
		if got := outage(tt.relay, tt.down, tt.drained); got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
}

func TestPlaceSame(t *testing.T) {
	t.Parallel()
	place := func() *place {
		spec := &nat.Spec{Relays: []nat.Relay{relay("web", ":80")}}
		return &placeOn(hostFacts(), spec, nil).relays[0]
	}
	if !place().same(place()) {
		t.Error("the same facts make another place")
	}
	changes := map[string]func(*facts){
		"address added": func(f *facts) {
			f.addresses = append(f.addresses, netconf.Address{Addr: netip.MustParsePrefix("10.2.9.2/24"), Link: "ens6"})
		},
		"other link":    func(f *facts) { f.changeWay(func(r *netconf.Route) { r.Link = "ens6" }) },
		"other source":  func(f *facts) { f.changeWay(func(r *netconf.Route) { r.Source = netip.MustParseAddr("10.2.9.1") }) },
		"other gateway": func(f *facts) { f.changeWay(func(r *netconf.Route) { r.Gateway = netip.MustParseAddr("10.2.9.254") }) },
		"no way":        func(f *facts) { f.ways[netip.MustParseAddr("10.3.0.100")] = f.ways[netip.MustParseAddr("192.0.2.1")] },
	}
	for name, change := range changes {
		f := hostFacts()
		change(f)
		spec := &nat.Spec{Relays: []nat.Relay{relay("web", ":80")}}
		if got := &placeOn(f, spec, nil).relays[0]; got.same(place()) {
			t.Errorf("%s: not noticed", name)
		}
	}
}

func (f *facts) changeWay(change func(*netconf.Route)) {
	backend := netip.MustParseAddr("10.3.0.100")
	change(&f.ways[backend].route)
}

func TestWayInWords(t *testing.T) {
	t.Parallel()
	spec := &nat.Spec{Relays: []nat.Relay{
		relay("web", "10.2.0.100:80"), relay("near", "10.2.0.100:81", to("10.2.9.7"), from(nat.SNATOff, "")),
	}}
	places := placeOn(hostFacts(), spec, nil).relays
	got := []string{places[0].way(), places[1].way()}
	if want := []string{"by ens5 via 10.2.0.1 from 10.2.0.100", "by ens6"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// address reads an address; "" is none.
func address(s string) netip.Addr {
	a, _ := netip.ParseAddr(s)
	return a
}

// TestPlaceTakesOver wants what was decided to be taken over where nothing has changed, and nowhere else.
func TestPlaceTakesOver(t *testing.T) {
	t.Parallel()
	checked := func(r *nat.Relay) { r.Health.Interval = time.Second }
	spec := &nat.Spec{Relays: []nat.Relay{
		relay("plain", "10.2.0.100:80"), relay("any", ":81"), relay("checked", "10.2.0.100:82", checked), relay("off", "10.2.0.100:83"),
		relay("refused", "10.2.0.100:84"), relay("drained", "10.2.0.100:85"), relay("gone", "10.2.0.100:86"), relay("changed", "10.2.0.100:87"),
	}}
	spec.Relays[3].Enabled = false
	f := hostFacts()
	before := placeOn(f, spec, nil)
	taken := func(next *placed) (names []string) {
		for i := range next.relays {
			if i < len(next.spec.Relays) && slices.ContainsFunc(before.relays, func(p place) bool { return next.relays[i].shares(&p) }) {
				names = append(names, next.spec.Relays[i].Name)
			}
		}
		return names
	}
	f.live.drained = func(relay string, _ *nat.Backend, _ netip.Addr) (time.Time, bool) {
		return time.Time{}, relay == "drained"
	}
	now := &nat.Spec{Relays: slices.Concat([]nat.Relay{relay("new", "10.2.0.100:70")}, spec.Relays[:6], spec.Relays[7:])}
	now.Relays[7] = relay("changed", "10.2.0.100:88")
	next := before.anew(f, now, map[string]string{"refused": "because"})
	if got := taken(next); !slices.Equal(got, []string{"plain"}) {
		t.Errorf("taken over is %q", got)
	}
	fresh := placeOn(f, now, map[string]string{"refused": "because"})
	if !next.same(fresh) || !slices.EqualFunc(next.placements, fresh.placements, func(a, b nat.Placement) bool {
		return a.Held == b.Held && slices.Equal(a.Addrs, b.Addrs) && slices.EqualFunc(a.Targets, b.Targets, nat.Target.Same)
	}) {
		t.Error("what was taken over differs from what is decided anew")
	}
	if got := taken(before.anew(hostFacts(), spec, nil)); len(got) > 0 {
		t.Errorf("with other facts taken over is %q", got)
	}
}
