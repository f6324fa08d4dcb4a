package daemon

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"natd/internal/config"
	"natd/internal/control"
	"natd/internal/probe"
	"natd/nat"
)

// TestFaults wants what is wrong to be told of where it is, and to be no fault while connections go on.
func TestFaults(t *testing.T) {
	t.Parallel()
	second := func(addr string) func(*nat.Relay) {
		return func(r *nat.Relay) {
			b := r.Backends[0]
			b.Addr = netip.MustParseAddr(addr)
			r.Backends = append(r.Backends, b)
		}
	}
	checked := func(r *nat.Relay) { r.Health.Interval = time.Second }
	for name, c := range map[string]struct {
		relay        nat.Relay
		host, target string // in part
	}{
		"well":                 {relay("web", "10.2.0.100:80"), "", ""},
		"no such address":      {relay("web", "10.2.0.77:80"), "listen address 10.2.0.77", ""},
		"no route":             {relay("web", "10.2.0.100:80", to("192.0.2.1")), "", "backend 192.0.2.1 cannot be reached"},
		"no route to one":      {relay("web", "10.2.0.100:80", second("192.0.2.1")), "", ""},
		"no source":            {relay("web", "10.2.0.100:80", to("10.2.9.7")), "ens6 has no address", ""},
		"no source to one":     {relay("web", "10.2.0.100:80", second("10.2.9.7")), "", ""},
		"no such source":       {relay("web", "10.2.0.100:80", from(nat.SNATFixed, "10.2.0.55")), "snat address 10.2.0.55", ""},
		"one source of two":    {relay("web", "10.2.0.100:80", from(nat.SNATFixed, "10.2.0.100"), alsoFrom("10.2.0.55")), "", ""},
		"elsewhere":            {relay("web", "10.2.0.100:80", func(r *nat.Relay) { r.Egress = "ens6" }), "not by egress ens6", ""},
		"down":                 {relay("web", "10.2.0.100:80", checked), "", "every backend is down"},
		"no address, and down": {relay("web", "10.2.0.77:80", checked), "listen address", "every backend is down"},
	} {
		f := hostFacts()
		f.live.verdict = func(probe.Check) probe.Verdict { return probe.Verdict{State: probe.Down, Error: "refused"} }
		d := &Daemon{forwarding: true, sync: syncState{verified: true}}
		d.cfg = &config.Config{NAT: nat.Spec{Relays: []nat.Relay{c.relay}}}
		d.placed.relays = placeOn(f, &d.cfg.NAT, nil).relays
		state, reason, faults := d.relayState(0, nil)
		if !like(faults.Host, c.host) || !like(faults.Target, c.target) || !strings.Contains(reason, faults.Host) || !strings.Contains(reason, faults.Target) {
			t.Errorf("%s: %s, %q, %+v", name, state, reason, faults)
		}
		if (reason == "") != (state == control.RelayReady) {
			t.Errorf("%s: %s, %q", name, state, reason)
		}
	}
}

// like tells whether a fault is the one that is wanted.
func like(got, want string) bool { return (got == "") == (want == "") && strings.Contains(got, want) }

func alsoFrom(addr string) func(*nat.Relay) {
	return func(r *nat.Relay) { r.SNAT.Addrs = append(r.SNAT.Addrs, netip.MustParseAddr(addr)) }
}
