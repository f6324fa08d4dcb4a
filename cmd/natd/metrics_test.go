package main

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"natd/internal/control"
	"natd/internal/lab"
	"natd/internal/metrics"
)

// metricsAt is where natd serves metrics in these tests.
const metricsAt = "127.0.0.1:9469"

// look asks natd on its own host.
func (b *box) look(path string) (code int, body string) {
	b.t.Helper()
	out := b.B.Output(b.t, "curl", "-sS", "--max-time", "20", "-w", "\n%{http_code}", "http://"+metricsAt+path)
	cut := strings.LastIndexByte(out, '\n')
	if _, err := fmt.Sscan(out[cut+1:], &code); err != nil {
		b.t.Fatalf("curl says %q: %v", out, err)
	}
	return code, out[:cut]
}

// scrape is a scrape, read by Prometheus' own library. Prometheus' own tool has to like it.
func (b *box) scrape() map[string]*dto.MetricFamily {
	b.t.Helper()
	_, text := b.look("/metrics")
	if out, err := b.B.RunInput(b.t.Context(), text+"\n", "promtool", "check", "metrics"); err != nil {
		b.t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text + "\n"))
	lab.Check(b.t, err)
	return families
}

// value is the value of the series whose labels are those of pairs, name and value.
func value(families map[string]*dto.MetricFamily, name string, pairs ...string) float64 {
	for _, m := range families[name].GetMetric() {
		labels := make(map[string]string)
		for _, l := range m.Label {
			labels[l.GetName()] = l.GetValue()
		}
		same := true
		for i := 0; i < len(pairs); i += 2 {
			same = same && labels[pairs[i]] == pairs[i+1]
		}
		if same {
			return m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return -1
}

// measured is a configuration that has series of every metric, but for what takes Amazon's driver.
const measured = resolverLine + `
[metrics]

[[relay]]
name = "web"
listen = "10.2.0.100:80"
to = ["10.3.0.100:80", "10.3.0.101:80"]
health = {type = "tcp", interval = "200ms", timeout = "150ms", rise = 1, fall = 2}
max_connections = 1000
max_per_source = 500
rate = "100/s"

[[relay]]
name = "named"
listen = "10.2.0.100:81"
to = ["one.internal:80"]

[[gateway]]
name = "out"
from = ["10.1.0.0/16"]
to = ["10.3.0.200/32"]

[[static]]
name = "overlap"
external = "10.2.64.0/24"
internal = "10.3.0.0/24"
from = ["10.1.0.0/16"]
`

// unmeasured are the metrics that it has no series of.
func unmeasured(name string) bool {
	return regexp.MustCompile(`^natd_(ena|flow_log)_|^natd_(gateway|static)_snat_ports_`).MatchString(name)
}

// secondDown waits until the checks have found the second backend down.
func secondDown(s *control.Status) error {
	for i, state := range []string{control.BackendUp, control.BackendDown} {
		if len(s.Relays) == 0 || s.Relays[0].Backends[i].State != state {
			return fmt.Errorf("backends %+v", s.Relays)
		}
	}
	return nil
}

// TestMetrics has a client call a relay whose second backend is not there, and looks at everything that is served.
func TestMetrics(t *testing.T) {
	t.Parallel()
	lab.Require(t, "promtool", "curl", "nginx")
	b := newBox(t)
	b.zone(time.Minute, map[string]lab.Answer{"one.internal": b.at(0)})
	_, err := b.C.StartNginx(t.Context(), netip.MustParseAddrPort("10.3.0.100:80"))
	lab.Check(t, err)
	b.configure(measured)
	b.launch()
	b.awaitStatus(secondDown)
	for range 5 {
		lab.Check(t, b.fetch(t.Context()))
	}
	lab.Eventually(t, patience, func() error {
		if n := value(b.scrape(), "natd_relay_connections_total", "relay", "web"); n != 5 {
			return fmt.Errorf("%v connections, want 5", n)
		}
		return nil
	})
	families := b.scrape()
	for _, m := range metrics.Catalogue() {
		if families[m.Name] == nil && !unmeasured(m.Name) {
			t.Errorf("no %s", m.Name)
		}
	}
	for _, tt := range []struct {
		name  string
		pairs []string
		want  float64
	}{
		{"natd_up", nil, 1},
		{"natd_in_sync", nil, 1},
		{"natd_accounting_exact", nil, 1},
		{"natd_state", []string{"state", control.StateDegraded}, 1},
		{"natd_backend_up", []string{"relay", "web", "backend", "10.3.0.100:80"}, 1},
		{"natd_backend_up", []string{"relay", "web", "backend", "10.3.0.101:80"}, 0},
		{"natd_backend_up", []string{"relay", "named"}, -1}, // nothing is known of it
		{"natd_backend_connections_total", []string{"relay", "web", "backend", "10.3.0.100:80"}, 5},
		{"natd_backend_connections_total", []string{"relay", "web", "backend", "10.3.0.101:80"}, 0},
		{"natd_dns_addresses", []string{"name", "one.internal", "family", "ipv4"}, 1},
		{"natd_relay_connections_refused_total", []string{"relay", "web", "by", "rate"}, 0},
	} {
		if got := value(families, tt.name, tt.pairs...); got != tt.want {
			t.Errorf("%s %v is %v, want %v", tt.name, tt.pairs, got, tt.want)
		}
	}
	if failures := value(families, "natd_probe_failures_total", "backend", "10.3.0.101:80"); failures < 2 {
		t.Errorf("%v failed checks of a backend that is down", failures)
	}
	b.checkHealth()
}

// checkHealth asks whether natd is well, and once more after a flush.
func (b *box) checkHealth() {
	t := b.t
	t.Helper()
	if code, body := b.look("/readyz"); code != 200 || !strings.HasPrefix(body, "degraded\n") {
		t.Errorf("/readyz: %d %q", code, body)
	}
	if code, body := b.look("/healthz"); code != 200 || body != "ok\n" {
		t.Errorf("/healthz: %d %q", code, body)
	}
	if _, errs, code := b.natctl("flush"); code != control.CodeOK {
		t.Fatalf("natctl flush: %s", errs)
	}
	lab.Eventually(t, patience, func() error {
		if code, body := b.look("/readyz/web"); code != 503 {
			return fmt.Errorf("/readyz/web after a flush: %d %q", code, body)
		}
		return nil
	})
}

// TestMetricsElsewhere has the address of the listener taken, then free, then elsewhere, then nowhere. natd goes on all the time.
func TestMetricsElsewhere(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	other, err := b.B.Listen("tcp4", metricsAt)
	lab.Check(t, err)
	config := func(listen string) string { return "[metrics]\nlisten = \"" + listen + "\"\n" + webRelay("off") }
	b.configure(config(metricsAt))
	b.launch()
	b.awaitStatus(func(s *control.Status) error {
		if s.State != control.StateDegraded || s.Relays[0].State != control.RelayReady || s.Metrics == nil ||
			!strings.Contains(strings.Join(s.Reasons, "\n"), "metrics are not served: listen tcp4 "+metricsAt+": bind: address already in use") {
			return fmt.Errorf("status %s %v %+v", s.State, s.Reasons, s.Metrics)
		}
		return nil
	})
	lab.Check(t, other.Close())
	b.awaitReady()
	if code, _ := b.look("/readyz/web"); code != 200 {
		t.Errorf("/readyz/web: %d", code)
	}
	b.reload(config("10.2.0.77:9469")) // no address of this host
	b.awaitStatus(func(s *control.Status) error {
		if !strings.Contains(strings.Join(s.Reasons, "\n"), "cannot assign requested address") {
			return fmt.Errorf("reasons %v", s.Reasons)
		}
		return nil
	})
	b.B.Output(t, "ip", "addr", "add", "10.2.0.77/24", "dev", "ens5")
	b.awaitReady()
	if _, err := b.A.Curl(t.Context(), "http://10.2.0.77:9469/healthz", "--max-time", "5"); err != nil {
		t.Error(err)
	}
	b.reload(webRelay("off"))
	lab.Eventually(t, patience, func() error {
		if out := b.B.Output(t, "ss", "-Hltn"); strings.Contains(out, "9469") {
			return fmt.Errorf("still listening:\n%s", out)
		}
		return nil
	})
	if s := b.status(); s.Metrics != nil || s.State != control.StateReady {
		t.Errorf("status %s %+v", s.State, s.Metrics)
	}
}
