package config

import (
	"strings"

	"github.com/BurntSushi/toml"
)

// section is where a name at the top of the file stands: a table, the tables of an array, or a plain value.
type section struct {
	line   int // of the first mention
	tables []tableLines
	shapes alike[keyLine]
}

// tableLines is where one table and its keys stand.
type tableLines struct {
	line int
	keys []keyLine // in the order of the file; a key with dots in it may come several times
}

// keyLine is where one key stands, counted from the line of its table: so tables that are written alike can share their keys, and a
// table can move. A file of the largest size has fewer lines than an int32 counts.
type keyLine struct {
	key  string
	line int32
	item int32 // for the header of a table in an array, as [[relay.to]]: which one, from 1; else 0
}

// find returns the line of the key; without such a key, the line of the table.
func (t tableLines) find(key string) (line int, written bool) {
	for _, k := range t.keys {
		if k.key == key {
			return t.line + int(k.line), true
		}
	}
	return t.line, false
}

// item returns the line of the i-th table in an array, from 0; of the key when it is written in another notation.
func (t tableLines) item(key string, i int) int {
	for _, k := range t.keys {
		if k.key == key && k.item == int32(i)+1 {
			return t.line + int(k.line)
		}
	}
	line, _ := t.find(key)
	return line
}

// maxNesting is how deep arrays, inline tables and dotted keys may go. The configuration needs 3; the TOML library
// recurses for each level, and does quadratic work for a key of many parts.
const maxNesting = 16

// locator walks through TOML text and notes the lines of the two upper levels of keys, for the TOML library keeps no
// positions. It does not judge: in text that is not TOML it notes nonsense, but always ends.
type locator struct {
	text     string
	pos      int
	line     int
	sections map[string]*section
	names    map[string]string // see intern
	items    map[string]int32  // how many headers [[a.b]] the last table has, by b
	tooDeep  int               // the line where nesting went beyond maxNesting, 0 if nowhere
}

// keyPath is a key with its tables in front: the names of the two upper levels, and how many there are in all.
type keyPath struct {
	top, key string
	depth    int
}

func (p keyPath) join(name string) keyPath {
	switch p.depth {
	case 0:
		p.top = name
	case 1:
		p.key = name
	}
	p.depth++
	return p
}

// locate returns the lines of everything in the text. A tooDeep that is not 0 is the line where it gave up.
func locate(text string) (sections map[string]*section, tooDeep int) {
	l := &locator{text: text, line: 1, sections: make(map[string]*section), names: make(map[string]string), items: make(map[string]int32)}
	var table keyPath
	for l.space(); l.more(); l.space() {
		if l.text[l.pos] == '[' {
			table = l.header()
		} else {
			l.pair(table)
		}
	}
	for _, s := range l.sections {
		s.settle()
	}
	return l.sections, l.tooDeep
}

func (l *locator) more() bool { return l.pos < len(l.text) && l.tooDeep == 0 }

// header reads [a.b] or [[a.b]].
func (l *locator) header() keyPath {
	line := l.line
	l.pos++
	array := l.accept('[')
	p := l.name(keyPath{})
	for l.accept(']') {
	}
	if array && p.depth == 1 {
		l.open(p.top, line)
		return p
	}
	k := l.note(p, line)
	if array && p.depth == 2 {
		l.items[p.key]++
		k.item = l.items[p.key]
	}
	return p
}

// pair reads key = value in the table.
func (l *locator) pair(table keyPath) {
	line := l.line
	p := l.name(table)
	if !l.accept('=') {
		l.comment() // not TOML: go on at the next line
		return
	}
	l.note(p, line)
	l.blanks()
	switch {
	case p.depth == 1 && l.at('{'):
		l.inlineTable(p)
	case p.depth == 1 && l.at('['):
		l.elements(p)
	default:
		l.skip()
	}
}

// inlineTable reads {key = value, ...}.
func (l *locator) inlineTable(table keyPath) {
	l.pos++
	for l.space(); l.more(); l.space() {
		if l.accept('}') {
			return
		}
		if !l.accept(',') {
			l.pair(table)
		}
	}
}

// elements reads [{...}, {...}], an array of tables in another notation. An element that is no table counts too.
func (l *locator) elements(array keyPath) {
	l.pos++
	for l.space(); l.more(); l.space() {
		if l.accept(']') {
			return
		}
		if l.accept(',') {
			continue
		}
		l.open(array.top, l.line)
		if l.at('{') {
			l.inlineTable(array)
			continue
		}
		before := l.pos
		if l.skip(); l.pos == before {
			l.pos++ // not TOML
		}
	}
}

// open begins a table of an array.
func (l *locator) open(name string, line int) {
	s := l.section(name, line)
	room := s.settle()
	s.tables = append(s.tables, tableLines{line: line, keys: room})
	clear(l.items)
}

// settle is for the end of a table: it shares its keys with one before that is written alike, as most are. It returns room for
// the keys of the next one.
func (s *section) settle() []keyLine {
	if len(s.tables) == 0 {
		return nil
	}
	last := &s.tables[len(s.tables)-1]
	own := last.keys
	if last.keys = s.shapes.share(own); len(own) > 0 && &last.keys[0] != &own[0] {
		return own[:0]
	}
	return make([]keyLine, 0, len(own))
}

// note remembers the line of a path, and returns where; nil for one that is a table alone.
func (l *locator) note(p keyPath, line int) *keyLine {
	s := l.section(p.top, line)
	if p.depth < 2 {
		return nil
	}
	if len(s.tables) == 0 {
		s.tables = []tableLines{{line: s.line}}
	}
	t := &s.tables[len(s.tables)-1]
	t.keys = append(t.keys, keyLine{key: p.key, line: int32(line - t.line)})
	return &t.keys[len(t.keys)-1]
}

func (l *locator) section(name string, line int) *section {
	s := l.sections[name]
	if s == nil {
		s = &section{line: line}
		l.sections[name] = s
	}
	return s
}

// name reads a key, which may have dots, below the path.
func (l *locator) name(p keyPath) keyPath {
	for first := true; first || l.accept('.'); first = false {
		l.blanks()
		p = p.join(l.part())
		l.blanks()
		l.limit(p.depth)
	}
	return p
}

// part reads a key up to a dot.
func (l *locator) part() string {
	start := l.pos
	if l.at('"') || l.at('\'') {
		l.line1String()
		return l.intern(unquote(l.text[start:l.pos]))
	}
	for l.pos < len(l.text) && isBare(l.text[l.pos]) {
		l.pos++
	}
	return l.intern(l.text[start:l.pos])
}

// intern returns a copy of the name, the same for the same name: the lines outlive the text.
func (l *locator) intern(name string) string {
	if known, ok := l.names[name]; ok {
		return known
	}
	name = strings.Clone(name)
	l.names[name] = name
	return name
}

// unquote returns what is in the quotes of a key.
func unquote(s string) string {
	if s[0] == '"' && strings.Contains(s, `\`) {
		var v struct{ Key string }
		if _, err := toml.Decode("Key = "+s, &v); err == nil {
			return v.Key
		}
	}
	return strings.Trim(s, s[:1])
}

// skip passes over a value.
func (l *locator) skip() {
	depth := 0
	for l.more() {
		switch l.text[l.pos] {
		case '"', '\'':
			l.anyString()
			continue
		case '[', '{':
			depth++
			l.limit(depth)
		case ']', '}':
			if depth == 0 {
				return
			}
			depth--
		case ',':
			if depth == 0 {
				return
			}
		case '#':
			l.comment()
			continue
		case '\n':
			if depth == 0 {
				return
			}
			l.line++
		}
		l.pos++
	}
}

// anyString passes over a string of any of the four kinds. The text stands at its first quote.
func (l *locator) anyString() {
	quotes := strings.Repeat(l.text[l.pos:l.pos+1], 3)
	if !strings.HasPrefix(l.text[l.pos:], quotes) {
		l.line1String()
		return
	}
	start := l.pos
	l.pos += len(quotes)
	for l.pos < len(l.text) && !strings.HasPrefix(l.text[l.pos:], quotes) {
		l.escape(quotes[0])
		l.pos++
	}
	l.pos = min(l.pos+len(quotes), len(l.text))
	for extra := 0; extra < 2 && l.accept(quotes[0]); extra++ { // TOML 1.0: up to two quotes before the closing ones
	}
	l.line += strings.Count(l.text[start:l.pos], "\n")
}

// line1String passes over a string within one line.
func (l *locator) line1String() {
	quote := l.text[l.pos]
	for l.pos++; l.pos < len(l.text) && l.text[l.pos] != '\n'; l.pos++ {
		if l.accept(quote) {
			return
		}
		l.escape(quote)
	}
}

// escape passes over a backslash that takes the meaning of the next character, as it does between double quotes.
func (l *locator) escape(quote byte) {
	if quote == '"' && l.at('\\') && l.pos+1 < len(l.text) && l.text[l.pos+1] != '\n' {
		l.pos++
	}
}

// space passes over blanks, newlines and comments.
func (l *locator) space() {
	for l.pos < len(l.text) {
		switch l.text[l.pos] {
		case ' ', '\t', '\r':
			l.pos++
		case '\n':
			l.line++
			l.pos++
		case '#':
			l.comment()
		default:
			return
		}
	}
}

// comment goes to the end of the line.
func (l *locator) comment() {
	if i := strings.IndexByte(l.text[l.pos:], '\n'); i >= 0 {
		l.pos += i
	} else {
		l.pos = len(l.text)
	}
}

func (l *locator) blanks() {
	for l.at(' ') || l.at('\t') {
		l.pos++
	}
}

func (l *locator) at(c byte) bool { return l.pos < len(l.text) && l.text[l.pos] == c }

func (l *locator) accept(c byte) bool {
	if !l.at(c) {
		return false
	}
	l.pos++
	return true
}

func (l *locator) limit(depth int) {
	if depth > maxNesting && l.tooDeep == 0 {
		l.tooDeep = l.line
	}
}

// isBare tells whether a key with the character needs no quotes (TOML 1.0, "Keys").
func isBare(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-'
}
