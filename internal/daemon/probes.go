package daemon

import (
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"sync/atomic"

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
	behind atomic.Pointer[map[probe.Check][]probe.Name] // the names that led to what is checked
}

// newProbes makes them; the functions are called when something else is true than before.
func newProbes(o Options, resolver netip.AddrPort, healthChanged, namesChanged func()) *probes {
	p := &probes{
		names: probe.NewNames(probe.Options{
			Log: o.Log, Resolver: resolver, ResolvConf: resolvConf, Store: filepath.Join(o.StateDir, namesName), Changed: namesChanged,
		}),
	}
	p.health = probe.NewProber(healthChanged, p.recheck)
	return p
}

// recheck asks anew for the names of a backend that does not answer: they may have moved.
func (p *probes) recheck(c probe.Check) {
	if behind := p.behind.Load(); behind != nil {
		for _, n := range (*behind)[c] {
			p.names.Recheck(n)
		}
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

// follow checks the backends that there are now.
func (p *probes) follow(spec *nat.Spec, places []place) {
	behind := make(map[probe.Check][]probe.Name)
	for i := range places {
		for j := range places[i].backends {
			b := &places[i].backends[j]
			if b.check == (probe.Check{}) {
				continue
			}
			behind[b.check] = append(behind[b.check], namesOf(&spec.Relays[i], b.conf)...)
		}
	}
	p.behind.Store(&behind)
	p.health.Set(slices.Collect(maps.Keys(behind)))
}
