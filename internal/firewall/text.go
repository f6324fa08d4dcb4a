package firewall

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// maxTextElements is how many elements of a set without a name a rule's text has.
const maxTextElements = 32

// operand is what a register holds, in words.
type operand struct {
	words string // as nft calls it
	kind  uint32
	mask  []byte // of a bitwise operation before the comparison
	value []byte // of a constant
	size  int
}

// printer writes a rule in nft's words. As nft does it leaves out what follows from the rest: that a packet is of IPv4,
// where an IPv4 address is asked for.
type printer struct {
	family    string
	regs      map[int]operand
	words     []string
	network   string // ip or ip6, as far as the rule has said
	transport string
	implied   map[string]int // which words say so, and may go
}

// text is the rule in nft's words, as near as that is possible.
func (r *rule) text(family string) string {
	p := &printer{family: family, regs: make(map[int]operand), implied: make(map[string]int)}
	if family == "ip" || family == "ip6" {
		p.network = family
	}
	for _, e := range r.exprs {
		e.text(p)
	}
	if r.comment != "" {
		p.word(fmt.Sprintf("comment %q", r.comment))
	}
	var words []string
	for _, w := range p.words {
		if w != "" {
			words = append(words, w)
		}
	}
	return strings.Join(words, " ")
}

func (p *printer) word(w string) { p.words = append(p.words, w) }

func (p *printer) set(reg uint32, o operand) { p.regs[offset(reg)] = o }

func (p *printer) get(reg uint32) operand { return p.regs[offset(reg)] }

// drop takes words away that now follow from others.
func (p *printer) drop(what string) {
	if i, ok := p.implied[what]; ok {
		p.words[i] = ""
		delete(p.implied, what)
	}
}

// imply remembers what a comparison says of the packet.
func (p *printer) imply(o operand, value []byte) {
	switch o.words {
	case "meta nfproto":
		p.network = map[byte]string{unix.NFPROTO_IPV4: "ip", unix.NFPROTO_IPV6: "ip6"}[at(value, 0)]
		p.implied["network"] = len(p.words) - 1
	case "meta l4proto", "ip protocol", "ip6 nexthdr":
		p.transport = protoName(at(value, 0))
		p.implied["transport"] = len(p.words) - 1
	}
}

// keys is the words for a key of that many bytes, which may stand in several registers.
func (p *printer) keys(reg uint32, size int) string {
	var words []string
	for from := 0; from < size; {
		o, ok := p.regs[offset(reg)+from]
		if !ok {
			break
		}
		words = append(words, o.words)
		from += (max(o.size, 1) + 3) / 4 * 4
	}
	return strings.Join(words, " . ")
}

// target is where a translation leads: from the registers of addresses and ports.
func (p *printer) target(addrMin, addrMax, portMin, portMax uint32) string {
	text := ""
	one := func(kind, first, last uint32) string {
		o := p.get(first)
		if o.value == nil {
			return o.words
		}
		if last != 0 && last != first {
			return valueText(kind, o.value) + "-" + valueText(kind, p.get(last).value)
		}
		return valueText(kind, o.value)
	}
	if addrMin != 0 {
		kind := uint32(typeIPv4)
		if len(p.get(addrMin).value) == 16 {
			kind = typeIPv6
		}
		text = one(kind, addrMin, addrMax)
		if kind == typeIPv6 && portMin != 0 {
			text = "[" + text + "]"
		}
	}
	if portMin != 0 {
		text += ":" + one(typeService, portMin, portMax)
	}
	if text == "" {
		return ""
	}
	return " to " + text
}

func (c *compare) text(p *printer) {
	o := p.get(c.source)
	op := map[uint32]string{unix.NFT_CMP_NEQ: "!= ", unix.NFT_CMP_LT: "< ", unix.NFT_CMP_LTE: "<= ", unix.NFT_CMP_GT: "> ", unix.NFT_CMP_GTE: ">= "}[c.op]
	switch {
	case c.op == unix.NFT_CMP_LTE && p.closeRange(o, c.data):
		return
	case o.mask != nil:
		p.word(o.maskedText(c.op, c.data))
		return
	case strings.HasPrefix(o.words, "fib ") && o.kind != typeFibAddr && strings.Trim(string(c.data), "\x00") == "":
		p.word(o.words + map[bool]string{true: " missing", false: " exists"}[c.op == unix.NFT_CMP_EQ])
		return
	case (o.kind == typeIPv4 || o.kind == typeIPv6) && len(c.data) < kindLen(o.kind):
		whole := make([]byte, kindLen(o.kind))
		copy(whole, c.data)
		p.word(fmt.Sprintf("%s %s%s/%d", o.words, op, valueText(o.kind, whole), 8*len(c.data)))
		return
	}
	p.word(o.words + " " + op + valueText(o.kind, c.data))
	if c.op == unix.NFT_CMP_EQ {
		p.imply(o, c.data)
	}
}

// closeRange turns "at least" right before into a range.
func (p *printer) closeRange(o operand, last []byte) bool {
	n := len(p.words)
	if n == 0 {
		return false
	}
	rest, ok := strings.CutPrefix(p.words[n-1], o.words+" >= ")
	if ok {
		p.words[n-1] = o.words + " " + rest + "-" + valueText(o.kind, last)
	}
	return ok
}

// maskedText is a comparison of some bits.
func (o *operand) maskedText(op uint32, data []byte) string {
	zero := strings.Trim(string(data), "\x00") == ""
	not := op == unix.NFT_CMP_NEQ
	switch {
	case o.kind == typeIPv4 || o.kind == typeIPv6:
		if bits := maskBits(o.mask); bits >= 0 {
			return fmt.Sprintf("%s %s%s/%d", o.words, map[bool]string{true: "!= "}[not], valueText(o.kind, data), bits)
		}
	case o.isFlags() && zero && not:
		return o.words + " " + flagsText(o.kind, o.mask)
	case o.isFlags() && zero:
		return o.words + " ! " + flagsText(o.kind, o.mask)
	case o.isFlags():
		return o.words + " " + map[bool]string{true: "!= "}[not] + flagsText(o.kind, data) + " / " + flagsText(o.kind, o.mask)
	}
	return fmt.Sprintf("%s & %s %s %s", o.words, valueText(o.kind, o.mask), map[bool]string{true: "!=", false: "=="}[not], valueText(o.kind, data))
}

func (o *operand) isFlags() bool {
	return o.kind == typeCTState || o.kind == typeCTStatus || o.kind == typeTCPFlag
}

func (r *within) text(p *printer) {
	o := p.get(r.source)
	p.word(o.words + " " + map[bool]string{true: "!= "}[r.outside] + rangeText(o.kind, r.from, r.to))
}

func (e *bitwise) text(p *printer) {
	o := p.get(e.source)
	o.mask = e.mask
	if !e.boolean {
		o.words = "(" + o.words + ")"
	}
	p.set(e.dest, o)
}

func (e *byteorder) text(p *printer) {
	o := p.get(e.source)
	if o.kind == typeMark {
		o.kind = typeInteger
	}
	p.set(e.dest, o)
}

func (l *lookup) text(p *printer) {
	size := 4
	if l.set != nil {
		size = l.set.keyLen
	}
	words := p.keys(l.source, size)
	if l.invert {
		words += " !="
	}
	to := "@" + l.name
	if l.set != nil && strings.HasPrefix(l.name, "__") {
		to = l.set.elementsText()
	}
	switch {
	case l.isMap && l.set != nil && l.set.dataType == typeVerdict:
		p.word(words + " vmap " + to)
	case l.isMap:
		p.set(l.dest, operand{words: words + " map " + to})
	default:
		p.word(words + " " + to)
		p.implyAll(words)
	}
}

// implyAll remembers that a comparison with several values says something of the protocol, too, that nothing may be left
// out for.
func (p *printer) implyAll(words string) {
	if words == "meta l4proto" {
		p.transport = "th"
	}
}

// elementsText is the set as it stands in a rule that has it for itself.
func (s *set) elementsText() string {
	var texts []string
	for i := range s.elements {
		if i == maxTextElements {
			texts = append(texts, "...")
			break
		}
		e := &s.elements[i]
		texts = append(texts, s.keyText(e)+s.dataText(e))
	}
	if s.fallback != nil {
		texts = append(texts, "*"+s.dataText(s.fallback))
	}
	return "{ " + strings.Join(texts, ", ") + " }"
}

// dataText is the value of a map's element, and what stands before it.
func (s *set) dataText(e *element) string {
	switch {
	case e.verdict != nil:
		return " : " + e.verdict.String()
	case s.flags&unix.NFT_SET_MAP != 0:
		return " : " + valueText(s.dataType, e.data)
	}
	return ""
}

func (d *dynset) text(p *printer) {
	size := 4
	if d.set != nil {
		size = d.set.keyLen
	}
	words := p.keys(d.source, size)
	inner := &printer{family: p.family, regs: make(map[int]operand), implied: make(map[string]int)}
	for _, e := range d.exprs {
		e.text(inner)
	}
	verb := name(d.op, "add", "update", "delete")
	p.word(fmt.Sprintf("%s @%s { %s }", verb, d.name, strings.Join(append([]string{words}, inner.words...), " ")))
}
