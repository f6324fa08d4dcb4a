package daemon

import (
	"fmt"
	"net/netip"
	"os"
	"strconv"

	"natd/internal/control"
	"natd/internal/flow"
	"natd/nat"
)

// status is what the last pass found of everything but relays, gateways and statics. Its reasons are those of the host.
func (d *Daemon) status() *control.Status {
	return &control.Status{
		SchemaVersion: control.SchemaVersion, Version: d.Version, PID: os.Getpid(), StartedAt: d.startedAt,
		Config:  control.Config{Path: d.cfg.Path, SHA256: d.cfg.SHA256, LoadedAt: d.loadedAt, Error: d.configErr},
		Host:    d.hostStatus(),
		Ruleset: d.rulesetStatus(),
		Metrics: d.web.status(),
		Names:   d.nameStatus(),
		Reasons: append([]string{}, d.problems()...),
		FlowLog: d.flowlog.state(),
		Tunnels: []any{}, Routes: []any{},
	}
}

// view is a copy of what is told of relays, gateways and statics, for another goroutine. What it shares with the original is never changed.
func (d *Daemon) view() *Daemon {
	return &Daemon{
		cfg: d.cfg, loadedAt: d.loadedAt, flushed: d.flushed, probes: d.probes, placed: d.placed, tenure: d.tenure.clone(),
		want: d.want, lasting: d.lasting.clone(), forwarding: d.forwarding, forwarding6: d.forwarding6,
		sync: syncState{verified: d.sync.verified, err: d.sync.err},
	}
}

// complete adds to the status what there is to say of relays, gateways and statics.
func (d *Daemon) complete(s *control.Status, c *counts, all *census) {
	if !c.accounting.Exact {
		d.lasting.each(func(owner flow.Owner, target netip.AddrPort, total uint64) {
			c.of(owner, target).connections.Total = total
		})
	}
	s.Accounting = c.accounting
	s.Summary = all.summary
	s.Relays, s.Gateways, s.Statics = d.relayStatus(c, all.told), d.gatewayStatus(c), d.staticStatus(c)
	judgeState(s, all.wrong)
}

// census is what the relays are, in short.
type census struct {
	summary control.Summary
	wrong   []string // the first that are not as configured, with the reasons, and how many more there are
	told    []int    // those to tell of
}

// census counts the relays, and chooses those to tell of.
func (d *Daemon) census(c *counts, which *control.StatusArgs) *census {
	relays := d.cfg.NAT.Relays
	all := &census{summary: control.Summary{Total: len(relays), States: make(map[string]int)}, told: make([]int, 0, len(relays))}
	var unwell []int
	wrong := 0
	for i := range relays {
		state, reason, _ := d.relayState(i, c.uses[relayOwner(&relays[i])])
		all.summary.States[state]++
		bad := state != control.RelayReady && state != control.RelayDisabled
		if bad {
			if wrong++; wrong <= relaysShown {
				all.wrong = append(all.wrong, "relay "+relays[i].Name+": "+reason)
			}
		}
		if !which.Matches(relays[i].Name, state) {
			continue
		}
		all.told = append(all.told, i)
		if bad {
			unwell = append(unwell, i)
		}
	}
	if wrong > relaysShown {
		all.wrong = append(all.wrong, fmt.Sprintf("and %d more relays", wrong-relaysShown))
	}
	if asked := len(all.told); which.Most > 0 && asked > which.Most {
		all.told = unwell[:min(len(unwell), which.Most)]
		all.summary.Left = asked - len(all.told)
	}
	return all
}

func relayOwner(r *nat.Relay) flow.Owner { return flow.Owner{Kind: flow.KindRelay, Name: r.Name} }

// judgeState draws the conclusion from the parts: the reasons that the status has already, which are the host's, those of relays, and
// what the status says of gateways and statics.
func judgeState(s *control.Status, relays []string) {
	s.State = control.StateReady
	s.Reasons = append(s.Reasons, relays...)
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
