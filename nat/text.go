package nat

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// WriteText writes the ruleset in nft syntax, as `nft -f` reads it and `nft list table` prints it.
func (r *Ruleset) WriteText(w io.Writer) error {
	p := printer{w: w}
	p.printf("table inet %s {\n", TableName)
	for i := range r.Sets {
		p.set(&r.Sets[i])
	}
	p.flowtable(r.FastPath)
	for i := range r.Chains {
		if i > 0 {
			p.printf("\n")
		}
		p.chain(&r.Chains[i])
	}
	p.printf("}\n")
	return p.err
}

// printer remembers the first error, so that the text can be written without asking after every line.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) printf(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

func (p *printer) set(s *Set) {
	kind := "set"
	if s.Data != nil {
		kind = "map"
	}
	p.printf("\t%s %s {\n\t\t%s\n", kind, s.Name, s.typeText())
	if s.Size > 0 {
		p.printf("\t\tsize %d\n", s.Size)
	}
	if flags := s.flagsText(); flags != "" {
		p.printf("\t\tflags %s\n", flags)
	}
	if s.Timeout > 0 {
		p.printf("\t\ttimeout %s\n", timeText(s.Timeout))
	}
	if s.Counter {
		p.printf("\t\tcounter\n")
	}
	for i := range s.Elements {
		head := "\t\t\t     "
		if i == 0 {
			head = "\t\telements = { "
		}
		tail := ",\n"
		if i == len(s.Elements)-1 {
			tail = " }\n"
		}
		p.printf("%s%s%s", head, s.Elements[i].text(s), tail)
	}
	p.printf("\t}\n\n")
}

func (p *printer) chain(c *Chain) {
	priority := map[int32]string{priorityDNAT: "dstnat", prioritySNAT: "srcnat", priorityFilter: "filter"}[c.Priority]
	p.printf("\tchain %s {\n", c.Name)
	if c.Type != "" {
		p.printf("\t\ttype %s hook %s priority %s; policy %s;\n", c.Type, c.Name, priority, policyName(c.Drop))
	}
	for _, r := range c.Rules {
		p.printf("\t\t%s comment %q\n", r.Text, r.Comment)
	}
	p.printf("\t}\n")
}

// typeText is the set's type: by the names of its fields, or where one has none by expressions of the types.
func (s *Set) typeText() string {
	word, name := "type", func(f Field) string { return f.Name }
	if slices.ContainsFunc(slices.Concat(s.Key, s.Data), func(f Field) bool { return f.Name == "" }) {
		word, name = "typeof", func(f Field) string { return f.expr.text }
	}
	text := word + " " + fieldTexts(s.Key, name)
	if s.Data == nil {
		return text
	}
	text += " : "
	if s.Prefixes {
		text += "interval "
	}
	return text + fieldTexts(s.Data, name)
}

func fieldTexts(fields []Field, text func(Field) string) string {
	texts := make([]string, len(fields))
	for i, f := range fields {
		texts[i] = text(f)
	}
	return strings.Join(texts, " . ")
}

func (s *Set) flagsText() string {
	var flags []string
	if s.Interval {
		flags = append(flags, "interval")
	}
	if s.State {
		flags = append(flags, "dynamic")
	}
	if s.Timeout > 0 {
		flags = append(flags, "timeout")
	}
	return strings.Join(flags, ",")
}

// timeText is a time as nft has it: the units that there are some of, down to milliseconds.
func timeText(d time.Duration) string {
	var text strings.Builder
	for _, u := range []struct {
		name string
		size time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}, {"ms", time.Millisecond}} {
		if n := d / u.size; n > 0 {
			fmt.Fprintf(&text, "%d%s", n, u.name)
			d -= n * u.size
		}
	}
	return text.String()
}

// text is the element in nft syntax.
func (e *Element) text(s *Set) string {
	text := e.keyText(s)
	if e.Comment != "" {
		text += fmt.Sprintf(" comment %q", e.Comment)
	}
	if s.Data != nil {
		text += " : " + e.valueText(s)
	}
	return text
}

func (e *Element) keyText(s *Set) string {
	if !s.Interval {
		return fieldsText(s.Key, string(e.Key))
	}
	half := len(e.Key) / 2
	return rangesText(s.Key, string(e.Key[:half]), string(e.Key[half:]))
}

func (e *Element) valueText(s *Set) string {
	switch {
	case s.verdicts():
		return "goto " + string(e.Value)
	case s.Prefixes:
		first, last := string(e.Value[:len(e.Value)/2]), string(e.Value[len(e.Value)/2:])
		return fmt.Sprintf("%s/%d", fieldsText(s.Data, first), prefixBits(first, last))
	}
	return fieldsText(s.Data, string(e.Value))
}

func fieldsText(fields []Field, raw string) string {
	texts := splitFields(fields, raw)
	for i, f := range fields {
		texts[i] = f.text(texts[i])
	}
	return strings.Join(texts, " . ")
}

func rangesText(fields []Field, first, last string) string {
	texts, lasts := splitFields(fields, first), splitFields(fields, last)
	for i, f := range fields {
		texts[i] = f.rangeText(texts[i], lasts[i])
	}
	return strings.Join(texts, " . ")
}
