package docs_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"natd/internal/metrics"
)

// TestMetrics wants every metric in a row of metrics.md, with its type and labels, and no row of another one.
func TestMetrics(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	_, tables, _ := strings.Cut(string(text), "\n## The metrics\n")
	tables, _, _ = strings.Cut(tables, "\n### Labels\n")
	rows := make(map[string][]string) // cells by metric
	for line := range strings.Lines(tables) {
		cells := strings.Split(line, "|")
		if len(cells) < 6 {
			continue
		}
		for _, name := range regexp.MustCompile("`(natd_[a-z0-9_]+)`").FindAllStringSubmatch(cells[1], -1) {
			rows[name[1]] = cells
		}
	}
	for _, m := range metrics.Catalogue() {
		cells, ok := rows[m.Name]
		delete(rows, m.Name)
		if !ok || strings.TrimSpace(cells[2]) != m.Type || strings.TrimSpace(cells[4]) == "" {
			t.Errorf("metrics.md does not have %s, a %s: %s", m.Name, m.Type, m.Help)
			continue
		}
		for _, label := range m.Labels {
			if !strings.Contains(cells[3], "`"+label+"`") {
				t.Errorf("metrics.md does not have the label %s of %s", label, m.Name)
			}
		}
		if len(m.Labels) == 0 && strings.TrimSpace(cells[3]) != "" {
			t.Errorf("metrics.md has labels of %s, which has none", m.Name)
		}
	}
	for name := range rows {
		t.Errorf("metrics.md has %s, which is none of natd's", name)
	}
	// What stands elsewhere on the page must be there, too.
	exported := make(map[string]bool)
	for _, m := range metrics.Catalogue() {
		exported[m.Name] = true
	}
	for _, name := range regexp.MustCompile(`natd_[a-z0-9_]+[a-z0-9]\b`).FindAllString(string(text), -1) {
		if !exported[name] && !strings.HasPrefix(name, "natd_sync") && name != "natd_conntrack" && name != "natd_ena" && name != "natd_flow_log" {
			t.Errorf("metrics.md speaks of %s, which is none of natd's", name)
		}
	}
}
