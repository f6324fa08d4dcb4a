package metrics

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"natd/internal/control"
)

// update is "go test ./internal/metrics -update", after a look at what changed.
func update() bool { f := flag.Lookup("update"); return f != nil && f.Value.String() == "true" }

func TestMain(m *testing.M) {
	flag.Bool("update", false, "write the golden file anew")
	flag.Parse()
	os.Exit(m.Run())
}

const golden = "testdata/full.prom"

// full is a status that has something of everything.
func full() *control.Status {
	at := time.Date(2026, 11, 21, 7, 49, 10, 250e6, time.UTC)
	free := uint64(120000)
	return &control.Status{
		State:      control.StateDegraded,
		Config:     control.Config{LoadedAt: at},
		Accounting: control.Accounting{Exact: true, Since: at, Lost: 2},
		Ruleset: control.Ruleset{
			InSync: true, LastSync: at, Repairs: control.Repairs{Ruleset: 3, Host: 2, Network: 1},
			Syncs: control.Syncs{Failures: 4, Durations: control.Histogram{
				Count: 3, Sum: 1.25, Buckets: []control.Bucket{{Most: 0.0025, Count: 1}, {Most: 1, Count: 2}},
			}},
		},
		Host: control.Host{
			IPForward: true,
			Conntrack: control.Conntrack{Entries: 19, Max: 262144, Ended: 5, Stats: &control.ConntrackStats{
				Invalid: 1, InsertFailed: 2, Drop: 3, EarlyDrop: 4, Error: 5, SearchRestart: 6, ClashResolve: 7, ChainTooLong: 8,
			}},
			ENA: []control.ENA{{Device: "ens5", Exceeded: map[string]uint64{"pps": 7, "bw_in": 1}, ConntrackAvailable: &free}, {Device: "ens6"}},
		},
		Names:   []control.Name{{Name: "c.example", Family: "ipv4", Addresses: []string{"10.3.0.100"}, AnsweredAt: at, Failures: 1}, {Name: "c.example", Family: "ipv6"}},
		FlowLog: &control.FlowLog{Records: 10, Dropped: 1, LastWrite: at, Error: "no space left on device"},
		Relays: []control.Relay{
			{
				Name: "web", State: control.RelayReady,
				Connections: control.Connections{Total: 1 << 60, Active: 2, Unreplied: 1, Refused: 3},
				Refused:     control.Refused{Connections: 4, PerSource: 5, Rate: 6}, Ports: &control.PortUse{Used: 46, Max: 64512},
				Bytes: control.Volume{ToTarget: 1200, ToClient: 88000}, Packets: control.Volume{ToTarget: 12, ToClient: 88},
				Backends: []control.Backend{
					{
						Name: "c.example", Address: "10.3.0.100:80", State: control.BackendUp, Since: at, Weight: 2, InUse: true, Total: 9, Active: 2, Unreplied: 1,
						Refused: 3, Bytes: control.Volume{ToTarget: 1200}, Packets: control.Volume{ToClient: 88},
						Probe: &control.Probe{At: at, Seconds: 0.0005, Total: 7, Failures: 1},
					},
					{Name: "d.example", Address: "10.3.0.100:80", State: control.BackendUp, Weight: 1},
					{Address: "10.3.0.101:80", State: control.BackendDown},
					{Name: "e.example", State: control.BackendDown},
					{Address: "[fd00::1]:80", State: control.BackendDraining},
					{Address: "10.3.0.102:80", State: control.BackendUnknown},
				},
			},
			{Name: "ssh", State: control.RelayDisabled},
		},
		Gateways: []control.Gateway{{Name: "out", State: control.RelayReady, Connections: control.Connections{Total: 1}, Ports: &control.PortUse{Used: 1, Max: 64512}}},
		Statics:  []control.Static{{Name: "overlap", State: control.RelayDown, Bytes: control.Volume{ToClient: 5}, Ports: &control.PortUse{Used: 2, Max: 64512}}},
	}
}

// TestWrite compares with what a person has looked at.
func TestWrite(t *testing.T) {
	t.Parallel()
	var got bytes.Buffer
	if err := Write(&got, `1.2.3-"a\b"`+"\nc", full()); err != nil {
		t.Fatal(err)
	}
	if update() {
		if err := os.WriteFile(golden, got.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("see \"git diff\" after \"go test ./internal/metrics -update\":\n%s", got.String())
	}
}

// parse is the reader of Prometheus' own libraries.
func parse(t *testing.T, text string) map[string]*dto.MetricFamily {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// TestCatalogue wants every metric to have a series of its type in the full status, none twice.
func TestCatalogue(t *testing.T) {
	t.Parallel()
	var text bytes.Buffer
	if err := Write(&text, "v\n\"\\", full()); err != nil {
		t.Fatal(err)
	}
	families := parse(t, text.String())
	for _, m := range Catalogue() {
		f := families[m.Name]
		if f == nil || strings.ToLower(f.GetType().String()) != m.Type || f.GetHelp() != m.Help {
			t.Errorf("%s: read as %v", m.Name, f)
			continue
		}
		seen := make(map[string]bool)
		for _, series := range f.Metric {
			labels := fmt.Sprint(series.Label)
			if len(series.Label) != len(m.Labels) || seen[labels] {
				t.Errorf("%s has %s, or has it twice; its labels are %v", m.Name, labels, m.Labels)
			}
			seen[labels] = true
		}
		delete(families, m.Name)
	}
	if len(families) > 0 {
		t.Errorf("not in the catalogue: %v", families)
	}
}

// TestSilence is a natd that does not answer: it is known to be there, and nothing else.
func TestSilence(t *testing.T) {
	t.Parallel()
	var text bytes.Buffer
	if err := Write(&text, "v\n\"\\", nil); err != nil {
		t.Fatal(err)
	}
	families := parse(t, text.String())
	if len(families) != 2 || families["natd_up"].Metric[0].Gauge.GetValue() != 0 ||
		families["natd_info"].Metric[0].Label[0].GetValue() != "v\n\"\\" {
		t.Errorf("written:\n%s", text.String())
	}
}

// TestInexact is a natd that cannot tell what ended: no counter may seem to fall.
func TestInexact(t *testing.T) {
	t.Parallel()
	s := full()
	s.Accounting.Exact, s.Ruleset.InSync = false, false
	var text bytes.Buffer
	if err := Write(&text, "v\n\"\\", s); err != nil {
		t.Fatal(err)
	}
	for name, f := range parse(t, text.String()) {
		for _, kept := range []string{"natd_relay_", "natd_gateway_", "natd_static_", "natd_backend_", "natd_conntrack_events_lost_total"} {
			if strings.HasPrefix(name, kept) && f.GetType() == dto.MetricType_COUNTER {
				t.Errorf("%s is written", name)
			}
		}
	}
}

func TestReady(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		state string
		sync  bool
		want  bool
	}{
		{control.StateReady, true, true},
		{control.StateDegraded, true, true},
		{control.StateDegraded, false, false},
		{control.StateFailed, true, false},
	} {
		if got := Ready(&control.Status{State: tt.state, Ruleset: control.Ruleset{InSync: tt.sync}}); got != tt.want {
			t.Errorf("%+v: %v", tt, got)
		}
	}
}

// TestRuntime wants what everybody's dashboards of Go programs look for.
func TestRuntime(t *testing.T) {
	t.Parallel()
	var text bytes.Buffer
	if err := NewRuntime().Write(&text); err != nil {
		t.Fatal(err)
	}
	families := parse(t, text.String())
	for _, name := range []string{"go_goroutines", "go_build_info", "process_resident_memory_bytes", "process_start_time_seconds"} {
		if families[name] == nil {
			t.Errorf("no %s", name)
		}
	}
}

// broken fails at once.
type broken struct{}

var errBroken = errors.New("gone")

func (broken) Write([]byte) (int, error) { return 0, errBroken }

func TestWriteFails(t *testing.T) {
	t.Parallel()
	if err := Write(broken{}, "v", full()); !errors.Is(err, errBroken) {
		t.Errorf("Write: %v", err)
	}
	if err := NewRuntime().Write(broken{}); !errors.Is(err, errBroken) {
		t.Errorf("Runtime.Write: %v", err)
	}
}

// BenchmarkWrite is a scrape of that many relays with two checked backends each.
func BenchmarkWrite(b *testing.B) {
	for _, n := range []int{10, 1_000, 10_000, 100_000} {
		s := &control.Status{State: control.StateReady}
		for i := range n {
			s.Relays = append(s.Relays, control.Relay{Name: fmt.Sprintf("relay-%d", i), State: control.RelayReady, Backends: []control.Backend{
				{Address: "10.3.0.100:80", State: control.BackendUp, Probe: &control.Probe{}},
				{Address: "10.3.0.101:80", State: control.BackendUp, Probe: &control.Probe{}},
			}})
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := Write(io.Discard, "v", s); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
