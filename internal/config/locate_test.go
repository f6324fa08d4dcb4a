package config

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/google/go-cmp/cmp"
)

// linesText writes sections as a sorted list of NAME[INDEX].KEY=LINE.
func linesText(sections map[string]*section) []string {
	var all []string
	for name, s := range sections {
		all = append(all, fmt.Sprintf("%s=%d", name, s.line))
		for i, table := range s.tables {
			all = append(all, fmt.Sprintf("%s[%d]=%d", name, i, table.line))
			for _, k := range table.keys {
				all = append(all, fmt.Sprintf("%s[%d].%s=%d", name, i, k.key, table.line+int(k.line)))
			}
		}
	}
	slices.Sort(all)
	return all
}

func TestLocate(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, text, want string }{
		{"empty", "", ""},
		{"comments", "# [a]\n\n  # b = 1\n[c] # [d]\n\te = 1 # f = 2\n", "c=4 c[0].e=5 c[0]=4"},
		{"header only", "\n[a]", "a=2"},
		{"spaces", "[[ a ]]\n  b\t=  1\n[ c . d ]", "a=1 a[0].b=2 a[0]=1 c=3 c[0].d=3 c[0]=3"},
		{"array of tables", "[[a]]\nb = 1\n[[a]]\n[[a]]\nb = 2\n", "a=1 a[0].b=2 a[0]=1 a[1]=3 a[2].b=5 a[2]=4"},
		{"tables below", "[[a]]\nb = 1\n[a.c]\nd = 1\n[[a.e]]\nf = 1\n", "a=1 a[0].b=2 a[0].c=3 a[0].c=4 a[0].e=5 a[0].e=6 a[0]=1"},
		{"dotted keys", "a.b = 1\nc.d.e = 1\na.f = 2\n", "a=1 a[0].b=1 a[0].f=3 a[0]=1 c=2 c[0].d=2 c[0]=2"},
		{"quoted keys", "[\"a\"]\n'b c' = 1\n\"d\\u0065\\\"\" = 1\n\"#\" = 1\n\"\" = 1\n", "a=1 a[0].#=4 a[0].=5 a[0].b c=2 a[0].de\"=3 a[0]=1"},
		{"basic string", "[a]\nb = \"[c] # \\\" \\\\\"\nd = 1\n", "a=1 a[0].b=2 a[0].d=3 a[0]=1"},
		{"literal string", "[a]\nb = '[c] \" \\'\nd = 1\n", "a=1 a[0].b=2 a[0].d=3 a[0]=1"},
		{"long string", "[a]\nb = \"\"\"\n[c]\nd = 1\n\\\"\"\" \"\" \\\n  \"\"\"\"\"\ne = 1\n", "a=1 a[0].b=2 a[0].e=7 a[0]=1"},
		{"long literal", "[a]\nb = '''\n[[c]]\n\\''''\ne = 1\n", "a=1 a[0].b=2 a[0].e=5 a[0]=1"},
		{"empty strings", "[a]\nb = \"\"\nc = ''\nd = \"\"\"\"\"\"\ne = ''''''\nf = 1", "a=1 a[0].b=2 a[0].c=3 a[0].d=4 a[0].e=5 a[0].f=6 a[0]=1"},
		{"long array", "[a]\nb = [ # ]\n  \"]\",\n  [1, 2],\n\n]\nc = 1\n", "a=1 a[0].b=2 a[0].c=7 a[0]=1"},
		{"inline table", "a = {b = 1, c.d = {e = 1}, f = [1,\n2], \"g\" = '}'}\nh = 1", "a=1 a[0].b=1 a[0].c=1 a[0].f=1 a[0].g=2 a[0]=1 h=3"},
		{"inline tables", "a = [ {b = 1},\n  # {\n  {b = 2,\n   c = 3}, {}\n]\nd = 1\n", "a=1 a[0].b=1 a[0]=1 a[1].b=3 a[1].c=4 a[1]=3 a[2]=4 d=6"},
		{"mixed array", "a = [1, {b = 1}, [{c = 1}], \"{\"]", "a=1 a[0]=1 a[1].b=1 a[1]=1 a[2]=1 a[3]=1"},
		{"carriage returns", "[a]\r\nb = \"\"\"\r\n\"\"\"\r\nc = [\r\n]\r\nd = 1\r\n", "a=1 a[0].b=2 a[0].c=4 a[0].d=6 a[0]=1"},
		{"values", "a = 1979-05-27 07:32:00Z\nb = -1.5e3\nc = true#\nd = 1\n", "a=1 b=2 c=3 d=4"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var root map[string]any
			if _, err := toml.Decode(tt.text, &root); err != nil {
				t.Fatalf("the test is not valid TOML: %v", err)
			}
			sections, _ := locate(tt.text)
			if diff := cmp.Diff(tt.want, strings.Join(linesText(sections), " ")); diff != "" {
				t.Errorf("lines (-want +got):\n%s", diff)
			}
			checkLocated(t, tt.text, root, sections)
		})
	}
}

// checkLocated holds the lines of a valid text against its values: the same names, tables and keys, in lines that are
// there.
func checkLocated(t *testing.T, text string, root map[string]any, sections map[string]*section) {
	t.Helper()
	last := 1 + strings.Count(text, "\n")
	if len(sections) != len(root) {
		t.Errorf("%d names are located, want %d", len(sections), len(root))
	}
	for name, value := range root {
		s := sections[name]
		if s == nil {
			t.Errorf("%q is not located", name)
			continue
		}
		if s.line < 1 || s.line > last {
			t.Errorf("%q is in line %d of %d", name, s.line, last)
		}
		tables := tablesOf(value)
		if len(tables) == 1 && len(s.tables) == 0 {
			s.tables = []tableLines{{line: s.line}} // a header without keys
		}
		if len(s.tables) != len(tables) {
			t.Errorf("%q has %d tables, want %d", name, len(s.tables), len(tables))
			continue
		}
		for i, values := range tables {
			checkTable(t, fmt.Sprintf("%q[%d]", name, i), values, s.tables[i], last)
		}
	}
}

func checkTable(t *testing.T, name string, values map[string]any, lines tableLines, last int) {
	t.Helper()
	located := make(map[string]bool)
	previous := lines.line
	for _, k := range lines.keys {
		located[k.key] = true
		if _, ok := values[k.key]; !ok {
			t.Errorf("%s has no key %q", name, k.key)
		}
		line := lines.line + int(k.line)
		if line < previous || line > last {
			t.Errorf("%s: key %q is in line %d, the one before in %d, the last is %d", name, k.key, line, previous, last)
		}
		previous = line
	}
	if len(located) != len(values) {
		t.Errorf("%s has %d keys located, want %d", name, len(located), len(values))
	}
}

// tablesOf returns the tables of a value as the locator counts them: an item of an array that is no table is empty.
func tablesOf(value any) []map[string]any {
	switch v := value.(type) {
	case map[string]any:
		return []map[string]any{v}
	case []map[string]any:
		return v
	case []any:
		all := make([]map[string]any, len(v))
		for i := range v {
			all[i], _ = v[i].(map[string]any)
		}
		return all
	}
	return nil
}

// TestLocateNonsense asks for an end, whatever the text.
func TestLocateNonsense(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"[", "[[", "[]", "]", "}", "=", "= =", "a", "a.", ".a", "a =", "a = [", "a = [}", "a = [}]", "a = {", "a = {]", "a = {,",
		"a = {b", "a = {b =", "\"", "'", "\"a", "\"\\", "a = \"\\", "a = \"\"\"", "a = \"\"\"\\", "a = '''", "[\"", "[[\"a", "a = [{[", "a = [\n}\n]\n",
	} {
		locate(text)
	}
}

func TestLocateTooDeep(t *testing.T) {
	t.Parallel()
	nested := func(n int) string { return "\na = " + strings.Repeat("[", n) + "\n" + strings.Repeat("]", n) }
	dotted := func(n int) string { return "\n" + strings.Repeat("a.", n-1) + "a = 1\n" }
	for _, text := range []func(int) string{nested, dotted} {
		if _, tooDeep := locate(text(maxNesting)); tooDeep != 0 {
			t.Errorf("%q is too deep in line %d", text(maxNesting), tooDeep)
		}
		if _, tooDeep := locate(text(maxNesting + 2)); tooDeep != 2 {
			t.Errorf("%q is too deep in line %d, want 2", text(maxNesting+2), tooDeep)
		}
	}
}

func TestLocateItems(t *testing.T) {
	t.Parallel()
	sections, _ := locate("[[a]]\nb = 1\n[[a.c]]\nd = 1\nc = 2\n[[a.e]]\n[[a.c]]\n[a.f]\n[[a]]\n[[a.c]]\n")
	tests := []struct {
		table int
		key   string
		item  int
		line  int
	}{
		{0, "c", 0, 3},
		{0, "c", 1, 7},
		{0, "c", 2, 3}, // there is none
		{0, "e", 0, 6},
		{0, "f", 0, 8},
		{0, "b", 1, 2}, // in another notation
		{0, "gone", 0, 1},
		{1, "c", 0, 10},
	}
	for _, tt := range tests {
		if line := sections["a"].tables[tt.table].item(tt.key, tt.item); line != tt.line {
			t.Errorf("item %d of %s in table %d is in line %d, want %d", tt.item, tt.key, tt.table, line, tt.line)
		}
	}
}
