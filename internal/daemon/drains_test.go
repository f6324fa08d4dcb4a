package daemon

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"natd/internal/config"
	"natd/nat"
)

// TestEnableByName wants a name to stand for its addresses when it is enabled, and an address not to undo what was said of its name.
func TestEnableByName(t *testing.T) {
	t.Parallel()
	r := relay("web", "10.2.0.100:80")
	named := nat.Backend{Name: "db.internal", Ports: r.Listen.Ports, Weight: 1}
	r.Backends = append(r.Backends, named)
	spec := nat.Spec{Relays: []nat.Relay{r}}
	d := &Daemon{cfg: &config.Config{NAT: spec}, drains: &drains{byRelay: make(map[string]map[string]time.Time)}}
	d.placed.relays = []place{{backends: []backend{
		{conf: &spec.Relays[0].Backends[0], addr: netip.MustParseAddr("10.3.0.100")},
		{conf: &spec.Relays[0].Backends[1], addr: netip.MustParseAddr("10.3.0.5")},
	}}}
	for _, tt := range []struct {
		drained []string
		meant   string
		want    []string // nil = an error
	}{
		{[]string{"10.3.0.5:80"}, "db.internal", []string{"db.internal:80", "10.3.0.5:80"}},
		{[]string{"10.3.0.5:80"}, "10.3.0.5", []string{"10.3.0.5:80"}},
		{[]string{"db.internal:80"}, "10.3.0.5", nil},
		{[]string{"db.internal:80", "10.3.0.100:80"}, "", []string{"10.3.0.100:80", "db.internal:80"}},
		{[]string{"db.internal:80"}, "10.3.0.100:80", []string{"10.3.0.100:80"}},
	} {
		delete(d.drains.byRelay, "web")
		d.drains.set("web", tt.drained, true)
		texts, err := d.backendTexts(0, tt.meant)
		if err == nil {
			texts, err = d.drainedTexts(0, tt.meant, texts)
		}
		if !slices.Equal(texts, tt.want) || (err != nil) != (tt.want == nil) {
			t.Errorf("%v drained, enable %q: %v %v, want %v", tt.drained, tt.meant, texts, err, tt.want)
		}
	}
}

// TestDrainsOfNothing loads files that have nothing in them, or nothing that makes sense: natd starts, and can drain.
func TestDrainsOfNothing(t *testing.T) {
	t.Parallel()
	for content, corrupt := range map[string]bool{"null": false, "{}": false, "": true, "[1]": true, `{"web":["10.3.0.100:80"]}`: true} {
		path := filepath.Join(t.TempDir(), drainsName)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		d, aside, err := loadDrains(path)
		if err != nil {
			t.Fatal(err)
		}
		if (aside != "") != corrupt {
			t.Errorf("%q: set aside to %q", content, aside)
		}
		if kept, err := os.ReadFile(aside); corrupt && (err != nil || string(kept) != content) {
			t.Errorf("%q: what was set aside is %q: %v", content, kept, err)
		}
		if changed := d.set("web", []string{"10.3.0.100:80"}, true); len(changed) != 1 {
			t.Errorf("%q: drained %v, want one backend", content, changed)
		}
	}
}
