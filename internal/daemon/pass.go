package daemon

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"natd/internal/config"
	"natd/nat"
)

// startPatience is how much longer the service manager is asked to wait for a natd that has nothing to show yet.
const startPatience = 90 * time.Second

// pass looks at everything and brings the kernel in line.
func (d *Daemon) pass() error {
	if d.flushed {
		return nil
	}
	looked, err := d.refresh()
	if err == nil && looked {
		d.settleAccounting()
	}
	if err == nil {
		err = d.reach()
	}
	if err == nil && looked {
		err = d.settleHost()
	}
	if err != nil {
		d.complain(err)
	}
	d.announce(err)
	return err
}

// complain reports a failure once, not at every try.
func (d *Daemon) complain(err error) {
	d.sync.verified = false
	if _, paced := errors.AsType[*pacedError](err); !paced {
		d.sync.failures++
	}
	if text := err.Error(); d.lastStatus != text {
		d.lastStatus = text
		d.Log.Error("the kernel could not be brought in line, trying again", "error", err)
	}
	d.sync.err = err.Error()
}

// refresh looks at the network, if that may have changed, and at what changes by itself. It places anew what that makes a difference
// for, and builds what is wanted.
func (d *Daemon) refresh() (looked bool, err error) {
	network, live := d.network.Swap(false), d.live.Swap(false)
	if !network && !live && d.want != nil {
		return false, nil
	}
	f, err := d.factsFor(&d.cfg.NAT, network)
	if err == nil {
		d.facts = f
	}
	if err == nil && (network || d.want == nil) && d.cfg.FlowLog.On() {
		err = d.flowlog.know(d.flowHost())
	}
	if err == nil && (live || d.want == nil || f != d.placed.facts) {
		err = d.replace(f)
	}
	if err != nil {
		d.network.Store(true)
		if live {
			d.live.Store(true) // the next look may find the network as it was, and nothing else to place anew for
		}
	}
	return err == nil, err
}

// replace places everything anew, and builds what is wanted if that makes a difference.
func (d *Daemon) replace(f *facts) error {
	next, err := d.placeAll(d.cfg, d.refused, f)
	if err != nil {
		return err
	}
	if f != d.before().facts || d.want == nil {
		d.probes.stand(f.addresses, &d.cfg.NAT)
	}
	if d.probes.follow(&d.cfg.NAT, next.relays) {
		next = next.anew(f, &d.cfg.NAT, d.refused)
	}
	if d.idle != nil && !next.presumes() {
		d.idle = nil // every backend has spoken for itself since then
	}
	d.metadata.hope(f.instance.hopeful(next.relays))
	if d.want == nil || f != d.placed.facts {
		d.index = nat.NewIndex(&d.cfg.NAT, f.local()) // the host may have addresses that make no other place
	}
	if d.want != nil && next.same(&d.placed) {
		d.placed = *next // the words about a backend that is down may be others
		return nil
	}
	d.reportPlaces(next)
	d.reportFast(&next.fast)
	d.rememberPlaces(next.relays, next.statics)
	d.placed, d.former = *next, placed{}
	d.want = d.builds.Build(&d.cfg.NAT, next.all())
	d.sync.verified, d.sync.settled, d.sync.due = false, false, true
	d.judge.Store(d.newJudge(nil))
	d.meter.wake()
	d.tidy.later(len(next.relays))
	return nil
}

// placeAll places everything in a configuration, and finds what may not take its port or address. That is added to refused
// and stays there until a reload: a service that is restarted must find its port again.
func (d *Daemon) placeAll(cfg *config.Config, refused map[string]string, f *facts) (*placed, error) {
	next := d.before().anew(f, &cfg.NAT, refused)
	had := d.tenure
	if had.spec != &cfg.NAT {
		had = had.of(&cfg.NAT)
	}
	if !newcomers(next, had) {
		return next, nil
	}
	listeners, err := d.host.Listeners()
	if err != nil {
		return nil, fmt.Errorf("find the ports of local services: %w", err)
	}
	taken := conflicts(&cfg.NAT, next, listeners, had)
	if len(taken) == 0 {
		return next, nil
	}
	maps.Copy(refused, taken)
	return next.anew(f, &cfg.NAT, refused), nil
}

// factsFor is what the spec depends on. With anew the host is asked; what is as it was stays the same. Without, what it said before still
// holds, but for backends that are new.
func (d *Daemon) factsFor(spec *nat.Spec, anew bool) (*facts, error) {
	l := live{answer: d.probes.names.Answer, verdict: d.probes.health.Verdict, drained: d.drains.since, idle: d.idle, slow: d.fast.slow}
	if !anew && d.facts != nil {
		d.facts.live = l
		return d.facts, d.facts.lookUp(d.host, spec)
	}
	began := time.Now()
	f, err := d.hostFacts(spec, l)
	if err == nil {
		err = f.lookUp(d.host, spec)
	}
	d.gathered.note(began)
	if err == nil && d.facts != nil && f.same(d.facts) {
		d.facts.live = l
		d.facts.keep(f)
		return d.facts, nil
	}
	return f, err
}

// hostFacts is the facts without the ways to backends.
func (d *Daemon) hostFacts(spec *nat.Spec, l live) (*facts, error) {
	f, err := survey(d.host, d.sysctls, spec, l)
	if err != nil {
		return nil, err
	}
	f.instance, err = d.instance(f.addresses)
	return f, err
}

// before is what was placed last, whichever configuration it is of.
func (d *Daemon) before() *placed {
	if d.placed.spec == nil {
		return &d.former
	}
	return &d.placed
}

// newcomers tells whether something is to have a port or address that it has not had yet.
func newcomers(next *placed, had *tenure) bool {
	for i := range next.relays {
		if r := &next.spec.Relays[i]; !next.relays[i].Held && !r.OverrideLocal && !had.relay(i) {
			return true
		}
	}
	for i := range next.statics {
		if st := &next.spec.Statics[i]; !next.statics[i].Held && !st.OverrideLocal && !had.static(i) {
			return true
		}
	}
	return false
}

// relaysShown is how many relays a change is reported for one by one. When an interface goes, all of a hundred thousand
// relays have the same to say.
const relaysShown = 10

// reportPlaces logs what has another reason than before. Relays that the same configuration finds elsewhere than before, or
// again, are one repair of what happened to the network.
func (d *Daemon) reportPlaces(next *placed) {
	known := d.want != nil
	changed := 0
	var moved []string
	none := place{Placement: new(nat.Placement)}
	for i := range next.relays {
		r, p, before := &d.cfg.NAT.Relays[i], &next.relays[i], &none
		if known {
			before = &d.placed.relays[i]
		}
		if p.shares(before) {
			continue
		}
		if p.reason() != before.reason() {
			if changed++; changed <= relaysShown {
				d.reportPlace(r.Name, p)
			}
		}
		again := known && d.tenure.relay(i) && !p.Held && len(p.noted().reasons) == 0
		if again && p.sameBackends(before) && !p.sameWay(before) && len(moved) < stepsShown {
			moved = append(moved, fmt.Sprintf("relay %s: %s", r.Name, p.way()))
		}
	}
	if changed > relaysShown {
		d.Log.Warn("more relays changed: see natctl status", "relays", changed-relaysShown)
	}
	d.reportSpots("gateway", next.gateways, d.placed.gateways, known, func(i int) string { return d.cfg.NAT.Gateways[i].Name })
	d.reportSpots("static", next.statics, d.placed.statics, known, func(i int) string { return d.cfg.NAT.Statics[i].Name })
	if len(moved) > 0 {
		d.countRepair(&d.sync.repaired.Network, "", append([]string{"followed a change of the network"}, moved...))
		d.Log.Info("followed a change of the network", "relays", strings.Join(moved, "; "))
	}
}

// reportSpots logs the gateways or statics whose reason changed.
func (d *Daemon) reportSpots(kind string, next, before []spot, known bool, name func(int) string) {
	for i := range next {
		was := ""
		if known {
			was = before[i].reason()
		}
		switch reason := next[i].reason(); reason {
		case was:
		case "":
			d.Log.Info("gateway or static is as configured again", kind, name(i))
		default:
			d.Log.Warn("gateway or static is not as configured", kind, name(i), "reason", reason)
		}
	}
}

// rememberPlaces notes who has its port or address, and relays since when.
func (d *Daemon) rememberPlaces(places []place, statics []spot) {
	now := time.Now()
	for i := range places {
		r := &d.cfg.NAT.Relays[i]
		if places[i].Held {
			d.tenure.since[i] = time.Time{}
			continue
		}
		if r.Listen.Any() || d.facts.linkOf(r.Listen.Addr) != "" {
			d.tenure.had[i] = true // not before: when the address comes, its ports may be those of a local service
		}
		if d.tenure.since[i].IsZero() {
			d.tenure.since[i] = now
		}
	}
	for i := range statics {
		d.tenure.statics[i] = d.tenure.statics[i] || !statics[i].Held
	}
}

func (d *Daemon) reportPlace(name string, p *place) {
	if reason := p.reason(); reason != "" {
		d.Log.Warn("relay is not as configured", "relay", name, "reason", reason)
		return
	}
	d.Log.Info("relay is as configured again", "relay", name, "way", p.way())
}

// announce tells the service manager. READY means proven: the rules were read back, and unless nothing is to be relayed,
// at least one relay is among them.
func (d *Daemon) announce(err error) {
	status := d.headline(err)
	switch {
	case !d.ready && err == nil && (d.placed.any() || !anyEnabled(&d.cfg.NAT)):
		d.ready = true
		d.Notify.Ready(status)
		d.Log.Info("ready", "status", status)
	case !d.ready:
		d.Notify.Status(status)
	case status != d.lastStatus:
		d.Notify.Status(status)
	}
	if err == nil {
		d.lastStatus = status
	}
}

func anyEnabled(spec *nat.Spec) bool {
	return slices.ContainsFunc(spec.Relays, func(r nat.Relay) bool { return r.Enabled }) ||
		slices.ContainsFunc(spec.Gateways, func(g nat.Gateway) bool { return g.Enabled }) ||
		slices.ContainsFunc(spec.Statics, func(st nat.Static) bool { return st.Enabled })
}

// disabledNotes tells a user whose relays are in order, but all disabled.
func disabledNotes(spec *nat.Spec) []string {
	if len(spec.Relays) == 0 || anyEnabled(spec) {
		return []string{}
	}
	return []string{"every relay is disabled"}
}

// headline is the state of everything in one line.
func (d *Daemon) headline(err error) string {
	if err != nil {
		return "failed: " + err.Error()
	}
	line := strings.Join(slices.Concat(d.placed.told().served, disabledNotes(&d.cfg.NAT)), "; ")
	if wrong := d.shortfalls(); len(wrong) > 0 {
		line += "; degraded: " + strings.Join(wrong, "; ")
	}
	if d.configErr != "" {
		first, _, _ := strings.Cut(d.configErr, "\n")
		line += "; the last reload was refused: " + first
	}
	return line
}

// shortfalls is what is not as configured, of everything and of the host.
func (d *Daemon) shortfalls() []string {
	return slices.Concat(d.placed.told().wrong, d.problems())
}

// shortfalls names the first things that are not as configured, and how many more relays there are.
func shortfalls(p *placed) (wrong []string) {
	spec := p.spec
	more := 0
	for i := range p.relays {
		switch reason := p.relays[i].reason(); {
		case reason == "":
		case len(wrong) == relaysShown:
			more++
		default:
			wrong = append(wrong, fmt.Sprintf("relay %s: %s", spec.Relays[i].Name, reason))
		}
	}
	if more > 0 {
		wrong = append(wrong, fmt.Sprintf("and %d more relays", more))
	}
	for i := range p.gateways {
		if reason := p.gateways[i].reason(); reason != "" {
			wrong = append(wrong, fmt.Sprintf("gateway %s: %s", spec.Gateways[i].Name, reason))
		}
	}
	for i := range p.statics {
		if reason := p.statics[i].reason(); reason != "" {
			wrong = append(wrong, fmt.Sprintf("static %s: %s", spec.Statics[i].Name, reason))
		}
	}
	return wrong
}
