package nat

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Element is an element of a set or map. Its comment is the name of the relay that it belongs to; those of gateways and
// statics have the kind in front.
type Element struct {
	Key     Key
	Value   Value
	Comment string
	Packets uint64 // of the counter
	Bytes   uint64
}

// Key is the key of an element: its fields one behind the other, each padded to four bytes as the kernel's registers
// want it. In a set of intervals the first key comes first and the last one behind it.
type Key string

// Value is the value of an element of a map, laid out as a Key is: the first and the last address of a network one
// behind the other, the name of the chain for a verdict.
type Value string

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

// sortElements puts elements in the order of their keys, which makes comparing two sets one walk.
func sortElements(elements []Element) {
	slices.SortFunc(elements, func(a, b Element) int { return strings.Compare(string(a.Key), string(b.Key)) })
}

// Endpoint is an address, protocol and port: what a client dials, or where a backend listens.
type Endpoint struct {
	Addr  netip.Addr
	Proto Protocol
	Port  uint16
}

// maxKey is the length in bytes of the longest key: the registers that there are (NFT_REG32_COUNT of
// linux/netfilter/nf_tables.h).
const maxKey = 64

// key is the endpoint as the key of a set.
func (e Endpoint) key() Key {
	b := make([]byte, 0, maxKey)
	return Key(e.appendTo(b))
}

func (e Endpoint) appendTo(b []byte) []byte {
	b = append(appendAddr(b, e.Addr), byte(e.Proto), 0, 0, 0)
	return append(binary.BigEndian.AppendUint16(b, e.Port), 0, 0)
}

// keyFrom is the key with a source network in front.
func (e Endpoint) keyFrom(net netip.Addr) Key {
	b := make([]byte, 0, maxKey)
	return Key(e.appendTo(appendAddr(b, net)))
}

// keyTo is the key with the address of a backend behind it.
func (e Endpoint) keyTo(backend netip.Addr) Key {
	b := make([]byte, 0, maxKey)
	return Key(appendAddr(e.appendTo(b), backend))
}

// portKey is the key without the protocol.
func (e Endpoint) portKey() Key {
	b := appendAddr(make([]byte, 0, maxKey), e.Addr)
	return Key(append(binary.BigEndian.AppendUint16(b, e.Port), 0, 0))
}

// slot is the key with the number of a slot behind it, as numgen and jhash leave it in a register.
func (k Key) slot(n int) Key {
	b := append(make([]byte, 0, maxKey), k...)
	return Key(binary.NativeEndian.AppendUint32(b, uint32(n)))
}

// idle tells whether the key ends with a slot that no connection ever gets.
func (k Key) idle() bool {
	return len(k) >= 4 && binary.NativeEndian.Uint32([]byte(k[len(k)-4:])) >= idleSlot
}

// endpoint reads the endpoint at the begin of a key; ok is false when there is none.
func (k Key) endpoint() (e Endpoint, ok bool) {
	size := 4
	if len(k) >= 24 {
		size = 16
	}
	if len(k) < size+8 {
		return Endpoint{}, false
	}
	e.Addr, _ = netip.AddrFromSlice([]byte(k[:size]))
	e.Proto, e.Port = Protocol(k[size]), uint16(k[size+4])<<8|uint16(k[size+5])
	return e, true
}

func appendAddr(b []byte, a netip.Addr) []byte {
	if a.Is4() {
		b4 := a.As4()
		return append(b, b4[:]...)
	}
	b16 := a.As16()
	return append(b, b16[:]...)
}

func addrValue(a netip.Addr) Value { return Value(appendAddr(make([]byte, 0, maxKey), a)) }

func addrPortValue(a netip.AddrPort) Value {
	b := appendAddr(make([]byte, 0, maxKey), a.Addr())
	return Value(append(binary.BigEndian.AppendUint16(b, a.Port()), 0, 0))
}

// addrPort reads back what addrPortValue wrote.
func (v Value) addrPort() netip.AddrPort {
	if len(v) < 8 {
		return netip.AddrPort{}
	}
	at := len(v) - 4
	a, _ := netip.AddrFromSlice([]byte(v[:at]))
	return netip.AddrPortFrom(a, uint16(v[at])<<8|uint16(v[at+1]))
}

// Listen is the endpoint that an element of a Plan's Retired stands for.
func (e *Element) Listen() Endpoint {
	listen, _ := e.Key.endpoint()
	return listen
}

// Text is the endpoint and the relay that it belonged to.
func (e *Element) Text() string {
	listen := e.Listen()
	return fmt.Sprintf("%s/%s (relay %s)", netip.AddrPortFrom(listen.Addr, listen.Port), listen.Proto, e.Comment)
}
