package daemon

import (
	"fmt"
	"os"
	"strconv"

	"natd/internal/control"
)

// status is what the last pass found, with the counts of the meter; nil where it does not tell.
func (d *Daemon) status(counted *counts) *control.Status {
	s := &control.Status{
		SchemaVersion: control.SchemaVersion, Version: d.Version, PID: os.Getpid(), StartedAt: d.startedAt,
		Config:  control.Config{Path: d.cfg.Path, SHA256: d.cfg.SHA256, LoadedAt: d.loadedAt, Error: d.configErr},
		Host:    d.hostStatus(),
		Ruleset: d.rulesetStatus(),
		Metrics: d.web.status(),
		Names:   d.nameStatus(),
		Reasons: []string{},
		Tunnels: []any{}, Routes: []any{},
	}
	counts := d.counts(counted)
	s.Accounting = counts.accounting
	s.Relays, s.Gateways, s.Statics = d.relayStatus(counts), d.gatewayStatus(counts), d.staticStatus(counts)
	s.FlowLog = d.flowlog.state()
	d.judgeState(s)
	return s
}

// judgeState draws the conclusion from the parts.
func (d *Daemon) judgeState(s *control.Status) {
	s.State = control.StateReady
	s.Reasons = append(s.Reasons, d.problems()...)
	wrong := 0
	for i := range s.Relays {
		if r := &s.Relays[i]; r.State != control.RelayReady && r.State != control.RelayDisabled {
			if wrong++; wrong <= relaysShown {
				s.Reasons = append(s.Reasons, "relay "+r.Name+": "+r.Reason)
			}
		}
	}
	if wrong > relaysShown {
		s.Reasons = append(s.Reasons, fmt.Sprintf("and %d more relays", wrong-relaysShown))
	}
	for _, g := range s.Gateways {
		if g.State != control.RelayReady && g.State != control.RelayDisabled {
			s.Reasons = append(s.Reasons, "gateway "+g.Name+": "+g.Reason)
		}
	}
	for _, st := range s.Statics {
		if st.State != control.RelayReady && st.State != control.RelayDisabled {
			s.Reasons = append(s.Reasons, "static "+st.Name+": "+st.Reason)
		}
	}
	if len(s.Reasons) > 0 {
		s.State = control.StateDegraded
	}
	if !s.Ruleset.InSync {
		s.State = control.StateFailed
		s.Reasons = append([]string{"the kernel does not hold what natd wants: " + s.Ruleset.LastError}, s.Reasons...)
	}
}

func (d *Daemon) hostStatus() control.Host {
	h := control.Host{Sysctls: []control.Sysctl{}}
	h.IPForward, _ = d.sysctls.Forwarding() // what cannot be read is reported by the pass
	h.Forward6, _ = d.sysctls.Forwarding6()
	h.Conntrack = d.conntrackUse()
	h.Conntrack.Ended = d.sync.ended
	if s, err := d.conntrack.Stats(); err == nil {
		h.Conntrack.Stats = (*control.ConntrackStats)(&s)
	} else {
		d.Log.Debug("the statistics of connection tracking cannot be read", "error", err)
	}
	h.ENA, h.Flowtable = d.enaStatus(), d.fastStatus()
	for _, c := range d.sysctls.Changed() {
		h.Sysctls = append(h.Sysctls, control.Sysctl{Key: c.Key, Old: c.Old, New: c.New})
	}
	h.Instance = d.instanceStatus()
	return h
}

// enaStatus is what Amazon's driver says, where there is one.
func (d *Daemon) enaStatus() []control.ENA {
	adapters := []control.ENA{}
	allowances, err := d.host.Allowances()
	if err != nil {
		d.Log.Debug("the allowances of the instance cannot be read", "error", err)
	}
	for _, a := range allowances {
		adapters = append(adapters, control.ENA{Device: a.Link, Exceeded: a.Exceeded, ConntrackAvailable: a.Available})
	}
	return adapters
}

// nameStatus is what is known of the names of backends.
func (d *Daemon) nameStatus() []control.Name {
	names := []control.Name{}
	for _, n := range allNames(&d.cfg.NAT) {
		a := d.probes.names.Answer(n)
		names = append(names, control.Name{
			Name: n.Host, Family: n.Family.String(), Addresses: texts(a.Addrs), AskedAt: a.Asked, AnsweredAt: a.Answered,
			Failures: a.Failures, Error: a.Error,
		})
	}
	return names
}

// instanceStatus is what AWS said last; nil when it said nothing.
func (d *Daemon) instanceStatus() *control.Instance {
	known := d.metadata.last()
	if known == nil {
		return nil
	}
	id := known.identity
	s := &control.Instance{
		ID: id.ID, Type: id.Type, Account: id.Account, Region: id.Region, Zone: id.Zone, ZoneID: id.ZoneID, Image: id.Image,
		AsOf: known.asked, Error: known.failure, Interfaces: []control.NetworkInterface{},
	}
	for i := range id.Interfaces {
		eni := &id.Interfaces[i]
		n := control.NetworkInterface{
			MAC: eni.MAC, ID: eni.ID, DeviceNumber: eni.Device, VPC: eni.VPC, Subnet: eni.Subnet,
			Addresses: texts(eni.Addrs), Prefixes: texts(eni.Prefixes), Public: []control.PublicAddress{},
		}
		if d.facts != nil && d.facts.instance != nil {
			n.Device = d.facts.instance.device(eni)
		}
		for _, p := range eni.Public {
			n.Public = append(n.Public, control.PublicAddress{Public: p.Public.String(), Private: p.Private.String()})
		}
		s.Interfaces = append(s.Interfaces, n)
	}
	return s
}

// conntrackUse is how full the table of tracked connections is.
func (d *Daemon) conntrackUse() control.Conntrack {
	return control.Conntrack{Entries: d.number(sysctlConntrackCount), Max: d.number(sysctlConntrackMax)}
}

// number is a setting's value; 0 while connection tracking is not loaded.
func (d *Daemon) number(key string) int {
	text, err := d.sysctls.Get(key)
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(text)
	return n
}

func (d *Daemon) rulesetStatus() control.Ruleset {
	r := control.Ruleset{
		InSync: d.sync.verified && !d.flushed, Protect: d.hold.Protect.String(), LastSync: d.sync.at,
		DriftRepairs: int(d.sync.repairs()), LastDrift: d.sync.drift, LastError: d.sync.err,
		Repairs: d.sync.repaired, Syncs: control.Syncs{Failures: d.sync.failures, Durations: d.sync.durations.histogram()},
	}
	if d.flushed {
		r.LastError = "removed by natctl flush; natctl reload programs it again"
	}
	return r
}

func texts[T interface{ String() string }](values []T) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = v.String()
	}
	return out
}
