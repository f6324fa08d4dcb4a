package nat

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// Element is an element of a set or map. Its comment is the name of the relay that it belongs to; those of gateways and
// statics have the kind in front.
type Element struct {
	Key     Key
	Value   Value
	Comment string
	Count   *Count // what its counter says; nil for nothing, which is most of many
}

// Count is what the counter of an element says. It is never changed, so that elements can share it.
type Count struct {
	Packets, Bytes uint64
}

// Packets is how many packets the element has counted: for a nat chain, connections.
func (e *Element) Packets() uint64 {
	if e.Count == nil {
		return 0
	}
	return e.Count.Packets
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
		e.Count = old.Count
	}
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
func (e Endpoint) key() Key { return Key(e.appendTo(make([]byte, 0, maxKey))) }

func (e Endpoint) appendTo(b []byte) []byte {
	b = append(appendAddr(b, e.Addr), byte(e.Proto), 0, 0, 0)
	return appendPort(b, e.Port)
}

// appendFrom is the key with a source network in front.
func (e Endpoint) appendFrom(b []byte, net netip.Addr) []byte { return e.appendTo(appendAddr(b, net)) }

// appendToward is the key with the address of a backend behind it.
func (e Endpoint) appendToward(b []byte, backend netip.Addr) []byte {
	return appendAddr(e.appendTo(b), backend)
}

// appendSlot is the key without the protocol and with the number of a slot behind it.
func (e Endpoint) appendSlot(b []byte, n int) []byte {
	return appendSlot(appendPort(appendAddr(b, e.Addr), e.Port), n)
}

// appendSlot appends the number of a slot as numgen and jhash leave it in a register.
func appendSlot(b []byte, n int) []byte { return binary.NativeEndian.AppendUint32(b, uint32(n)) }

// appendPort appends a port, padded.
func appendPort(b []byte, port uint16) []byte {
	return append(binary.BigEndian.AppendUint16(b, port), 0, 0)
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

func appendTarget(b []byte, a netip.AddrPort) []byte {
	return appendPort(appendAddr(b, a.Addr()), a.Port())
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
