package nat

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Field is a part of a key or value: an nft data type.
type Field struct {
	Name string // nft's name of the type; "" for one that nft can only name by an expression of that type
	id   uint32 // enum datatypes in nft's include/datatype.h
	size int    // bytes that carry data; padded to four
	expr typeofExpr
}

// typeofExpr is an expression of a type, as nft's typeof has it.
type typeofExpr struct {
	text string
	data string // as user data of a set: expr_ops.build_udata of nft's src
}

// The data types that natd's keys and values are made of. The numbers of expressions are enum expr_types of nft's
// include/expression.h: payload, exthdr, meta and numgen; those behind them say which header and field, or which key.

func addr4Field() Field {
	return Field{"ipv4_addr", 7, 4, typeofExpr{"ip daddr", typeofData(7, 12, 12)}}
}

func addr4Source() Field {
	return Field{"ipv4_addr", 7, 4, typeofExpr{"ip saddr", typeofData(7, 12, 11)}}
}

func addr6Field() Field {
	return Field{"ipv6_addr", 8, 16, typeofExpr{"ip6 daddr", typeofData(7, 13, 9)}}
}

func addr6Source() Field {
	return Field{"ipv6_addr", 8, 16, typeofExpr{"ip6 saddr", typeofData(7, 13, 8)}}
}

func protoField() Field {
	return Field{"inet_proto", 12, 1, typeofExpr{"meta l4proto", typeofData(9, 16)}}
}

func portField() Field {
	return Field{"inet_service", 13, 2, typeofExpr{"th dport", typeofData(7, 11, 2)}}
}

// portOf is a port of one protocol. Where nft prints the type by an expression, the value of a map must not have a "th
// dport": nft 1.0.6 refuses rules that use a map of which the kernel says so.
func portOf(p Protocol) Field {
	header := map[Protocol]uint32{TCP: 8, UDP: 6, SCTP: 10}[p] // enum proto_desc_id of nft's include/proto.h
	return Field{"inet_service", 13, 2, typeofExpr{p.String() + " dport", typeofData(7, header, 2)}}
}

// slotField is a number below a modulus. nft 1.0.6 crashes when it lists a set whose type is that of a jhash: numgen's
// is the same.
func slotField() Field {
	return Field{"", 4, 4, typeofExpr{"numgen inc mod 4096", typeofData(23, 0, 4096, 0)}}
}

func mssField() Field {
	return Field{"", 4, 2, typeofExpr{"tcp option maxseg size", exprData(8, udata(nil, 1, word(2)), udata(nil, 2, word(1)), udata(nil, 0, word(2)))}}
}

// linkField is the name of an interface, with zero bytes behind it. nft garbles the elements of a set of type ifname, unless the set's user data
// tell in which order the bytes are; an expression tells that, too.
func linkField() Field {
	return Field{"", 41, unix.IFNAMSIZ, typeofExpr{"iifname", typeofData(9, 6)}}
}

// linkName is a name as a value of linkField.
func linkName(name string) []byte {
	data := make([]byte, unix.IFNAMSIZ)
	copy(data, name)
	return data
}

// chainField is the value of a map of verdicts: a goto to a chain.
func chainField() Field { return Field{Name: "verdict", id: 0xffffff00} }

func word(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }

// typeofData is the user data of an expression that is told by numbers.
func typeofData(expr uint32, numbers ...uint32) string {
	parts := make([][]byte, len(numbers))
	for i, n := range numbers {
		parts[i] = udata(nil, byte(i), word(n))
	}
	return exprData(expr, parts...)
}

func exprData(expr uint32, parts ...[]byte) string {
	return string(udata(udata(nil, 0, word(expr)), 1, slices.Concat(parts...)))
}

// udata appends user data as libnftnl writes it: type, length, value.
func udata(b []byte, typ byte, value []byte) []byte {
	return append(append(b, typ, byte(len(value))), value...)
}

// same tells whether the types are the same, whatever nft calls them.
func (f Field) same(o Field) bool { return f.id == o.id && f.size == o.size }

// fieldsID is the number nft has for the concatenation: six bits for each type.
func fieldsID(fields []Field) (id uint32) {
	if len(fields) == 1 {
		return fields[0].id
	}
	for _, f := range fields {
		id = id<<6 | f.id
	}
	return id
}

// fieldsLen is the length of the concatenation in bytes.
func fieldsLen(fields []Field) (length int) {
	if len(fields) == 1 {
		return fields[0].size
	}
	for _, f := range fields {
		length += f.padded()
	}
	return length
}

func (f Field) padded() int { return (f.size + 3) &^ 3 }

// fieldsOf turns nft's number of a concatenation back into data types: nil when one of them is none of natd's.
func fieldsOf(id, length uint32) []Field {
	if id == chainField().id {
		return []Field{chainField()}
	}
	var fields []Field
	for rest := id; rest != 0; rest >>= 6 {
		known := []Field{addr4Field(), addr6Field(), protoField(), portField(), slotField(), linkField()}
		if id == mssField().id && int(length) == mssField().size {
			known = []Field{mssField()}
		}
		i := slices.IndexFunc(known, func(f Field) bool { return f.id == rest&0x3f })
		if i < 0 {
			return nil
		}
		fields = append(fields, known[i])
	}
	slices.Reverse(fields)
	return fields
}

// splitFields cuts raw bytes into the fields' own. Bytes that are missing are zero.
func splitFields(fields []Field, raw string) []string {
	raw += strings.Repeat("\x00", max(0, fieldsLen(fields)-len(raw)))
	parts := make([]string, len(fields))
	for i, f := range fields {
		parts[i] = raw[:f.size]
		raw = raw[min(f.padded(), len(raw)):]
	}
	return parts
}

// text is a value of the type in nft syntax.
func (f Field) text(raw string) string {
	switch f.id {
	case addr4Field().id, addr6Field().id:
		a, _ := netip.AddrFromSlice([]byte(raw))
		return a.String()
	case linkField().id:
		return fmt.Sprintf("%q", strings.TrimRight(raw, "\x00"))
	case protoField().id:
		return Protocol(raw[0]).String()
	case slotField().id:
		if f.size == 4 {
			return fmt.Sprint(binary.NativeEndian.Uint32([]byte(raw)))
		}
	}
	number := 0
	for i := range len(raw) {
		number = number<<8 | int(raw[i])
	}
	return strconv.Itoa(number)
}

// rangeText is the values from first to last in nft syntax.
func (f Field) rangeText(first, last string) string {
	from := f.text(first)
	if first == last {
		return from
	}
	if bits := prefixBits(first, last); bits >= 0 && (f.id == addr4Field().id || f.id == addr6Field().id) {
		return fmt.Sprintf("%s/%d", from, bits)
	}
	return from + "-" + f.text(last)
}

// prefixBits is the length of the prefix that holds exactly the addresses from first to last, -1 when there is none.
func prefixBits(first, last string) int {
	bits, open := 0, false
	for i := range 8 * len(first) {
		a, b := first[i/8]>>(7-i%8)&1, last[i/8]>>(7-i%8)&1
		switch {
		case !open && a == b:
			bits++
		case a == 0 && b == 1:
			open = true
		default:
			return -1
		}
	}
	return bits
}

// User data of a set (enum nftnl_udata_set_types of libnftnl's include/libnftnl/udata.h), from which nft prints what the
// number of its type does not tell.
const (
	udataKeyTypeof    = 3
	udataDataTypeof   = 4
	udataDataInterval = 6

	exprConcat = 13 // of enum expr_types
)

// typeofSet is the user data that tells the expressions of a set's types.
func typeofSet(key, data []Field) string {
	b := udata(nil, udataKeyTypeof, []byte(typeofFields(key)))
	if data != nil {
		b = udata(b, udataDataTypeof, []byte(typeofFields(data)))
	}
	return string(b)
}

func typeofFields(fields []Field) string {
	if len(fields) == 1 {
		return fields[0].expr.data
	}
	var parts []byte
	for i, f := range fields {
		parts = udata(parts, byte(i), []byte(f.expr.data))
	}
	return exprData(exprConcat, parts)
}
