package docs_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"natd/internal/metrics"
)

// rowsOf is the cells of the tables of metrics, by metric.
func rowsOf(page string) map[string][]string {
	_, tables, _ := strings.Cut(page, "\n## The metrics\n")
	tables, _, _ = strings.Cut(tables, "\n### Labels\n")
	rows := make(map[string][]string)
	for line := range strings.Lines(tables) {
		cells := strings.Split(line, "|")
		if len(cells) < 6 {
			continue
		}
		for _, name := range regexp.MustCompile("`(natd_[a-z0-9_]+)`").FindAllStringSubmatch(cells[1], -1) {
			rows[name[1]] = cells
		}
	}
	return rows
}

// TestMetrics wants every metric in a row of metrics.md, with its type and labels, and no row of another one.
func TestMetrics(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	rows, exported := rowsOf(string(text)), make(map[string]bool)
	for _, m := range metrics.Catalogue() {
		exported[m.Name] = true
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
	// What stands elsewhere on the page must be there, too: names, and parts of names that end in a star.
	for _, name := range regexp.MustCompile(`natd_[a-z0-9_]+\*?`).FindAllString(string(text), -1) {
		if !exported[name] && !strings.HasSuffix(name, "*") {
			t.Errorf("metrics.md speaks of %s, which is none of natd's", name)
		}
	}
}
