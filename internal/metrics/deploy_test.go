package metrics

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"natd/internal/lab"
)

// promtool runs the program in a directory.
func promtool(t *testing.T, dir, input string, args ...string) {
	t.Helper()
	lab.Require(t, "promtool")
	cmd := exec.CommandContext(t.Context(), "promtool", args...)
	cmd.Dir, cmd.Stdin = dir, strings.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// TestLint wants names, types and help texts to be as Prometheus' own tool wants them.
func TestLint(t *testing.T) {
	t.Parallel()
	var text bytes.Buffer
	lab.Check(t, Write(&text, "1.2.3", full()))
	promtool(t, ".", text.String(), "check", "metrics")
}

const rules = "../../deploy/prometheus"

// known tells which names a query may have: what natd exports, and what Prometheus makes itself.
func known(t *testing.T) map[string]bool {
	t.Helper()
	var text bytes.Buffer
	lab.Check(t, NewRuntime().Write(&text))
	names := map[string]bool{"up": true, "ALERTS": true}
	for name := range parse(t, text.String()) {
		names[name] = true
	}
	for _, m := range Catalogue() {
		if names[m.Name] = true; m.Type == Histogram {
			names[m.Name+"_bucket"], names[m.Name+"_sum"], names[m.Name+"_count"] = true, true, true
		}
	}
	return names
}

// checkNames wants a query to use names alone that there are.
func checkNames(t *testing.T, where, query string, names map[string]bool) {
	t.Helper()
	found := 0
	for _, name := range regexp.MustCompile(`\b(natd|go|process)_[a-z0-9_]+\b|\bup\b`).FindAllString(query, -1) {
		if found++; !names[name] {
			t.Errorf("%s asks for %s, which nobody exports: %s", where, name, query)
		}
	}
	if found == 0 {
		t.Errorf("%s asks for nothing: %s", where, query)
	}
}

// TestRules wants each alert to be sound, to be tested, to fire and not to fire as its tests say, and to lead to a place of the manual.
func TestRules(t *testing.T) {
	t.Parallel()
	promtool(t, rules, "", "check", "rules", "natd.rules.yml")
	promtool(t, rules, "", "test", "rules", "natd.rules.test.yml")
	text, err := os.ReadFile(filepath.Join(rules, "natd.rules.yml"))
	lab.Check(t, err)
	tests, err := os.ReadFile(filepath.Join(rules, "natd.rules.test.yml"))
	lab.Check(t, err)
	manual, err := os.ReadFile("../../docs/operate.md")
	lab.Check(t, err)
	names, places := known(t), anchors(string(manual))
	alerts := strings.Split(string(text), "- alert: ")[1:]
	for _, a := range alerts {
		name, rest, _ := strings.Cut(a, "\n")
		expr := regexp.MustCompile(`(?s)expr: (.*?)\n +(for|labels):`).FindStringSubmatch(rest)
		link := regexp.MustCompile(`runbook_url: file:///usr/share/doc/natd/docs/operate.md#(\S+)`).FindStringSubmatch(rest)
		if expr == nil || link == nil || !strings.Contains(rest, "summary: ") || !strings.Contains(rest, "description: ") {
			t.Errorf("%s lacks something:\n%s", name, rest)
			continue
		}
		checkNames(t, name, expr[1], names)
		if !places[link[1]] {
			t.Errorf("%s leads to operate.md#%s, which there is none", name, link[1])
		}
		if !strings.Contains(string(tests), fmt.Sprintf("alertname=%q}', value: 1", name)) {
			t.Errorf("no test has %s fire", name)
		}
	}
	if len(alerts) < 20 {
		t.Errorf("%d alerts are fewer than there are: are they found?", len(alerts))
	}
}

// anchors is the headings of a page of Markdown, as links name them.
func anchors(page string) map[string]bool {
	all := make(map[string]bool)
	for _, heading := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(page, -1) {
		text := regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(heading[1]), "")
		all[strings.ReplaceAll(text, " ", "-")] = true
	}
	return all
}

// board is what matters of a dashboard of Grafana.
type board struct {
	Title, UID    string
	SchemaVersion int
	Panels        []struct {
		ID                       int
		Type, Title, Description string
		GridPos                  struct{ X, Y, W, H int }
		Targets                  []struct{ Expr, RefID string }
	}
	Annotations struct{ List []struct{ Name, Expr string } }
	Templating  struct {
		List []struct{ Name, Definition string }
	}
}

// TestDashboard wants every query of the dashboard to be one that Prometheus understands, for metrics that there are, in panels that
// say what they show and do not lie on each other.
func TestDashboard(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../deploy/grafana/natd.json")
	lab.Check(t, err)
	var b board
	lab.Check(t, json.Unmarshal(text, &b))
	if b.Title == "" || b.UID == "" || b.SchemaVersion == 0 || len(b.Panels) < 20 {
		t.Errorf("not a dashboard: %+v", b)
	}
	b.checkPanels(t)
	queries, names := b.queries(), known(t)
	for _, v := range b.Templating.List {
		if v.Definition != "" {
			checkNames(t, "variable "+v.Name, v.Definition, names)
		}
	}
	var file strings.Builder
	file.WriteString("groups:\n- name: dashboard\n  rules:\n")
	for _, where := range sortedKeys(queries) {
		checkNames(t, where, queries[where], names)
		fmt.Fprintf(&file, "  - record: query:%d\n    expr: %q\n", file.Len(), plain(queries[where]))
	}
	dir := t.TempDir()
	lab.Check(t, os.WriteFile(filepath.Join(dir, "dashboard.yml"), []byte(file.String()), 0o600))
	promtool(t, dir, "", "check", "rules", "dashboard.yml")
}

// checkPanels wants panels that say what they show and do not lie on each other.
func (b *board) checkPanels(t *testing.T) {
	t.Helper()
	ids, taken := make(map[int]bool), make(map[[2]int]string)
	for _, p := range b.Panels {
		if ids[p.ID] || p.Title == "" || p.Type != "row" && (p.Description == "" || len(p.Targets) == 0) {
			t.Errorf("panel %d %q has an id that is taken, or no title, description or query", p.ID, p.Title)
		}
		ids[p.ID] = true
		for cell := range p.GridPos.W * p.GridPos.H {
			at := [2]int{p.GridPos.X + cell%p.GridPos.W, p.GridPos.Y + cell/p.GridPos.W}
			if other := taken[at]; other != "" || at[0] >= 24 {
				t.Fatalf("panel %q lies on %q, or beyond the edge", p.Title, other)
			}
			taken[at] = p.Title
		}
	}
}

// queries is all queries, by where they stand.
func (b *board) queries() map[string]string {
	all := make(map[string]string)
	for _, p := range b.Panels {
		for _, q := range p.Targets {
			all[fmt.Sprintf("panel %q %s", p.Title, q.RefID)] = q.Expr
		}
	}
	for _, a := range b.Annotations.List {
		if a.Expr != "" {
			all["annotation "+a.Name] = a.Expr
		}
	}
	return all
}

// plain is a query of the dashboard with the variables that Grafana replaces.
func plain(query string) string {
	return strings.NewReplacer("$__rate_interval", "1m", "$__interval", "1m", "$job", ".*", "$instance", ".*", "$relay", ".*").Replace(query)
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
