package nat

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// operand is a part of a key: its text in nft syntax, the 32-bit registers that it takes, and what loads it. The scratch
// register is for what it computes from.
type operand struct {
	text  string
	words int
	load  func(register, scratch uint32) []expr.Any
}

// firstReg is the register that every match and every key begins in.
const firstReg = unix.NFT_REG_1

// reg is the 32-bit register behind n others. One that begins a 128-bit register goes by the name of that, as the
// kernel has it (nft_dump_register in net/netfilter/nf_tables_api.c).
func reg(n int) uint32 {
	if n%4 == 0 {
		return firstReg + uint32(n/4)
	}
	return unix.NFT_REG32_00 + uint32(n)
}

// key is operands one behind the other, loaded into registers from the first on.
func key(operands ...operand) part {
	var p part
	texts := make([]string, len(operands))
	words, at := 0, 0
	for _, o := range operands {
		words += o.words
	}
	scratch := reg(4 + words) // as nft has it: behind the key, and the address that is looked up by it
	if len(operands) == 1 {
		scratch = reg(4)
	}
	for i, o := range operands {
		texts[i] = o.text
		p.exprs = append(p.exprs, o.load(reg(at), scratch)...)
		at += o.words
	}
	p.text = strings.Join(texts, " . ")
	return p
}

func payload(text string, base expr.PayloadBase, offset, size uint32) operand {
	return operand{text, int(size+3) / 4, func(r, _ uint32) []expr.Any {
		return []expr.Any{&expr.Payload{DestRegister: r, Base: base, Offset: offset, Len: size}}
	}}
}

func (f family) ipSaddr() operand {
	return payload(f.word+" saddr", expr.PayloadBaseNetworkHeader, f.saddr, f.size)
}

func (f family) ipDaddr() operand {
	return payload(f.word+" daddr", expr.PayloadBaseNetworkHeader, f.daddr, f.size)
}

// Offsets of the ports in the TCP, UDP and SCTP headers (RFC 9293, RFC 768, RFC 9260).
func thSport() operand { return payload("th sport", expr.PayloadBaseTransportHeader, 0, 2) }
func thDport() operand { return payload("th dport", expr.PayloadBaseTransportHeader, 2, 2) }

// dport is the port for a rule that matches the protocol: nft prints the protocol in the port's place.
func (p Protocol) dport() operand {
	o := thDport()
	o.text = p.String() + " dport"
	return o
}

// ipSaddrMasked is the network of that prefix length that the source lies in.
func (f family) ipSaddrMasked(bits int) operand {
	o := f.ipSaddr()
	if bits == int(f.size)*8 {
		return o
	}
	network := maskOf(f, bits)
	return operand{o.text + " & " + network.String(), o.words, func(r, _ uint32) []expr.Any {
		return append(o.load(r, 0), mask(r, appendAddr(nil, network))...)
	}}
}

func l4proto() operand {
	return operand{"meta l4proto", 1, func(r, _ uint32) []expr.Any { return []expr.Any{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: r}} }}
}

// ctOriginalDaddr is what the client dialled: direction 0 of a tracked tuple is what it was before any translation.
func (f family) ctOriginalDaddr() operand {
	return operand{fmt.Sprintf("ct original %s daddr", f.word), int(f.size) / 4, func(r, _ uint32) []expr.Any {
		return []expr.Any{&expr.Ct{Key: f.ctDaddr, Register: r}}
	}}
}

func ctOriginalDport() operand {
	return operand{"ct original proto-dst", 1, func(r, _ uint32) []expr.Any {
		return []expr.Any{&expr.Ct{Key: expr.CtKeyPROTODST, Register: r}}
	}}
}

// dialled is what a packet's header says that it is for; before translation, what the client dialled.
func (f family) dialled() []operand { return []operand{f.ipDaddr(), l4proto(), thDport()} }

// tracked is what the client dialled, found after translation, and in packets of both directions. nft knows the type of
// a port in the tracked tuple only behind a match of the protocol.
func (f family) tracked() []operand {
	return []operand{f.ctOriginalDaddr(), l4proto(), ctOriginalDport()}
}

func numgen(word string, typ uint32, modulus int) operand {
	return operand{fmt.Sprintf("numgen %s mod %d", word, modulus), 1, func(r, _ uint32) []expr.Any {
		return []expr.Any{&expr.Numgen{Register: r, Modulus: uint32(modulus), Type: typ}}
	}}
}

// numgenInc counts packets that meet the rule.
func numgenInc(modulus int) operand    { return numgen("inc", unix.NFT_NG_INCREMENTAL, modulus) }
func numgenRandom(modulus int) operand { return numgen("random", unix.NFT_NG_RANDOM, modulus) }

// hashSeed makes a client's slot the same in every table that natd ever makes.
const hashSeed = 0x6e617464

// hashSlot is a number below the modulus that is always the same for one source address.
func (f family) hashSlot(modulus int) operand {
	source := f.ipSaddr()
	return operand{fmt.Sprintf("jhash %s mod %d seed %#x", source.text, modulus, hashSeed), 1, func(r, scratch uint32) []expr.Any {
		return append(source.load(scratch, 0), &expr.Hash{
			SourceRegister: scratch, DestRegister: r, Length: f.size, Modulus: uint32(modulus), Seed: hashSeed, Type: expr.HashTypeJenkins,
		})
	}}
}

func mask(r uint32, m []byte) []expr.Any {
	return []expr.Any{&expr.Bitwise{SourceRegister: r, DestRegister: r, Len: uint32(len(m)), Mask: m, Xor: make([]byte, len(m))}}
}

func hostOrder(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }
