package nat

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"natd/internal/nfnl"
)

// encoded is the bytes of the plan as one transaction.
func encoded(p *Plan) []byte {
	b := nfnl.NewBatch(7)
	p.encode(b, Hold{ProtectGuard, ours})
	return slices.Clone(b.Payload())
}

func TestComment(t *testing.T) {
	t.Parallel()
	for _, comment := range []string{"", "web", strings.Repeat("a", 48), strings.Repeat("b", 250)} {
		if got := string(decodeComment(encodeComment(comment))); got != comment {
			t.Errorf("decodeComment(encodeComment(%q)) = %q", comment, got)
		}
	}
}

// User data is written by anybody: a list of type, length and value.
func TestDecodeForeignComment(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"nothing":                 {nil, ""},
		"half a header":           {[]byte{0}, ""},
		"longer than it is":       {[]byte{0, 4, 'w', 'e', 'b'}, ""},
		"without a zero byte":     {[]byte{0, 3, 'w', 'e', 'b'}, "web"},
		"behind something else":   {[]byte{1, 4, 0, 0, 0, 2, 0, 4, 'w', 'e', 'b', 0}, "web"},
		"another type":            {[]byte{9, 4, 'w', 'e', 'b', 0}, ""},
		"the first of two counts": {[]byte{0, 2, 'a', 0, 0, 2, 'b', 0}, "a"},
		"empty":                   {[]byte{0, 0}, ""},
	} {
		if got := string(decodeComment(c.data)); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestKey(t *testing.T) {
	t.Parallel()
	e := endpoint("10.2.0.100", UDP, 0x1234)
	if want := Key("\x0a\x02\x00\x64\x11\x00\x00\x00\x12\x34\x00\x00"); e.key() != want {
		t.Errorf("key() = %v, want %v", e.key(), want)
	}
	if want := "\x0a\x01\x00\x00" + e.key(); Key(e.appendFrom(nil, addr("10.1.0.0"))) != want {
		t.Errorf("appendFrom() = %v, want %v", e.appendFrom(nil, addr("10.1.0.0")), want)
	}
	for _, e := range []Endpoint{e, endpoint("fd00::1", SCTP, 9)} {
		for name, k := range map[string]Key{"alone": e.key(), "to a backend": Key(e.appendToward(nil, e.Addr)), "of a slot": Key(appendSlot(e.appendTo(nil), 7))} {
			if got, ok := k.endpoint(); got != e || !ok {
				t.Errorf("%s: endpoint() = %v, %v, want %v", name, got, ok, e)
			}
		}
	}
	if _, ok := Key("\x0a\x02").endpoint(); ok {
		t.Error("two bytes are an endpoint")
	}
}

func TestFields(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fields []Field
		id     uint32 // as nft numbers types: six bits each
		length uint32
	}{
		"an address":      {[]Field{addr4Field()}, 7, 4},
		"a protocol":      {[]Field{protoField()}, 12, 1},
		"an endpoint":     {[]Field{addr4Field(), protoField(), portField()}, 7<<12 | 12<<6 | 13, 12},
		"with its source": {[]Field{addr4Field(), addr4Field(), protoField(), portField()}, 7<<18 | 7<<12 | 12<<6 | 13, 16},
		"of IPv6":         {families()[1].endpoint, 8<<12 | 12<<6 | 13, 24},
		"a slot":          {[]Field{portField(), slotField()}, 13<<6 | 4, 8},
		"a segment size":  {[]Field{mssField()}, 4, 2},
	} {
		if id, length := fieldsID(c.fields), fieldsLen(c.fields); id != c.id || length != int(c.length) {
			t.Errorf("%s: type %d of %d bytes, want %d of %d", name, id, length, c.id, c.length)
		}
		if got := fieldsOf(c.id, c.length); !slices.EqualFunc(got, c.fields, Field.same) {
			t.Errorf("%s: read back as %v", name, got)
		}
	}
	for name, c := range map[string]struct{ id, length uint32 }{
		"nothing": {0, 4}, "an Ethernet address": {9, 6}, "one unknown part": {7<<6 | 9, 8},
	} {
		if got := fieldsOf(c.id, c.length); got != nil {
			t.Errorf("%s: read as %v", name, got)
		}
	}
}

// What the kernel adds to and leaves out of an expression does not change its canonical form; everything else does.
func TestCanonical(t *testing.T) {
	t.Parallel()
	form := func(parts ...part) string { return rule("", parts...).canon }
	look := func(edit func(*expr.Lookup)) part {
		l := &expr.Lookup{SourceRegister: 1, SetName: "a"}
		edit(l)
		return part{exprs: []expr.Any{l}}
	}
	nat := func(edit func(*expr.NAT)) part {
		n := &expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 1, RegProtoMin: 9}
		edit(n)
		return part{exprs: []expr.Any{n}}
	}
	for name, c := range map[string]struct {
		a, b string
		same bool
	}{
		"a set's number in its batch": {form(look(func(l *expr.Lookup) { l.SetID = 3 })), form(in("a")), true},
		"another set":                 {form(in("a")), form(in("b")), false},
		"not in the set":              {form(look(func(l *expr.Lookup) { l.Invert = true })), form(in("a")), false},
		"one register for the range":  {form(nat(func(n *expr.NAT) { n.RegAddrMax, n.RegProtoMax = 1, 9 })), form(nat(func(*expr.NAT) {})), true},
		"a range of addresses":        {form(nat(func(n *expr.NAT) { n.RegAddrMax = 2 })), form(nat(func(*expr.NAT) {})), false},
		"persistent":                  {form(nat(func(n *expr.NAT) { n.Persistent = true })), form(nat(func(*expr.NAT) {})), false},
		"random ports":                {form(nat(func(n *expr.NAT) { n.Random = true })), form(nat(func(*expr.NAT) {})), false},
		"snat for dnat":               {form(nat(func(n *expr.NAT) { n.Type = expr.NATTypeSourceNAT })), form(nat(func(*expr.NAT) {})), false},
		"accept and drop":             {form(accept()), form(drop()), false},
		"the two in one":              {form(accept(), drop()), form(drop(), accept()), false},
		"an expression more":          {form(accept()), form(families()[0].is(), accept()), false},
		"other bits":                  {form(ctStateIs("", 1)), form(ctStateIs("", 2)), false},
		"equal and not equal": {
			form(ctNotDNAT()), form(ctDNAT()), false,
		},
	} {
		if (c.a == c.b) != c.same {
			t.Errorf("%s: same form = %v, want %v:\n%s\n%s", name, c.a == c.b, c.same, c.a, c.b)
		}
	}
}

func TestElementsStayBelowTheLimitOfAnAttribute(t *testing.T) {
	t.Parallel()
	elements := make([]Element, 3000)
	for i := range elements {
		elements[i] = Element{
			Key:     Key(endpoint(hostAddr, TCP, uint16(i+1)).appendFrom(nil, addr("10.1.0.0"))),
			Comment: strings.Repeat("n", 48), Count: &Count{1, 1},
		}
	}
	s := *newSetOf("relays4_from16", append(families()[0].pair, protoField(), portField()), []Field{addr4Field(), portField()})
	s.Counter = true
	b := nfnl.NewBatch(0)
	changeElements(b, unix.NFT_MSG_NEWSETELEM, &s, elements)
	if b.Count() < 3 {
		t.Errorf("%d elements of %d bytes went into %d messages", len(elements), b.Len(), b.Count()-1)
	}
	read := 0
	for _, attrs := range messages(b.Payload()) {
		list := nfnl.Attr(attrs, unix.NFTA_SET_ELEM_LIST_ELEMENTS)
		for _, e := range nfnl.Attrs(list) {
			got := newElementReader().decode(e)
			if !got.same(&elements[read]) || *got.Count != *elements[read].Count {
				t.Fatalf("element %d is read back as %+v, want %+v", read, got, elements[read])
			}
			read++
		}
	}
	if read != len(elements) {
		t.Errorf("%d of %d elements are read back", read, len(elements))
	}
}

// messages is the attributes of each message in the bytes.
func messages(b []byte) (attrs [][]byte) {
	for len(b) > 0 {
		size := int(binary.NativeEndian.Uint32(b))
		attrs = append(attrs, b[nfnl.HeaderLen:size])
		b = b[size:]
	}
	return attrs
}

// A dump may have an element twice; taken for two, the second would be deleted as one that nobody wants.
func TestUniqueElements(t *testing.T) {
	t.Parallel()
	a, b := Element{Key: "1", Comment: "a"}, Element{Key: "2", Comment: "b"}
	counted := a
	counted.Count = &Count{Packets: 7}
	for name, c := range map[string]struct {
		in   []Element
		want bool
	}{
		"none":                  {nil, true},
		"one":                   {[]Element{a}, true},
		"in disorder":           {[]Element{b, a}, true},
		"one twice":             {[]Element{a, b, a}, false},
		"counted in between":    {[]Element{counted, b, a}, false},
		"nothing but one of it": {[]Element{a, a, a}, false},
	} {
		if got := unique(c.in); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
		if !slices.IsSortedFunc(c.in, func(a, b Element) int { return strings.Compare(string(a.Key), string(b.Key)) }) {
			t.Errorf("%s: not in order", name)
		}
	}
}

func TestAllZero(t *testing.T) {
	t.Parallel()
	if !allZero(nil) || !allZero(make([]byte, 4)) || allZero(bytes.Repeat([]byte{1}, 4)) || allZero([]byte{0, 1}) {
		t.Error("allZero is true of zero bytes only")
	}
}
