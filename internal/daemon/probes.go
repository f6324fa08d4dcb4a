package daemon

import (
	"context"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"natd/internal/config"
	"natd/internal/probe"
	"natd/nat"
	"natd/netconf"
)

// namesName is the file in the state directory that remembers the last good answers for names.
const namesName = "names.json"

// resolvConf is where the host says whom to ask for names: resolv.conf(5).
const resolvConf = "/etc/resolv.conf"

// probes is what natd learns about backends by itself: their health, and the addresses of their names.
type probes struct {
	health *probe.Prober
	names  *probe.Names
	here   atomic.Pointer[map[netip.Addr]bool]          // the addresses that lead to this host
	behind atomic.Pointer[map[probe.Check][]probe.Name] // the names that led to what is checked
}

// newProbes makes them; the functions are called when something else is true than before.
func newProbes(o Options, resolver netip.AddrPort, healthChanged, namesChanged func()) *probes {
	p := new(probes)
	p.here.Store(new(map[netip.Addr]bool))
	p.names = probe.NewNames(probe.Options{
		Log: o.Log, Resolver: resolver, ResolvConf: resolvConf, Store: filepath.Join(o.StateDir, namesName), Changed: namesChanged,
		Here: func(a netip.Addr) bool { return (*p.here.Load())[a] },
	})
	p.health = probe.NewProber(healthChanged, p.recheck)
	return p
}

// recheck asks anew for the names of a backend that does not answer: they may have moved.
func (p *probes) recheck(c probe.Check) {
	for _, n := range p.checks()[c] {
		p.names.Recheck(n)
	}
}

// ask follows the configuration: the names that it has, and tells whether there are any.
func (p *probes) ask(cfg *config.Config) bool {
	names := allNames(&cfg.NAT)
	p.names.SetResolver(cfg.Daemon.Resolver)
	p.names.Set(names)
	return len(names) > 0
}

// firstAnswers is how long natd waits for the answers to names that are new to it, before it goes on without.
const firstAnswers = 2 * time.Second

// learn asks for the names of a configuration that have no address yet, so that its relays are placed once and not, a moment later,
// again. It must not be called in the loop.
func (p *probes) learn(ctx context.Context, cfg *config.Config) {
	ctx, cancel := context.WithTimeout(ctx, firstAnswers)
	defer cancel()
	here := maps.Clone(*p.here.Load())
	maps.Copy(here, leadingHere(nil, &cfg.NAT))
	p.names.Learn(nil) // what was learned for a configuration that was then refused is of another time
	p.names.Learn(resolve(ctx, cfg, here, func(n probe.Name) bool { return len(p.names.Answer(n).Addrs) > 0 }))
}

// resolve asks once for the names of a configuration, but for those that are known.
func resolve(ctx context.Context, cfg *config.Config, here map[netip.Addr]bool, known func(probe.Name) bool) map[probe.Name]probe.Answer {
	return probe.Resolve(ctx, probe.Options{
		Resolver: cfg.Daemon.Resolver, ResolvConf: resolvConf, Here: func(a netip.Addr) bool { return here[a] },
	}, slices.DeleteFunc(allNames(&cfg.NAT), known))
}

// leadingHere is the addresses whose packets come to this host: its own, and what relays listen on, for that may be routed here.
func leadingHere(addresses []netconf.Address, spec *nat.Spec) map[netip.Addr]bool {
	here := make(map[netip.Addr]bool)
	for _, a := range addresses {
		here[a.Addr.Addr()] = true
	}
	for i := range spec.Relays {
		if r := &spec.Relays[i]; r.Enabled && !r.Listen.Any() {
			here[r.Listen.Addr] = true
		}
	}
	return here
}

// stand tells where this host is, and what its relays listen on.
func (p *probes) stand(addresses []netconf.Address, spec *nat.Spec) {
	here := leadingHere(addresses, spec)
	p.here.Store(&here)
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

// checks is everything that is checked.
func (p *probes) checks() map[probe.Check][]probe.Name {
	if behind := p.behind.Load(); behind != nil {
		return *behind
	}
	return nil
}

// follow checks the backends that there are now, and tells whether more is known of them than when they were placed: a check that
// is new may take over what another found.
func (p *probes) follow(spec *nat.Spec, places []place) (more bool) {
	behind := make(map[probe.Check][]probe.Name)
	for i := range places {
		for j := range places[i].backends {
			b := &places[i].backends[j]
			if check := b.found().check; check != (probe.Check{}) {
				behind[check] = append(behind[check], namesOf(&spec.Relays[i], b.conf)...)
			}
		}
	}
	p.behind.Store(&behind)
	return p.health.Set(slices.Collect(maps.Keys(behind)))
}
