package flow

import (
	"net/netip"
	"testing"

	"natd/nat"
)

// refusing is a judge of relays to one target or several, of which some have limits.
func refusing(relays ...nat.Relay) *Judge {
	spec := &nat.Spec{Relays: relays, ReportRefused: true}
	places := &nat.Placements{}
	for i := range relays {
		r := &relays[i]
		p := nat.Placement{Addrs: []netip.Addr{addrPort(host + ":1").Addr()}}
		for _, b := range r.Backends {
			p.Targets = append(p.Targets, nat.Target{Addr: b.Addr, Ports: b.Ports, Weight: 1})
		}
		places.Relays = append(places.Relays, p)
	}
	return &Judge{Spec: spec, Places: places, Index: nat.NewIndex(spec, []netip.Addr{addrPort(host + ":1").Addr()})}
}

func limited(r *nat.Relay) { r.MaxPerSource = 1 }

// Whose a refused packet was follows from what was dialled, or else from the one relay with limits that goes there.
func TestRefusedOwner(t *testing.T) {
	t.Parallel()
	web := relay("web", 80, "10.3.0.100:8080", nat.TCP, limited)
	tests := map[string]struct {
		relays          []nat.Relay
		dialled, target string
		want            string // the owner
		told            string // what was dialled, then
	}{
		"told":             {[]nat.Relay{web}, host + ":80", "10.3.0.100:8080", "web", host + ":80"},
		"found":            {[]nat.Relay{web}, "10.3.0.100:8080", "10.3.0.100:8080", "web", host + ":80"},
		"another port":     {[]nat.Relay{web}, "10.3.0.100:8081", "10.3.0.100:8081", "", "10.3.0.100:8081"},
		"another host":     {[]nat.Relay{web}, "10.3.0.101:8080", "10.3.0.101:8080", "", "10.3.0.101:8080"},
		"without limits":   {[]nat.Relay{relay("web", 80, "10.3.0.100:8080", nat.TCP)}, "10.3.0.100:8080", "10.3.0.100:8080", "", "10.3.0.100:8080"},
		"another protocol": {[]nat.Relay{relay("web", 80, "10.3.0.100:8080", nat.UDP, limited)}, "10.3.0.100:8080", "10.3.0.100:8080", "", "10.3.0.100:8080"},
		"a source it does not admit": {
			[]nat.Relay{relay("web", 80, "10.3.0.100:8080", nat.TCP, limited, func(r *nat.Relay) { r.From = prefixes("10.9.0.0/16") })},
			"10.3.0.100:8080", "10.3.0.100:8080", "", "10.3.0.100:8080",
		},
		"two that go there": {
			[]nat.Relay{web, relay("other", 81, "10.3.0.100:8080", nat.TCP, limited)}, "10.3.0.100:8080", "10.3.0.100:8080", "", "10.3.0.100:8080",
		},
		"translated by nobody known": {[]nat.Relay{web}, "10.2.0.200:80", "10.3.0.100:8080", "", "10.2.0.200:80"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := &Refused{Proto: nat.TCP, From: addrPort("10.1.0.5:40000"), Dialled: addrPort(tt.dialled), Target: addrPort(tt.target)}
			if got := refusing(tt.relays...).Refused(p); got.Name != tt.want || p.Dialled != addrPort(tt.told) {
				t.Errorf("it is %+v's, and %v was dialled; want %q and %s", got, p.Dialled, tt.want, tt.told)
			}
		})
	}
}
