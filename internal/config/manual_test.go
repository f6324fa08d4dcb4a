package config

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// manual is docs/configure.md: the keys that have a heading, by table, and the tables that are listed as not supported yet.
type manual struct {
	keys  map[string][]string // of tables
	later []string
}

func readManual(t *testing.T) manual {
	t.Helper()
	text, err := os.ReadFile("../../docs/configure.md")
	if err != nil {
		t.Fatal(err)
	}
	m := manual{keys: map[string][]string{}}
	tableHeading := regexp.MustCompile(`^## \[+(\w+)\]+$`)
	table := ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if found := tableHeading.FindStringSubmatch(line); found != nil {
			table = found[1]
			m.keys[table] = []string{}
		} else if key, ok := strings.CutPrefix(line, "### "); ok {
			m.keys[table] = append(m.keys[table], key)
		} else if list, ok := strings.CutPrefix(line, "- Tables: "); ok {
			m.later = strings.Split(strings.ReplaceAll(list, "`", ""), ", ")
		}
	}
	return m
}

// TestManualIsComplete keeps docs/configure.md and the keys of this package in step, both ways.
func TestManualIsComplete(t *testing.T) {
	t.Parallel()
	m := readManual(t)
	tests := []struct {
		what       string
		documented []string
		known      string
	}{
		{"keys of [daemon]", m.keys["daemon"], daemonKeys},
		{"keys of [host]", m.keys["host"], hostKeys},
		{"keys of [[relay]]", m.keys["relay"], relayKeys},
		{"keys of [[gateway]]", m.keys["gateway"], gatewayKeys},
		{"keys of [[static]]", m.keys["static"], staticKeys},
		{"keys of [flow_log]", m.keys["flow_log"], flowLogKeys},
		{"keys of [metrics]", m.keys["metrics"], metricsKeys},
		{"tables not supported yet", m.later, tableNamesLater},
	}
	for _, tt := range tests {
		same(t, tt.what, tt.documented, strings.Fields(tt.known))
	}
	var tables []string
	for table := range m.keys {
		tables = append(tables, table)
	}
	same(t, "tables", tables, strings.Fields(tableNames))
}

// same compares without regard to order: the manual has that of a reader.
func same(t *testing.T, what string, documented, known []string) {
	t.Helper()
	for _, name := range known {
		if !slices.Contains(documented, name) {
			t.Errorf("%s: docs/configure.md has nothing about %s", what, name)
		}
	}
	for _, name := range documented {
		if !slices.Contains(known, name) {
			t.Errorf("%s: docs/configure.md describes %q, which natd does not know", what, name)
		}
	}
}

// TestManualExamples: whoever copies one gets a file that natd takes.
func TestManualExamples(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/configure.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```toml\n(.*?)```").FindAllSubmatch(text, -1)
	if len(blocks) < 3 {
		t.Fatalf("there are %d examples, want at least 3", len(blocks))
	}
	for _, block := range blocks {
		if _, err := Parse("configure.md", block[1]); err != nil {
			t.Errorf("%v in the example\n%s", err, block[1])
		}
	}
}
