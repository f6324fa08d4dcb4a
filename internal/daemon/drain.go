package daemon

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"natd/internal/control"
	"natd/nat"
)

// setDrained drains or enables a backend of a relay, or with backend "" every one of them, and brings the kernel in line.
func (d *Daemon) setDrained(relay, backend string, drained bool) (*control.Outcome, error) {
	i := slices.IndexFunc(d.cfg.NAT.Relays, func(r nat.Relay) bool { return r.Name == relay })
	if i < 0 {
		return nil, d.noRelay(relay)
	}
	r := &d.cfg.NAT.Relays[i]
	texts, err := d.backendTexts(i, backend)
	if err != nil {
		return nil, err
	}
	if !drained {
		if texts, err = d.drainedTexts(i, backend, texts); err != nil {
			return nil, err
		}
	}
	before := maps.Clone(d.drains.byRelay)
	changed := d.drains.set(relay, texts, drained)
	if len(changed) == 0 {
		return &control.Outcome{SchemaVersion: control.SchemaVersion, Changes: []string{}, Notes: d.relayNotes(i)}, nil
	}
	if err := d.drains.save(); err != nil {
		d.drains.byRelay = before
		return nil, err
	}
	verb := map[bool]string{true: "drained", false: "enabled"}[drained]
	d.Log.Info(verb+" by request", "relay", r.Name, "backends", changed)
	d.live.Store(true)
	d.sync.steps = nil
	if err := d.pass(); err != nil {
		d.poke()
		return nil, control.Errorf(control.CodeFailed, "%s, but the kernel could not be brought in line: %w", verb, err)
	}
	changes := make([]string, 0, len(changed)+len(d.sync.steps))
	for _, text := range changed {
		changes = append(changes, fmt.Sprintf("%s backend %s of relay %s", verb, text, r.Name))
	}
	return &control.Outcome{SchemaVersion: control.SchemaVersion, Changes: append(changes, d.sync.steps...), Notes: d.relayNotes(i)}, nil
}

// relayNotes is what is not as configured of a relay.
func (d *Daemon) relayNotes(i int) []string {
	if i < len(d.placed.relays) && d.placed.relays[i].reason() != "" {
		return []string{fmt.Sprintf("relay %s: %s", d.cfg.NAT.Relays[i].Name, d.placed.relays[i].reason())}
	}
	return []string{}
}

// backendTexts is the backends of the i-th relay that a person means: "" is all of them, else it is one as the configuration has it, or
// the address of one with or without its ports, or a name.
func (d *Daemon) backendTexts(i int, meant string) ([]string, error) {
	r := &d.cfg.NAT.Relays[i]
	var texts, known []string
	for j := range r.Backends {
		b := &r.Backends[j]
		known = append(known, b.String())
		if meant == "" || meant == b.String() || meant == b.Name || b.Name == "" && meant == b.Addr.String() {
			texts = append(texts, b.String())
		}
	}
	if i < len(d.placed.relays) && len(texts) == 0 {
		for j := range d.placed.relays[i].backends {
			b := &d.placed.relays[i].backends[j]
			own := nat.Backend{Addr: b.addr, Ports: b.conf.Ports}
			if b.addr.IsValid() && (meant == own.String() || meant == b.addr.String()) {
				texts = append(texts, own.String())
			}
		}
	}
	if len(texts) == 0 {
		return nil, control.Errorf(control.CodeFailed, "relay %s has no backend %q; it has: %s", r.Name, meant, listing(known))
	}
	return texts, nil
}

// drainedTexts is what has to be enabled for the backends that a person means: a name together with those of its addresses that were
// drained alone.
func (d *Daemon) drainedTexts(i int, meant string, texts []string) ([]string, error) {
	r := &d.cfg.NAT.Relays[i]
	drained := slices.Sorted(maps.Keys(d.drains.byRelay[r.Name]))
	if meant == "" {
		return drained, nil
	}
	if i >= len(d.placed.relays) {
		return texts, nil
	}
	for j := range d.placed.relays[i].backends {
		b := &d.placed.relays[i].backends[j]
		own := nat.Backend{Addr: b.addr, Ports: b.conf.Ports}.String()
		switch {
		case b.conf.Name == "":
		case slices.Contains(texts, b.conf.String()):
			texts = add(texts, own)
		case slices.Contains(texts, own) && slices.Contains(drained, b.conf.String()):
			return nil, control.Errorf(control.CodeFailed, "%s is drained by its name: natctl enable %s %s", own, r.Name, b.conf.Name)
		}
	}
	return texts, nil
}

// noRelay is the answer to whoever mistyped a name: with the first names of the configuration.
func (d *Daemon) noRelay(name string) error {
	names := make([]string, len(d.cfg.NAT.Relays))
	for i := range names {
		names[i] = d.cfg.NAT.Relays[i].Name
	}
	return control.Errorf(control.CodeFailed, "there is no relay %q in %s; it has: %s", name, d.cfg.Path, listing(names))
}

// listing is the first names of a list.
func listing(names []string) string {
	if len(names) > relaysShown {
		names = append(slices.Clone(names[:relaysShown]), "…")
	}
	return strings.Join(names, ", ")
}
