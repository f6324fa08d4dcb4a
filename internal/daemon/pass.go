package daemon

import (
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
	if text := err.Error(); d.lastStatus != text {
		d.lastStatus = text
		d.Log.Error("the kernel could not be brought in line, trying again", "error", err)
	}
	d.sync.err = err.Error()
}

// refresh places the relays anew if the network may have changed, and builds what is wanted if that makes a difference.
func (d *Daemon) refresh() (looked bool, err error) {
	if !d.network.Swap(false) && d.want != nil {
		return false, nil
	}
	places, f, err := d.placeAll(d.cfg, d.refused)
	if err != nil {
		d.network.Store(true)
		return false, err
	}
	d.facts = f
	d.metadata.hope(f.instance.hopeful(places))
	if d.want != nil && slices.EqualFunc(places, d.places, place.same) {
		return true, nil
	}
	d.reportPlaces(places)
	d.rememberPlaces(places)
	d.places, d.index = places, nat.NewIndex(&d.cfg.NAT, f.local())
	d.want = nat.Build(&d.cfg.NAT, placements(places))
	d.sync.verified, d.sync.settled, d.sync.due = false, false, true
	d.judge.Store(d.newJudge(nil))
	return true, nil
}

// placeAll places the relays of a configuration, and finds those that may not take their port. Those are added to refused
// and stay there until a reload: a service that is restarted must find its port again.
func (d *Daemon) placeAll(cfg *config.Config, refused map[string]string) ([]place, *facts, error) {
	f, err := gather(d.host, &cfg.NAT)
	if err != nil {
		return nil, nil, err
	}
	if f.instance, err = d.instance(f.addresses); err != nil {
		return nil, nil, err
	}
	places := f.place(&cfg.NAT, refused)
	if !d.newcomers(cfg, places) {
		return places, f, nil
	}
	listeners, err := d.host.Listeners()
	if err != nil {
		return nil, nil, fmt.Errorf("find the ports of local services: %w", err)
	}
	maps.Copy(refused, conflicts(&cfg.NAT, places, f.local(), listeners, d.had))
	return f.place(&cfg.NAT, refused), f, nil
}

// newcomers tells whether a relay is to have a port that it has not had yet.
func (d *Daemon) newcomers(cfg *config.Config, places []place) bool {
	for i := range places {
		if r := &cfg.NAT.Relays[i]; !places[i].Held && !r.OverrideLocal && !d.had[claim(r)] {
			return true
		}
	}
	return false
}

// relaysShown is how many relays a change is reported for one by one. When an interface goes, all of a hundred thousand
// relays have the same to say.
const relaysShown = 10

// reportPlaces logs the relays whose reason changed. Relays that the same configuration finds elsewhere than before, or
// again, are one repair of what happened to the network.
func (d *Daemon) reportPlaces(places []place) {
	changed := 0
	var moved []string
	for i := range places {
		r, p, before := &d.cfg.NAT.Relays[i], &places[i], place{}
		if d.want != nil {
			before = d.places[i]
		}
		if p.reason() != before.reason() {
			if changed++; changed <= relaysShown {
				d.reportPlace(r.Name, p)
			}
		}
		again := d.want != nil && d.had[claim(r)] && !p.Held && len(p.reasons) == 0
		if again && !p.sameWay(before) && len(moved) < stepsShown {
			moved = append(moved, fmt.Sprintf("relay %s: %s", r.Name, p.way()))
		}
	}
	if changed > relaysShown {
		d.Log.Warn("more relays changed: see natctl status", "relays", changed-relaysShown)
	}
	if len(moved) > 0 {
		d.countRepair("", append([]string{"followed a change of the network"}, moved...))
		d.Log.Info("followed a change of the network", "relays", strings.Join(moved, "; "))
	}
}

// rememberPlaces notes who has its port, and since when.
func (d *Daemon) rememberPlaces(places []place) {
	now := time.Now()
	for i := range places {
		r := &d.cfg.NAT.Relays[i]
		if places[i].Held {
			delete(d.since, r.Name)
			continue
		}
		if r.Listen.Any() || d.facts.linkOf(r.Listen.Addr) != "" {
			d.had[claim(r)] = true // not before: when the address comes, its ports may be those of a local service
		}
		if _, ok := d.since[r.Name]; !ok {
			d.since[r.Name] = now
		}
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
	case !d.ready && err == nil && (anyPlaced(d.places) || !anyEnabled(&d.cfg.NAT)):
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
	return slices.ContainsFunc(spec.Relays, func(r nat.Relay) bool { return r.Enabled })
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
	served := 0
	for i := range d.places {
		if !d.places[i].Held {
			served++
		}
	}
	parts := []string{fmt.Sprintf("%d of %d relays in the kernel", served, len(d.places))}
	line := strings.Join(append(parts, disabledNotes(&d.cfg.NAT)...), "; ")
	if wrong := d.shortfalls(); len(wrong) > 0 {
		line += "; degraded: " + strings.Join(wrong, "; ")
	}
	if d.configErr != "" {
		first, _, _ := strings.Cut(d.configErr, "\n")
		line += "; the last reload was refused: " + first
	}
	return line
}

// shortfalls is what is not as configured, of the relays and of the host.
func (d *Daemon) shortfalls() []string {
	return append(shortfalls(&d.cfg.NAT, d.places), d.hostProblems...)
}

// shortfalls names the first relays that are not as configured, and how many more there are.
func shortfalls(spec *nat.Spec, places []place) (wrong []string) {
	more := 0
	for i := range places {
		switch reason := places[i].reason(); {
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
	return wrong
}
