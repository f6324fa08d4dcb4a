package firewall

import (
	"bytes"
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// span is where in a state something stands.
type span struct{ at, n int }

// What a state holds: everything that rules can change, and what depends on it.
func networkSpan() span   { return span{0, 40} }
func transportSpan() span { return span{40, 20} }
func markSpan() span      { return span{60, 4} }
func ctMarkSpan() span    { return span{64, 4} }
func pktTypeSpan() span   { return span{68, 1} }
func ctStateSpan() span   { return span{69, 4} }
func ctStatusSpan() span  { return span{73, 4} }
func ctThereSpan() span   { return span{77, 1} } // 1: the packet belongs to a connection

const stateLen = 78

// state is the packet as the rules so far have left it.
type state struct {
	value, known [stateLen]byte
}

func (s *state) get(p span) bits {
	return bits{s.value[p.at : p.at+p.n], s.known[p.at : p.at+p.n]}
}

func (s *state) set(p span, b bits) {
	copy(s.value[p.at:p.at+p.n], b.value)
	copy(s.known[p.at:p.at+p.n], b.known)
}

// forget makes it unknown.
func (s *state) forget(p span) { s.set(p, unknown(p.n)) }

// join keeps what both say.
func (s *state) join(o *state) {
	for i := range s.value {
		s.known[i] &= o.known[i] &^ (s.value[i] ^ o.value[i])
		s.value[i] &= s.known[i]
	}
}

// merged is the join of any number of states.
type merged struct {
	state state
	any   bool
}

func (m *merged) add(s state) {
	if m.any {
		m.state.join(&s)
		return
	}
	m.state, m.any = s, true
}

// host32 is a number as the kernel keeps it in a register.
func host32(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }

func host16(v uint16) []byte { return binary.NativeEndian.AppendUint16(nil, v) }

// setTuple writes the addresses and ports.
func (s *state) setTuple(t Tuple) {
	at, n := 12, 4 // RFC 791, section 3.1
	if t.Src.Addr().Is6() || t.Dst.Addr().Is6() {
		at, n = 8, 16 // RFC 8200, section 3
	}
	for i, end := range []struct {
		addr []byte
		port uint16
	}{{t.Src.Addr().AsSlice(), t.Src.Port()}, {t.Dst.Addr().AsSlice(), t.Dst.Port()}} {
		addr := span{networkSpan().at + at + i*n, n}
		if s.forget(addr); len(end.addr) == n {
			s.set(addr, known(end.addr))
		}
		port := span{transportSpan().at + 2*i, 2}
		if s.forget(port); end.port != 0 {
			s.set(port, known(binary.BigEndian.AppendUint16(nil, end.port)))
		}
	}
}

// forgetTuple makes addresses and ports unknown.
func (s *state) forgetTuple(is6 bool) {
	addrs := span{networkSpan().at + 12, 8}
	if is6 {
		addrs = span{networkSpan().at + 8, 32}
	}
	s.forget(addrs)
	s.forget(span{transportSpan().at, 4})
}

// setHeaders writes what is known of the headers besides addresses and ports.
func (s *state) setHeaders(p *Packet) {
	byteAt := func(at int, v byte) { s.set(span{at, 1}, known([]byte{v})) }
	if p.is6() {
		s.set(span{0, 1}, bits{[]byte{0x60}, []byte{0xf0}}) // the version; the traffic class is not known
		byteAt(6, p.Proto)
	} else {
		s.set(span{0, 1}, bits{[]byte{0x40}, []byte{0xf0}})       // options are not known
		s.set(span{6, 2}, bits{[]byte{0, 0}, []byte{0x3f, 0xff}}) // no fragment
		byteAt(9, p.Proto)
	}
	at := transportSpan().at
	switch {
	case p.isICMP():
		byteAt(at, p.ICMPType)
		byteAt(at+1, p.ICMPCode)
	case p.Proto == unix.IPPROTO_TCP:
		if flags, ok := p.flags(); ok {
			byteAt(at+13, flags)
		}
	}
}

// Bits of ct state as nft's registers have them (NF_CT_STATE_BIT of linux/netfilter/nf_conntrack_common.h).
func ctStateBits(c CTState) (uint32, bool) {
	v, ok := map[CTState]uint32{Invalid: 1, Established: 2, Related: 4, New: 8, Untracked: 64}[c]
	return v, ok
}

// setConnection writes what connection tracking says of the packet, where it has seen it. The status has more bits than
// those of translation; of a new connection it is known that nobody answered yet.
func (s *state) setConnection(c CTState, status uint32) {
	const seenReply, assured = 1 << 1, 1 << 2
	s.forget(ctStateSpan())
	s.forget(ctStatusSpan())
	s.forget(ctThereSpan())
	v, ok := ctStateBits(c)
	if !ok {
		return
	}
	s.set(ctStateSpan(), known(host32(v)))
	s.set(ctThereSpan(), known([]byte{b2u(c != Invalid && c != Untracked)}))
	sure := StatusSNAT | StatusDNAT
	if c == New {
		sure |= seenReply | assured
	}
	s.set(ctStatusSpan(), bits{host32(status & sure), host32(sure)})
}

func b2u(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// registers is the register file of a rule: 16 words, which the four old registers are four of each
// (enum nft_registers).
type registers struct {
	value, known [64]byte
}

// offset is where a register begins, -1 for one that is none.
func offset(reg uint32) int {
	switch {
	case reg >= unix.NFT_REG_1 && reg <= unix.NFT_REG_4:
		return int(reg-unix.NFT_REG_1) * 16
	case reg >= unix.NFT_REG32_00 && reg <= unix.NFT_REG32_15:
		return int(reg-unix.NFT_REG32_00) * 4
	}
	return -1
}

func (r *registers) load(reg uint32, n int) bits {
	at := offset(reg)
	if at < 0 || n < 0 || at+n > len(r.value) {
		return unknown(max(0, min(n, len(r.value))))
	}
	return bits{bytes.Clone(r.value[at : at+n]), bytes.Clone(r.known[at : at+n])}
}

// store writes a value, and zeros behind it to the end of the word, as the kernel does.
func (r *registers) store(reg uint32, b bits) {
	at := offset(reg)
	if at < 0 || at+b.len() > len(r.value) {
		return
	}
	copy(r.value[at:], b.value)
	copy(r.known[at:], b.known)
	for i := at + b.len(); i%4 != 0; i++ {
		r.value[i], r.known[i] = 0, 0xff
	}
}
