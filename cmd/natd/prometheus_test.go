package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"natd/internal/lab"
)

// prometheus is a real one on host B that scrapes natd.
type prometheus struct {
	b *box
	t testing.TB
}

const prometheusAt = "127.0.0.1:9090"

// startPrometheus has it scrape natd twice a second and evaluate the alerts that natd comes with.
func (b *box) startPrometheus() prometheus {
	b.t.Helper()
	lab.Require(b.t, "prometheus", "curl")
	rules, err := filepath.Abs("../../deploy/prometheus/natd.rules.yml")
	lab.Check(b.t, err)
	dir := b.t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	lab.Check(b.t, os.WriteFile(config, fmt.Appendf(nil, `
global: {scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 1s}
rule_files: [%q]
scrape_configs:
  - job_name: natd
    static_configs: [{targets: [%q]}]
`, rules, metricsAt), 0o600))
	_, err = b.B.Start("prometheus", "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+prometheusAt)
	lab.Check(b.t, err)
	return prometheus{b, b.t}
}

// ask asks its HTTP API.
func (p prometheus) ask(path string, answer any, args ...string) error {
	out, err := p.b.B.Run(p.t.Context(), "curl", append([]string{"-sS", "--max-time", "10", "-G", "http://" + prometheusAt + path}, args...)...)
	if err != nil {
		return err
	}
	whole := struct {
		Status, Error string
		Data          any
	}{Data: answer}
	if err := json.Unmarshal([]byte(out), &whole); err != nil || whole.Status != "success" {
		return fmt.Errorf("%s: %s %s: %w", path, whole.Status, whole.Error, err)
	}
	return nil
}

// query is the one value of a query; NaN-free, or an error.
func (p prometheus) query(query string) (float64, error) {
	var answer struct{ Result []struct{ Value [2]any } }
	if err := p.ask("/api/v1/query", &answer, "--data-urlencode", "query="+query); err != nil {
		return 0, fmt.Errorf("%s: %w", query, err)
	}
	if len(answer.Result) != 1 {
		return 0, fmt.Errorf("%s: %d results", query, len(answer.Result))
	}
	return strconv.ParseFloat(fmt.Sprint(answer.Result[0].Value[1]), 64)
}

// await waits until a query has a value that is as it should be.
func (p prometheus) await(query string, good func(float64) bool) {
	p.t.Helper()
	lab.Eventually(p.t, 2*patience, func() error {
		value, err := p.query(query)
		if err == nil && !good(value) {
			err = fmt.Errorf("%s is %v", query, value)
		}
		return err
	})
}

// counters are the metrics of relays, gateways, statics and backends that must never fall.
func (p prometheus) counters() (names []string) {
	p.t.Helper()
	var all []string
	lab.Check(p.t, p.ask("/api/v1/label/__name__/values", &all))
	for _, name := range all {
		if regexp.MustCompile(`^natd_(relay|gateway|static|backend)_.*_total$`).MatchString(name) {
			names = append(names, name)
		}
	}
	return names
}

// TestPrometheus has a Prometheus scrape natd while clients call, natd is stopped and started, and killed and started. No counter of
// what is relayed falls, and that of a relay that nobody called meanwhile is in the end what was relayed.
func TestPrometheus(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	_, err := b.C.StartNginx(t.Context(), netip.MustParseAddrPort("10.3.0.100:80"))
	lab.Check(t, err)
	_, err = b.C.EchoTCP("10.3.0.100:7000")
	lab.Check(t, err)
	b.start("[metrics]\n" + webRelay("auto") + "[[relay]]\nname = \"echo\"\nlisten = \"10.2.0.100:7000\"\nto = [\"10.3.0.100:7000\"]\n")
	p := b.startPrometheus()
	load := b.A.Load(t, "10.2.0.100:7000")
	const total = `sum(natd_relay_connections_total{relay="web"})`
	made := 0
	call := func(n int) {
		t.Helper()
		for range n {
			lab.Check(t, b.fetch(t.Context()))
		}
		made += n
		p.await(total, func(v float64) bool { return v == float64(made) })
	}
	call(10)
	lab.Check(t, b.natd.Stop())
	p.await(`up`, func(v float64) bool { return v == 0 })
	b.launch()
	call(10)
	b.kill()
	p.await(`up`, func(v float64) bool { return v == 0 })
	b.launch()
	call(10)
	p.await(`changes(process_start_time_seconds{job="natd"}[10m])`, func(v float64) bool { return v == 2 })

	p.await(`sum(natd_relay_connections_total{relay="echo"})`, func(v float64) bool { return v > 0 })
	load.End() // whether all went well is another test's question

	names := p.counters()
	if len(names) < 8 {
		t.Errorf("counters %v: are they found?", names)
	}
	for _, name := range names {
		p.await("max(resets("+name+"[10m]))", func(v float64) bool { return v == 0 })
	}
	for _, query := range []string{`sum(natd_relay_bytes_total{direction="to_client"})`, `sum(natd_backend_bytes_total{direction="to_client"})`} {
		p.await(query, func(v float64) bool { return v > float64(made)*float64(len(lab.DefaultPage())) })
	}
	p.rulesAreWell()
	p.dashboardIsWell()
}

// rulesAreWell wants every alert to be loaded and evaluated, and none to fire.
func (p prometheus) rulesAreWell() {
	p.t.Helper()
	lab.Eventually(p.t, 2*patience, func() error {
		var answer struct {
			Groups []struct {
				Rules []struct{ Name, Health, State, LastError string }
			}
		}
		if err := p.ask("/api/v1/rules", &answer); err != nil {
			return err
		}
		if len(answer.Groups) != 1 || len(answer.Groups[0].Rules) < 20 {
			return fmt.Errorf("rules %+v", answer)
		}
		for _, r := range answer.Groups[0].Rules {
			if r.Health != "ok" || r.State == "firing" {
				return fmt.Errorf("%+v", r)
			}
		}
		return nil
	})
}

// dashboardIsWell wants Prometheus to answer each query of the dashboard: only the data says whether two series match.
func (p prometheus) dashboardIsWell() {
	p.t.Helper()
	text, err := os.ReadFile("../../deploy/grafana/natd.json")
	lab.Check(p.t, err)
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	lab.Check(p.t, json.Unmarshal(text, &board))
	variables := strings.NewReplacer("$__rate_interval", "1m", "$job", ".*", "$instance", ".*", "$relay", ".*")
	asked := 0
	for _, panel := range board.Panels {
		for _, target := range panel.Targets {
			asked++
			lab.Eventually(p.t, 2*patience, func() error { // after a scrape that took too long, Prometheus shows nothing until the next
				var answer struct{ Result []any }
				if err := p.ask("/api/v1/query", &answer, "--data-urlencode", "query="+variables.Replace(target.Expr)); err != nil {
					return fmt.Errorf("panel %q: %w", panel.Title, err)
				}
				if len(answer.Result) == 0 && !mayBeEmpty(panel.Title) {
					return fmt.Errorf("panel %q shows nothing: %s", panel.Title, target.Expr)
				}
				return nil
			})
		}
	}
	if asked < 30 {
		p.t.Errorf("%d queries are fewer than there are: are they found?", asked)
	}
}

// mayBeEmpty are the panels of what this natd does not have: names, gateways, statics, health checks, Amazon's driver, a flow log.
func mayBeEmpty(title string) bool {
	for _, part := range []string{"gateways", "Age of answers", "Health checks", "Failed checks", "Up", "instance", "allowance", "Records", "Refused", "Source ports"} {
		if strings.Contains(title, part) {
			return true
		}
	}
	return false
}
