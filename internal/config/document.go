package config

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"

	"natd/nat"
)

// The names that a file may use, and those that a later natd will know. A feature that is not built yet is refused:
// accepting it silently would promise what nothing does.
const (
	tableNames      = "daemon host relay gateway static flow_log metrics"
	tableNamesLater = "tunnel route"

	daemonKeys  = "log_level resync on_stop protect socket_group resolver"
	hostKeys    = "ip_forward forward conntrack_max flowtable metadata"
	relayKeys   = "name listen protocol from to snat egress balance health on_change fail mss max_connections max_per_source rate log enabled override_local"
	backendKeys = "address weight backup"
	healthKeys  = "type interval timeout rise fall port"
	gatewayKeys = "name from to snat egress enabled"
	staticKeys  = "name external internal from snat enabled override_local"
	flowLogKeys = "path format interval max_size max_files"
	metricsKeys = "listen"
)

// later is the rule for what the configuration describes and natd cannot do yet.
const later = "not supported yet"

// document is a file that is valid TOML, and what is found wrong with it.
type document struct {
	file     string
	values   map[string]any
	sections map[string]*section
	errs     Errors

	protocols alike[nat.Protocol] // the lists that tables share
	networks  alike[netip.Prefix]
	backends  alike[nat.Backend]
}

// decode reads the TOML text. What is not TOML cannot be read on from, so there is one error.
func decode(file string, data []byte) (*document, *Error) {
	text := string(data)
	if strings.HasPrefix(text, "\xff\xfe") || strings.HasPrefix(text, "\xfe\xff") {
		return nil, &Error{File: file, Line: 1, Rule: "not valid TOML: the file is UTF-16; save it as UTF-8"}
	}
	text = strings.TrimPrefix(text, "\ufeff") // the byte order mark that some editors write
	if !strings.HasSuffix(text, "\n") {
		text += "\n" // or the library tells the line before for what is missing at the end
	}
	sections, tooDeep := locate(text)
	if tooDeep > 0 {
		return nil, &Error{File: file, Line: tooDeep, Rule: fmt.Sprintf("not valid here: nested deeper than %d levels", maxNesting)}
	}
	var root any // not a map: the library would copy into it what it has made already
	if _, err := toml.Decode(text, &root); err != nil {
		return nil, syntaxError(file, strings.Count(text, "\n"), err)
	}
	values, _ := root.(map[string]any)
	if len(values) == 0 {
		return nil, &Error{File: file, Rule: "empty; a truncated file looks like this; to remove everything use natctl flush"}
	}
	return &document{file: file, values: values, sections: sections}, nil
}

// syntaxError turns an error of the library into one of ours.
func syntaxError(file string, lines int, err error) *Error {
	e := &Error{File: file, Line: 1, Rule: "not valid TOML: " + err.Error(), cause: err}
	var parse toml.ParseError
	if !errors.As(err, &parse) {
		return e
	}
	e.Line = min(max(parse.Position.Line, 1), lines)
	message := oneLine(parse.Message)
	if key, ok := strings.CutPrefix(message, "Key '"); ok {
		if key, ok = strings.CutSuffix(key, "' has already been defined."); ok {
			e.Key, e.Rule = shorten(key, ""), "defined twice; keep one of the two"
			return e
		}
	}
	e.Rule = "not valid TOML: " + message
	if strings.HasPrefix(message, "Invalid float") || strings.HasPrefix(message, "expected value but found") {
		e.Rule += "; text must be in quotes"
	}
	return e
}

// oneLine escapes what is not printable, and shortens what repeats a large part of the file.
func oneLine(s string) string {
	quoted := strconv.Quote(head(s))
	return strings.NewReplacer(`\\`, `\`, `\"`, `"`).Replace(quoted[1 : len(quoted)-1])
}

// table returns the table [name]; without it, one that is empty.
func (d *document) table(name, keys string) *table {
	t := &table{doc: d, kind: name, lines: d.linesOf(name, 0)}
	switch v := d.values[name].(type) {
	case nil:
	case map[string]any:
		t.values = v
		t.checkKeys(strings.Fields(keys))
	case []map[string]any:
		d.fail(name, "there can be one only: write ["+name+"]")
	default:
		d.fail(name, "must be a table: write ["+name+"]")
	}
	return t
}

// tables returns the tables [[name]].
func (d *document) tables(name, keys string) []table {
	var all []map[string]any
	switch v := d.values[name].(type) {
	case nil:
	case []map[string]any:
		all = v
	case []any:
		all = d.elements(name, v)
	default:
		d.fail(name, "must be an array of tables: write [["+name+"]]")
	}
	known := strings.Fields(keys)
	tables := make([]table, len(all))
	for i, values := range all {
		tables[i] = table{doc: d, kind: name, index: i + 1, lines: d.linesOf(name, i), values: values}
		tables[i].checkKeys(known)
	}
	return tables
}

// elements returns the tables of name = [{...}, {...}].
func (d *document) elements(name string, list []any) []map[string]any {
	var all []map[string]any
	for _, v := range list {
		values, ok := v.(map[string]any)
		if !ok {
			d.fail(name, "must hold tables only: write [["+name+"]]")
			return nil
		}
		all = append(all, values)
	}
	return all
}

// checkNames refuses what stands at the top of the file and is none of ours.
func (d *document) checkNames() {
	known, coming := strings.Fields(tableNames), strings.Fields(tableNamesLater)
	for name := range d.values {
		if slices.Contains(known, name) {
			continue
		}
		rule := later
		if !slices.Contains(coming, name) {
			rule = "unknown " + d.kindOf(name) + suggest(name, known)
		}
		d.fail(name, rule)
	}
}

func (d *document) kindOf(name string) string {
	if d.isTable(name) {
		return "table"
	}
	return "key"
}

func (d *document) isTable(name string) bool {
	switch d.values[name].(type) {
	case map[string]any, []map[string]any:
		return true
	}
	return false
}

// linesOf returns where the i-th table of a name stands.
func (d *document) linesOf(name string, i int) tableLines {
	if s := d.sections[name]; s != nil && i < len(s.tables) {
		return s.tables[i]
	}
	return tableLines{line: d.lineOf(name)}
}

// lineOf returns the first line that a name at the top of the file stands in.
func (d *document) lineOf(name string) int {
	if s := d.sections[name]; s != nil {
		return s.line
	}
	return 1
}

// fail records an error of something at the top of the file.
func (d *document) fail(name, rule string) {
	e := &Error{File: d.file, Line: d.lineOf(name), Rule: rule}
	if d.isTable(name) {
		e.Table = showKey(name)
	} else {
		e.Key, e.Value = showKey(name), show(d.values[name])
	}
	d.errs = append(d.errs, e)
}
