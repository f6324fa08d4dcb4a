package nat

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"strings"
)

// WriteText writes the ruleset in nft syntax, as `nft -f` reads it and `nft list table` prints it.
func (r *Ruleset) WriteText(w io.Writer) error {
	p := printer{w: w}
	p.printf("table inet %s {\n", TableName)
	for i := range r.Sets {
		p.set(&r.Sets[i])
	}
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
	kind, types := "set", fieldNames(s.Key)
	if s.Data != nil {
		kind, types = "map", types+" : "+fieldNames(s.Data)
	}
	p.printf("\t%s %s {\n\t\ttype %s\n", kind, s.Name, types)
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
	p.printf("\tchain %s {\n\t\ttype %s hook %s priority %s; policy %s;\n", c.Name, c.Type, c.Name, priority, policyName(c.Drop))
	for _, r := range c.Rules {
		p.printf("\t\t%s comment %q\n", r.Text, r.Comment)
	}
	p.printf("\t}\n")
}

func fieldNames(fields []Field) string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.Name
	}
	return strings.Join(names, " . ")
}

// text is the element in nft syntax.
func (e *Element) text(s *Set) string {
	text := fieldsText(s.Key, e.Key[:])
	if e.Comment != "" {
		text += fmt.Sprintf(" comment %q", e.Comment)
	}
	if s.Data != nil {
		text += " : " + fieldsText(s.Data, e.Value[:])
	}
	return text
}

func fieldsText(fields []Field, b []byte) string {
	parts := make([]string, len(fields))
	for i, f := range fields {
		at := b[4*i:]
		switch f {
		case addrField():
			parts[i] = netip.AddrFrom4([4]byte(at[:4])).String()
		case protoField():
			parts[i] = Protocol(at[0]).String()
		default:
			parts[i] = fmt.Sprint(binary.BigEndian.Uint16(at))
		}
	}
	return strings.Join(parts, " . ")
}
