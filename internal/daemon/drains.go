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
	"time"

	"natd/internal/durable"
	"natd/nat"
)

// drainsName is the file in the state directory that remembers which backends were drained by hand.
const drainsName = "drains.json"

// maxDrains bounds what is read of it.
const maxDrains = 16 << 20

// drains is the backends that were drained by hand, and since when, by relay: each as the configuration names it, or as ADDR:PORTS
// for one of the addresses of a name.
type drains struct {
	path    string
	byRelay map[string]map[string]time.Time
}

// loadDrains reads what an earlier natd wrote. A file that cannot be understood is set aside, under the name that is returned:
// that a backend takes connections again is less of a harm than a natd that does not start.
func loadDrains(path string) (d *drains, aside string, err error) {
	d = &drains{path: path, byRelay: make(map[string]map[string]time.Time)}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return d, "", nil
	}
	if err != nil {
		return nil, "", fmt.Errorf("read which backends are drained: %w", err)
	}
	defer f.Close()
	stored := make(map[string]map[string]time.Time)
	if err := json.NewDecoder(io.LimitReader(f, maxDrains)).Decode(&stored); err != nil {
		aside = path + ".corrupt"
		if err := os.Rename(path, aside); err != nil {
			return nil, "", fmt.Errorf("set the corrupt file of drained backends aside: %w", err)
		}
		return d, aside, nil
	}
	if stored != nil { // the file may say null
		d.byRelay = stored
	}
	return d, "", nil
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

// since tells whether the backend is drained, itself or as one of the addresses of its name, and since when.
func (d *drains) since(relay string, b *nat.Backend, addr netip.Addr) (time.Time, bool) {
	drained := d.byRelay[relay]
	if len(drained) == 0 {
		return time.Time{}, false // as nearly always: what else there is to do is to write names
	}
	at, ok := drained[b.String()]
	if !ok {
		at, ok = drained[nat.Backend{Addr: addr, Ports: b.Ports}.String()]
	}
	return at, ok
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
	maps.DeleteFunc(d.byRelay, func(name string, _ map[string]time.Time) bool { return relays[name] == nil })
	changed := len(d.byRelay) != before
	for name, all := range d.byRelay {
		var gone []string
		for text := range all {
			if !mayName(relays[name], text) {
				gone = append(gone, text)
			}
		}
		changed = len(d.set(name, gone, false)) > 0 || changed
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

// set drains or enables backends of a relay, and says which of them changed. A map that was handed out stays as it is.
func (d *drains) set(relay string, texts []string, drained bool) (changed []string) {
	all := maps.Clone(d.byRelay[relay])
	if all == nil {
		all = make(map[string]time.Time)
	}
	for _, text := range texts {
		if _, already := all[text]; already == drained {
			continue
		}
		changed = append(changed, text)
		if drained {
			all[text] = time.Now()
		} else {
			delete(all, text)
		}
	}
	if d.byRelay[relay] = all; len(all) == 0 {
		delete(d.byRelay, relay)
	}
	return changed
}
