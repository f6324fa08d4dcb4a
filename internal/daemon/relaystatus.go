package daemon

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"natd/internal/control"
	"natd/internal/probe"
	"natd/nat"
)

// relayStatus is what there is to tell of some relays.
func (d *Daemon) relayStatus(all *counts, some []int) []control.Relay {
	relays := make([]control.Relay, len(some))
	for n, i := range some {
		r := &d.cfg.NAT.Relays[i]
		owner := relayOwner(r)
		c := all.known(owner)
		s := &relays[n]
		*s = control.Relay{
			Name: r.Name, Listen: []string{r.Listen.String()}, Balance: r.Balance.String(),
			Protocol: texts(r.Protocols), From: texts(r.From), SNAT: []string{},
			Connections: c.connections, Bytes: c.bytes, Packets: c.packets, Ports: all.uses[owner],
			Refused: d.lasting.refused(r.Name), LastRefused: d.lasting.lastRefused(r.Name),
		}
		s.Backends = d.backendStatus(i, c)
		s.State, s.Reason, s.Faults = d.relayState(i, s.Ports)
		if i < len(d.placed.relays) && !d.flushed {
			s.Egress = strings.Join(d.placed.relays[i].links(), ",")
			s.SNAT = texts(d.placed.relays[i].sources())
		}
	}
	return relays
}

// backendStatus is the backends as they are configured, and behind them those that connections still go to.
func (d *Daemon) backendStatus(i int, c *count) []control.Backend {
	r := &d.cfg.NAT.Relays[i]
	if i >= len(d.placed.relays) || !r.Enabled {
		return configuredBackends(r, c, d.sinceOf(i))
	}
	p := &d.placed.relays[i]
	backends := make([]control.Backend, len(p.backends))
	known := func(to netip.AddrPort) bool {
		return slices.ContainsFunc(p.backends, func(b backend) bool { return b.is(to) })
	}
	for j := range p.backends {
		b := &p.backends[j]
		found := b.found()
		backends[j] = control.Backend{
			Name: b.conf.Name, State: b.state, Reason: found.why, Since: found.since, Weight: b.conf.Weight, Backup: b.conf.Backup,
			InUse: b.weight > 0 && !p.Held,
		}
		backends[j].Probe = d.probeStatus(found.check)
		there := c.to(b.is)
		there.show(&backends[j])
		if found.since.IsZero() {
			backends[j].Since = d.sinceOf(i)
		}
		if b.addr.IsValid() {
			backends[j].Address = nat.Backend{Addr: b.addr, Ports: b.conf.Ports}.String()
		}
	}
	return append(backends, leftBackends(c, known, d.loadedAt)...)
}

// probeStatus is what the health checks came to; nil for a backend that none was made of.
func (d *Daemon) probeStatus(c probe.Check) *control.Probe {
	if c == (probe.Check{}) {
		return nil
	}
	v := d.probes.health.Verdict(c)
	if v.Probes == 0 {
		return nil
	}
	return &control.Probe{At: v.Last, Seconds: v.Took.Seconds(), Total: v.Probes, Failures: v.Failures}
}

// show puts what was counted of a backend where status has it. Open is also what was not answered yet.
func (c *count) show(b *control.Backend) {
	b.Total, b.Active = c.connections.Total, c.connections.Active+c.connections.Unreplied
	b.Unreplied, b.Refused = c.connections.Unreplied, c.connections.Refused
	b.Bytes, b.Packets = c.bytes, c.packets
}

// configuredBackends is what the file says of the backends of a relay that has no place, and what went there when it had one.
func configuredBackends(r *nat.Relay, c *count, since time.Time) []control.Backend {
	backends := make([]control.Backend, len(r.Backends))
	for i := range r.Backends {
		b := &r.Backends[i]
		backends[i] = control.Backend{Name: b.Name, State: control.BackendUnknown, Since: since, Weight: b.Weight, Backup: b.Backup}
		if b.Name == "" {
			backends[i].Address = b.String()
			there := c.to(func(to netip.AddrPort) bool { return b.Addr == to.Addr() && b.Ports.Contains(to.Port()) })
			there.show(&backends[i])
		}
	}
	return backends
}

// leftBackends is the backends that left the relay, and that connections still go to.
func leftBackends(c *count, known func(netip.AddrPort) bool, since time.Time) (left []control.Backend) {
	for to, one := range c.targets {
		b := control.Backend{
			Address: to.String(), State: control.BackendDraining, Since: since, Weight: 1,
			Reason: "it left the relay, and connections still go there",
		}
		if one.show(&b); b.Active > 0 && !known(to) {
			left = append(left, b)
		}
	}
	slices.SortFunc(left, func(a, b control.Backend) int { return cmp.Compare(a.Address, b.Address) })
	return left
}

// sinceOf is since when the relay has been in the kernel, or out of it.
func (d *Daemon) sinceOf(i int) time.Time {
	if d.tenure != nil && !d.tenure.since[i].IsZero() {
		return d.tenure.since[i]
	}
	return d.loadedAt
}

// portsWarned is the share of the source ports towards one target, in percent, from which on a relay is degraded: it runs out
// of them without a sound.
const portsWarned = 75

func (d *Daemon) relayState(i int, ports *control.PortUse) (state, reason string, faults control.Faults) {
	if !d.cfg.NAT.Relays[i].Enabled {
		return control.RelayDisabled, "enabled = false", faults
	}
	if absent := d.absent(len(d.placed.relays) > i); absent != "" {
		return control.RelayDown, absent, control.Faults{Host: absent}
	}
	p := &d.placed.relays[i]
	reasons := []string{p.reason()}
	wrong := p.noted()
	faults.Target = wrong.unreached
	if len(wrong.faults) > 0 {
		faults.Host = wrong.faults[0]
	}
	if !p.here() && !d.forwardsTo(i) {
		off := "the host does not forward " + d.unforwarded(i)
		reasons, faults.Host = append(reasons, off), cmp.Or(faults.Host, off)
	}
	if ports != nil && ports.Used*100 >= ports.Max*portsWarned {
		reasons = append(reasons, fmt.Sprintf("%d of %d source ports of %s towards %s are in use: add addresses to snat, or backends",
			ports.Used, ports.Max, ports.Source, ports.Target))
	}
	reason = strings.Join(slices.DeleteFunc(reasons, func(why string) bool { return why == "" }), "; ")
	switch {
	case wrong.down:
		return control.RelayDown, reason, faults
	case reason != "":
		return control.RelayDegraded, reason, faults
	}
	return control.RelayReady, "", faults
}

// absent is why something that is to be in the kernel is not, whatever the host's network is like; "" when it may be. There is a
// place for it from the first pass on.
func (d *Daemon) absent(placed bool) string {
	switch {
	case d.flushed:
		return flushedReason
	case !placed || !d.sync.verified:
		return "it is not in the kernel: " + d.sync.err
	}
	return ""
}

// flushedReason is why nothing is in the kernel after a flush.
const flushedReason = "removed by natctl flush; natctl reload programs it again"

// forwardsTo tells whether the host forwards the families of the relay.
func (d *Daemon) forwardsTo(i int) bool { return d.unforwarded(i) == "" }

// unforwarded is the family of the relay that the host does not forward; "" when it forwards all.
func (d *Daemon) unforwarded(i int) string {
	for _, t := range d.placed.relays[i].Targets {
		switch {
		case t.Addr.Is4() && !d.forwarding:
			return "IPv4"
		case t.Addr.Is6() && !d.forwarding6:
			return "IPv6"
		}
	}
	return ""
}
