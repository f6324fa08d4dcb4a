package nat

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// TableName is the one table that natd owns, in the inet family.
const TableName = "natd"

// Ruleset is a table as it should be, or as it was read from the kernel.
type Ruleset struct {
	Chains []Chain
	Sets   []Set // sorted by name
}

// Chain is a base chain and its rules, in order.
type Chain struct {
	Name     string
	Type     string // "nat" or "filter"
	Hook     uint32 // enum nf_inet_hooks
	Priority int32
	Drop     bool // the policy: drop or accept
	Rules    []Rule
}

// sameHook tells whether the chains are the same but for their policy, which can be changed in place, and their rules.
func (c *Chain) sameHook(o *Chain) bool {
	return c.Type == o.Type && c.Hook == o.Hook && c.Priority == o.Priority
}

// Rule is one rule. Two rules are the same when their comments and their canonical forms are.
type Rule struct {
	Comment string
	Text    string // in nft syntax, without the comment; "" for a rule that was read from the kernel
	exprs   []byte // NFTA_RULE_EXPRESSIONS as it is sent
	canon   string // the expressions in the form that does not depend on who wrote them
}

// Set is a set, or with Data a map, of exact keys.
type Set struct {
	Name     string
	Key      []Field
	Data     []Field
	Counter  bool // every element counts its lookups: for a nat chain, connections
	Keep     bool // elements that are not wanted any more stay until Kernel.Release removes them
	Elements []Element
}

// find is the set of that name, nil when there is none.
func find(sets []Set, name string) *Set {
	i, ok := slices.BinarySearchFunc(sets, name, func(s Set, name string) int { return strings.Compare(s.Name, name) })
	if !ok {
		return nil
	}
	return &sets[i]
}

// Element is an element of a set or map, with the name of the relay that it belongs to as comment.
type Element struct {
	Key     Key
	Value   Value
	Comment string
	Packets uint64 // of the counter
	Bytes   uint64
}

// same tells whether the elements agree in everything that natd decides.
func (e *Element) same(o *Element) bool {
	return e.Key == o.Key && e.Value == o.Value && e.Comment == o.Comment
}

// goOn lets the count begin where that of the element that is replaced ended, if both are of the same relay.
func (e *Element) goOn(old *Element) {
	if e.Comment == old.Comment {
		e.Packets, e.Bytes = old.Packets, old.Bytes
	}
}

// Key is the key of an element: its fields one behind the other, each padded to four bytes as the kernel's registers
// want it, the rest zero.
type Key [16]byte

// Value is the value of an element of a map, laid out as a Key is.
type Value [8]byte

// Field is a part of a key or value: an nft data type.
type Field struct {
	Name string
	id   uint32 // enum datatypes in nft's include/datatype.h
	size int    // bytes that carry data; padded to four
}

// The data types that natd's keys and values are made of.

func addrField() Field  { return Field{"ipv4_addr", 7, 4} }
func protoField() Field { return Field{"inet_proto", 12, 1} }
func portField() Field  { return Field{"inet_service", 13, 2} }

// fieldsID is the number nft has for the concatenation: six bits for each type.
func fieldsID(fields []Field) (id uint32) {
	for _, f := range fields {
		id = id<<6 | f.id
	}
	return id
}

// fieldsLen is the length of the concatenation in bytes.
func fieldsLen(fields []Field) int {
	if len(fields) == 1 {
		return fields[0].size
	}
	return 4 * len(fields)
}

// Endpoint is an address, protocol and port: what a client dials, or where a backend listens.
type Endpoint struct {
	Addr  netip.Addr
	Proto Protocol
	Port  uint16
}

// key is the endpoint as the key of a set.
func (e Endpoint) key() (k Key) {
	addr := e.Addr.As4()
	copy(k[:], addr[:])
	k[4] = byte(e.Proto)
	binary.BigEndian.PutUint16(k[8:], e.Port)
	return k
}

// keyFrom is the key with a source network in front.
func (e Endpoint) keyFrom(net netip.Addr) (k Key) {
	src, rest := net.As4(), e.key()
	copy(k[:], src[:])
	copy(k[4:], rest[:12])
	return k
}

// endpoint reads back what key wrote.
func (k Key) endpoint() Endpoint {
	return Endpoint{
		Addr:  netip.AddrFrom4([4]byte(k[:4])),
		Proto: Protocol(k[4]),
		Port:  binary.BigEndian.Uint16(k[8:]),
	}
}

func addrValue(a netip.Addr) (v Value) {
	b := a.As4()
	copy(v[:], b[:])
	return v
}

func addrPortValue(a netip.AddrPort) Value {
	v := addrValue(a.Addr())
	binary.BigEndian.PutUint16(v[4:], a.Port())
	return v
}

// sortElements puts elements in the order of their keys, which makes comparing two sets one walk.
func sortElements(elements []Element) {
	slices.SortFunc(elements, func(a, b Element) int { return bytes.Compare(a.Key[:], b.Key[:]) })
}

// Listen is the endpoint that an element of a Plan's Retired stands for.
func (e *Element) Listen() Endpoint { return e.Key.endpoint() }

// Listens is what the kernel's table listens on.
func (r *Ruleset) Listens() []Endpoint {
	set := find(r.Sets, setListens)
	if set == nil {
		return nil
	}
	listens := make([]Endpoint, len(set.Elements))
	for i := range set.Elements {
		listens[i] = set.Elements[i].Listen()
	}
	return listens
}

// Connections is how many connections the kernel has let through each relay since the table was made, by name.
func (r *Ruleset) Connections() map[string]uint64 {
	total := make(map[string]uint64)
	for i := range r.Sets {
		if s := &r.Sets[i]; s.Counter {
			for j := range s.Elements {
				total[s.Elements[j].Comment] += s.Elements[j].Packets
			}
		}
	}
	return total
}

// Text is the endpoint and the relay that it belonged to.
func (e *Element) Text() string {
	listen := e.Listen()
	return fmt.Sprintf("%s/%s (relay %s)", netip.AddrPortFrom(listen.Addr, listen.Port), listen.Proto, e.Comment)
}
