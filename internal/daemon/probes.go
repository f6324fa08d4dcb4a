package daemon

import (
	"net/netip"
	"path/filepath"

	"natd/internal/config"
	"natd/internal/probe"
	"natd/nat"
)

// namesName is the file in the state directory that remembers the last good answers for names.
const namesName = "names.json"

// resolvConf is where the host says whom to ask for names: resolv.conf(5).
const resolvConf = "/etc/resolv.conf"

// probes is what natd learns about backends by itself: their health, and the addresses of their names.
type probes struct {
	health *probe.Prober
	names  *probe.Names
}

// newProbes makes them; changed is called when something else is true than before.
func newProbes(o Options, resolver netip.AddrPort, healthChanged, namesChanged func()) *probes {
	return &probes{
		health: probe.NewProber(healthChanged),
		names: probe.NewNames(probe.Options{
			Log: o.Log, Resolver: resolver, ResolvConf: resolvConf, Store: filepath.Join(o.StateDir, namesName), Changed: namesChanged,
		}),
	}
}

// ask follows the configuration: the names that it has.
func (p *probes) ask(cfg *config.Config) {
	p.names.SetResolver(cfg.Daemon.Resolver)
	p.names.Set(allNames(&cfg.NAT))
}

// allNames is every question that the relays need an answer to.
func allNames(spec *nat.Spec) (all []probe.Name) {
	seen := make(map[probe.Name]bool)
	for i := range spec.Relays {
		r := &spec.Relays[i]
		if !r.Enabled {
			continue
		}
		for j := range r.Backends {
			for _, n := range namesOf(r, &r.Backends[j]) {
				if !seen[n] {
					seen[n] = true
					all = append(all, n)
				}
			}
		}
	}
	return all
}

// follow checks the backends that there are now. The name of a backend that fails is asked for anew: it may have moved.
func (p *probes) follow(spec *nat.Spec, places []place) {
	var checks []probe.Check
	seen := make(map[probe.Check]bool)
	for i := range places {
		for j := range places[i].backends {
			b := &places[i].backends[j]
			if b.check == (probe.Check{}) {
				continue
			}
			if !seen[b.check] {
				seen[b.check] = true
				checks = append(checks, b.check)
			}
			if p.health.Verdict(b.check).Error == "" {
				continue
			}
			for _, n := range namesOf(&spec.Relays[i], b.conf) {
				p.names.Recheck(n)
			}
		}
	}
	p.health.Set(checks)
}
