package nat

import (
	"encoding/binary"
	"fmt"
	"net"
	"slices"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Registers: NFT_REG_1 and the 32-bit registers that lie in it and behind it. Concatenated keys fill them from
// the first on.
const firstReg = unix.NFT_REG_1

// reg is the register of the n-th field of a key. The first one goes by its old name, as nft has it.
func reg(n int) uint32 {
	if n == 0 {
		return firstReg
	}
	return unix.NFT_REG32_00 + uint32(n)
}

// field loads one part of a key into a register.
type field func(register uint32) []expr.Any

// load fills the registers with the parts of a key, in order.
func load(fields ...field) []expr.Any {
	var exprs []expr.Any
	for i, f := range fields {
		exprs = append(exprs, f(reg(i))...)
	}
	return exprs
}

func payload(base expr.PayloadBase, offset, size uint32) field {
	return func(r uint32) []expr.Any {
		return []expr.Any{&expr.Payload{DestRegister: r, Base: base, Offset: offset, Len: size}}
	}
}

// Offsets in the IPv4 header (RFC 791) and of the ports in the TCP and UDP headers (RFC 9293, RFC 768).
func ipSaddr() field { return payload(expr.PayloadBaseNetworkHeader, 12, 4) }
func ipDaddr() field { return payload(expr.PayloadBaseNetworkHeader, 16, 4) }
func thSport() field { return payload(expr.PayloadBaseTransportHeader, 0, 2) }
func thDport() field { return payload(expr.PayloadBaseTransportHeader, 2, 2) }

// ipSaddrMasked is the network of that prefix length that the source lies in.
func ipSaddrMasked(bits int) field {
	return func(r uint32) []expr.Any {
		exprs := ipSaddr()(r)
		if bits == 32 {
			return exprs
		}
		return append(exprs, mask(r, net.CIDRMask(bits, 32))...)
	}
}

func maskText(bits int) string {
	if bits == 32 {
		return ""
	}
	return fmt.Sprintf(" & %s", net.IP(net.CIDRMask(bits, 32)))
}

func l4proto() field {
	return func(r uint32) []expr.Any { return []expr.Any{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: r}} }
}

// Direction 0 of a tracked tuple is the original one: what the client sent before any translation.
func ctOriginalDaddr() field {
	return func(r uint32) []expr.Any { return []expr.Any{&expr.Ct{Key: ctKeyDstIP, Register: r}} }
}

func ctOriginalDport() field {
	return func(r uint32) []expr.Any { return []expr.Any{&expr.Ct{Key: expr.CtKeyPROTODST, Register: r}} }
}

// ctKeyDstIP is NFT_CT_DST_IP of linux/netfilter/nf_tables.h, which the library lacks: the IPv4 address alone.
const ctKeyDstIP = expr.CtKey(unix.NFT_CT_DST_IP)

func mask(r uint32, m []byte) []expr.Any {
	return []expr.Any{&expr.Bitwise{SourceRegister: r, DestRegister: r, Len: uint32(len(m)), Mask: m, Xor: make([]byte, len(m))}}
}

func compare(op expr.CmpOp, data []byte) []expr.Any {
	return []expr.Any{&expr.Cmp{Op: op, Register: firstReg, Data: data}}
}

// ipv4 matches IPv4 packets.
func ipv4() []expr.Any {
	return append([]expr.Any{&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: firstReg}},
		compare(expr.CmpOpEq, []byte{unix.NFPROTO_IPV4})...)
}

// l4protoIs matches packets of one transport protocol.
func l4protoIs(p Protocol) []expr.Any {
	return append(l4proto()(firstReg), compare(expr.CmpOpEq, []byte{byte(p)})...)
}

// hasBits matches when the loaded host-order word has one of the bits.
func hasBits(bits uint32) []expr.Any {
	return append(mask(firstReg, binary.NativeEndian.AppendUint32(nil, bits)), compare(expr.CmpOpNeq, make([]byte, 4))...)
}

// ctStateIs matches packets in one of the states of connection tracking.
func ctStateIs(states uint32) []expr.Any {
	return append([]expr.Any{&expr.Ct{Key: expr.CtKeySTATE, Register: firstReg}}, hasBits(states)...)
}

// ipsDstNAT is IPS_DST_NAT of linux/netfilter/nf_conntrack_common.h: the destination was translated.
const ipsDstNAT = 1 << 5

func ctStatusDNAT() []expr.Any {
	return append([]expr.Any{&expr.Ct{Key: expr.CtKeySTATUS, Register: firstReg}}, hasBits(ipsDstNAT)...)
}

// tcpNotOpening matches TCP segments other than a lone SYN. The flags are byte 13 of the header (RFC 9293).
func tcpNotOpening() []expr.Any {
	const syn, ack = 0x02, 0x10
	return slices.Concat(l4protoIs(TCP),
		payload(expr.PayloadBaseTransportHeader, 13, 1)(firstReg),
		mask(firstReg, []byte{syn | ack}),
		compare(expr.CmpOpNeq, []byte{syn}))
}

// in matches when the loaded key is in the set.
func in(set string) []expr.Any {
	return []expr.Any{&expr.Lookup{SourceRegister: firstReg, SetName: set}}
}

// dnatBy sends the packet to the address and port that the map has for the loaded key, if it has any.
func dnatBy(set string) []expr.Any {
	return append(lookup(set), &expr.NAT{
		Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: firstReg, RegProtoMin: reg(1),
	})
}

// snatBy gives the packet the source address that the map has for the loaded key; the port is kept where it is free.
func snatBy(set string) []expr.Any {
	return append(lookup(set), &expr.NAT{
		Type: expr.NATTypeSourceNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: firstReg,
	})
}

func lookup(set string) []expr.Any {
	return []expr.Any{&expr.Lookup{SourceRegister: firstReg, DestRegister: firstReg, IsDestRegSet: true, SetName: set}}
}

func logToGroup() []expr.Any {
	return []expr.Any{&expr.Log{
		Key:     1<<unix.NFTA_LOG_GROUP | 1<<unix.NFTA_LOG_SNAPLEN,
		Group:   LogGroup,
		Snaplen: logSnap,
	}}
}

func accept() []expr.Any { return []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}} }
func drop() []expr.Any   { return []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}} }
