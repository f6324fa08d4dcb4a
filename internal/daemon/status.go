package daemon

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"natd/internal/control"
	"natd/internal/flow"
	"natd/nat"
)

// status is what the last pass found, with the counts that the kernel has now.
func (d *Daemon) status() *control.Status {
	s := &control.Status{
		SchemaVersion: control.SchemaVersion, Version: d.Version, PID: os.Getpid(), StartedAt: d.startedAt,
		Config:   control.Config{Path: d.cfg.Path, SHA256: d.cfg.SHA256, LoadedAt: d.loadedAt, Error: d.configErr},
		Host:     d.hostStatus(),
		Ruleset:  d.rulesetStatus(),
		Reasons:  []string{},
		Gateways: []any{}, Statics: []any{}, Tunnels: []any{}, Routes: []any{},
	}
	s.Relays = d.relayStatus(d.counts())
	d.judgeState(s)
	return s
}

// judgeState draws the conclusion from the parts.
func (d *Daemon) judgeState(s *control.Status) {
	s.State = control.StateReady
	s.Reasons = append(s.Reasons, d.hostProblems...)
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
	h.Conntrack = control.Conntrack{Entries: d.number(sysctlConntrackCount), Max: d.number(sysctlConntrackMax)}
	for _, c := range d.sysctls.Changed() {
		h.Sysctls = append(h.Sysctls, control.Sysctl{Key: c.Key, Old: c.Old, New: c.New})
	}
	h.Instance = d.instanceStatus()
	return h
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
		DriftRepairs: d.sync.repairs, LastDrift: d.sync.drift, LastError: d.sync.err,
	}
	if d.flushed {
		r.LastError = "removed by natctl flush; natctl reload programs it again"
	}
	return r
}

// count is what connection tracking and the counters say of one relay.
type count struct {
	connections    control.Connections
	bytes, packets control.Volume
	draining       []string
}

// counts reads the counts of every relay, by name. What cannot be read is left out: the next pass reports it.
func (d *Daemon) counts() map[string]*count {
	counts := make(map[string]*count, len(d.cfg.NAT.Relays))
	for i := range d.cfg.NAT.Relays {
		counts[d.cfg.NAT.Relays[i].Name] = &count{}
	}
	if have, err := d.kernel.Read(); err == nil {
		for name, total := range have.Connections() {
			if c := counts[name]; c != nil {
				c.connections.Total = total
			}
		}
	}
	judge := d.judge.Load()
	if judge == nil {
		return counts
	}
	err := d.conntrack.Entries(func(e *flow.Entry) {
		r, _ := judge.Relay(e)
		if r == nil || !e.Translated() {
			return
		}
		// After a reload that failed, the judge may know relays that the configuration does not.
		if c := counts[r.Name]; c != nil {
			c.add(r, e)
		}
	})
	if err != nil {
		d.Log.Warn("the connections of relays cannot be counted", "error", err)
	}
	return counts
}

func (c *count) add(r *nat.Relay, e *flow.Entry) {
	switch {
	case e.Over():
	case e.Replied():
		c.connections.Active++
	default:
		c.connections.Unreplied++
	}
	c.bytes.ToTarget += e.ToTarget.Bytes
	c.bytes.ToClient += e.ToClient.Bytes
	c.packets.ToTarget += e.ToTarget.Packets
	c.packets.ToClient += e.ToClient.Packets
	if backend := e.Reply.Src.String(); e.Reply.Src != r.Target(e.Orig.Dst.Port()) && !slices.Contains(c.draining, backend) {
		c.draining = append(c.draining, backend)
	}
}

func (d *Daemon) relayStatus(counts map[string]*count) []control.Relay {
	relays := make([]control.Relay, len(d.cfg.NAT.Relays))
	for i := range relays {
		r := &d.cfg.NAT.Relays[i]
		c := counts[r.Name]
		relays[i] = control.Relay{
			Name: r.Name, Listen: []string{r.Listen.String()},
			Protocol: texts(r.Protocols), From: texts(r.From), SNAT: []string{},
			Connections: c.connections, Bytes: c.bytes, Packets: c.packets,
			Backends: []control.Backend{{Address: r.Backend.String(), State: control.BackendUnknown, Since: d.sinceOf(r.Name)}},
		}
		for _, address := range c.draining {
			relays[i].Backends = append(relays[i].Backends,
				control.Backend{Address: address, State: control.BackendDraining, Since: d.loadedAt})
		}
		relays[i].State, relays[i].Reason = d.relayState(i)
		if i < len(d.places) && !d.flushed {
			relays[i].Egress = d.places[i].egress
			if d.places[i].SNAT.IsValid() {
				relays[i].SNAT = []string{d.places[i].SNAT.String()}
			}
		}
	}
	return relays
}

// sinceOf is since when the relay has been in the kernel, or out of it.
func (d *Daemon) sinceOf(name string) time.Time {
	if since, ok := d.since[name]; ok {
		return since
	}
	return d.loadedAt
}

func (d *Daemon) relayState(i int) (state, reason string) {
	switch {
	case !d.cfg.NAT.Relays[i].Enabled:
		return control.RelayDisabled, "enabled = false"
	case d.flushed:
		return control.RelayDown, "removed by natctl flush; natctl reload programs it again"
	case i >= len(d.places) || !d.sync.verified:
		return control.RelayDown, "it is not in the kernel: " + d.sync.err
	case d.places[i].reason() != "":
		return control.RelayDegraded, d.places[i].reason()
	case !d.forwarding && !d.places[i].here:
		return control.RelayDegraded, "the host does not forward IPv4"
	}
	return control.RelayReady, ""
}

func texts[T interface{ String() string }](values []T) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = v.String()
	}
	return out
}
