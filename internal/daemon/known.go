package daemon

import (
	"context"
	"maps"
	"net/netip"

	"natd/internal/config"
	"natd/internal/control"
	"natd/internal/probe"
	"natd/netconf"
)

// known is what natd goes by, and what it knows of names and backends and no other program can find out.
func (d *Daemon) known() *control.Known {
	k := &control.Known{
		SchemaVersion: control.SchemaVersion, ConfigPath: d.cfg.Path, Names: []control.KnownName{}, Down: []control.KnownDown{},
		Drained: maps.Clone(d.drains.byRelay),
	}
	for _, n := range allNames(&d.cfg.NAT) {
		a := d.probes.names.Answer(n)
		k.Names = append(k.Names, control.KnownName{Host: n.Host, Family: n.Family.String(), Addresses: a.Addrs, Error: a.Error})
	}
	for check := range d.probes.checks() {
		if v := d.probes.health.Verdict(check); v.State == probe.Down {
			k.Down = append(k.Down, control.KnownDown{Target: check.Target, Error: v.Error})
		}
	}
	return k
}

// knowing is what a natd that runs knows of backends, and of names that are new to it what is answered now. k is nil when none runs.
func knowing(ctx context.Context, host *netconf.Host, cfg *config.Config, k *control.Known) (live, error) {
	addresses, err := host.Addresses()
	if err != nil {
		return live{}, err
	}
	if k == nil {
		k = new(control.Known)
	}
	answers := make(map[probe.Name]probe.Answer)
	for _, n := range k.Names {
		name := probe.Name{Host: n.Host}
		if len(n.Addresses) > 0 && name.Family.UnmarshalText([]byte(n.Family)) == nil {
			answers[name] = probe.Answer{Addrs: n.Addresses, Error: n.Error}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, firstAnswers)
	defer cancel()
	maps.Copy(answers, resolve(ctx, cfg, leadingHere(addresses, &cfg.NAT), func(n probe.Name) bool { return len(answers[n].Addrs) > 0 }))
	down := make(map[netip.AddrPort]probe.Verdict, len(k.Down))
	for _, d := range k.Down {
		down[d.Target] = probe.Verdict{State: probe.Down, Error: d.Error}
	}
	handmade := drains{byRelay: k.Drained}
	return live{
		answer:  func(n probe.Name) probe.Answer { return answers[n] },
		verdict: func(c probe.Check) probe.Verdict { return down[c.Target] }, // as a check that is new begins
		drained: handmade.since,
	}, nil
}
