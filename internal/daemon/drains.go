package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"

	"natd/internal/control"
	"natd/internal/durable"
	"natd/nat"
)

// drainsName is the file in the state directory that remembers which backends were drained by hand.
const drainsName = "drains.json"

// maxDrains bounds what is read of it.
const maxDrains = 16 << 20

// drains is the backends that were drained by hand, by relay: each as the configuration names it, or as ADDR:PORTS for one of
// the addresses of a name.
type drains struct {
	path    string
	byRelay map[string][]string
}

// loadDrains reads what an earlier natd wrote. A file that cannot be understood is an error: to forget a drain silently would
// send connections to a backend that somebody works on.
func loadDrains(path string) (*drains, error) {
	d := &drains{path: path, byRelay: make(map[string][]string)}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return d, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read which backends are drained: %w", err)
	}
	defer f.Close()
	if err := json.NewDecoder(io.LimitReader(f, maxDrains)).Decode(&d.byRelay); err != nil {
		return nil, fmt.Errorf("read which backends are drained: %s: %w: remove it to drain none", path, err)
	}
	if d.byRelay == nil { // the file says null
		d.byRelay = make(map[string][]string)
	}
	return d, nil
}

// save writes the file whole, under its name at once.
func (d *drains) save() error {
	data, err := json.Marshal(d.byRelay)
	if err != nil {
		return fmt.Errorf("write which backends are drained: %w", err)
	}
	if err := durable.Replace(d.path, data); err != nil {
		return fmt.Errorf("write which backends are drained: %w", err)
	}
	return nil
}

// has tells whether the backend is drained, itself or as one of the addresses of its name.
func (d *drains) has(relay string, b *nat.Backend, addr netip.Addr) bool {
	for _, text := range d.byRelay[relay] {
		if text == b.String() || text == (nat.Backend{Addr: addr, Ports: b.Ports}).String() {
			return true
		}
	}
	return false
}

// forget drops what was drained of relays and backends that the configuration does not have any more, and tells whether there was
// something.
func (d *drains) forget(spec *nat.Spec) bool {
	relays := make(map[string]*nat.Relay, len(d.byRelay))
	for i := range spec.Relays {
		if r := &spec.Relays[i]; d.byRelay[r.Name] != nil {
			relays[r.Name] = r
		}
	}
	before := len(d.byRelay)
	maps.DeleteFunc(d.byRelay, func(name string, _ []string) bool { return relays[name] == nil })
	changed := len(d.byRelay) != before
	for name, texts := range d.byRelay {
		kept := slices.DeleteFunc(slices.Clone(texts), func(text string) bool { return !mayName(relays[name], text) })
		changed = changed || len(kept) < len(texts)
		if d.byRelay[name] = kept; len(kept) == 0 {
			delete(d.byRelay, name)
		}
	}
	return changed
}

// forgetDrains forgets what the configuration that runs does not have.
func (d *Daemon) forgetDrains() {
	if !d.drains.forget(&d.cfg.NAT) {
		return
	}
	if err := d.drains.save(); err != nil {
		d.Log.Warn("backends that are drained no more could not be forgotten", "error", err)
	}
}

// mayName tells whether the text is, or may become, a backend of the relay: any address may be one of a name.
func mayName(r *nat.Relay, text string) bool {
	return slices.ContainsFunc(r.Backends, func(b nat.Backend) bool { return b.Name != "" || b.String() == text })
}

// set drains or enables backends of a relay, and says which of them changed.
func (d *drains) set(relay string, texts []string, drained bool) (changed []string) {
	for _, text := range texts {
		if slices.Contains(d.byRelay[relay], text) != drained {
			changed = append(changed, text)
		}
	}
	if drained {
		d.byRelay[relay] = append(d.byRelay[relay], changed...)
		return changed
	}
	left := slices.DeleteFunc(slices.Clone(d.byRelay[relay]), func(text string) bool { return slices.Contains(changed, text) })
	if d.byRelay[relay] = left; len(left) == 0 {
		delete(d.byRelay, relay)
	}
	return changed
}

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
	if !drained && backend == "" {
		texts = slices.Clone(d.drains.byRelay[relay])
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
