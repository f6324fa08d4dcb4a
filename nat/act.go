package nat

import (
	"fmt"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

func lookup(set string) expr.Any {
	return &expr.Lookup{SourceRegister: firstReg, DestRegister: firstReg, IsDestRegSet: true, SetName: set}
}

// dnatBy sends the packet to the address and port that the map has for the key, if it has any.
func (f family) dnatBy(set string, key part) part {
	return part{fmt.Sprintf("dnat %s to %s map @%s", f.word, key.text, set), key.then(lookup(set), &expr.NAT{
		Type: expr.NATTypeDestNAT, Family: uint32(f.nfproto), RegAddrMin: firstReg, RegProtoMin: reg(int(f.size / 4)),
	})}
}

// snatBy gives the packet the source address that the map has for the key; the port is kept where it is free.
func (f family) snatBy(set string, key part) part {
	return part{fmt.Sprintf("snat %s to %s map @%s", f.word, key.text, set), key.then(lookup(set), &expr.NAT{
		Type: expr.NATTypeSourceNAT, Family: uint32(f.nfproto), RegAddrMin: firstReg,
	})}
}

// prefixBy puts the network that the map has for the key in the place of the one that the address lies in.
func (f family) prefixBy(word string, typ expr.NATType, set string, key part) part {
	return part{fmt.Sprintf("%s %s prefix to %s map @%s", word, f.word, key.text, set), key.then(lookup(set), &expr.NAT{
		Type: typ, Family: uint32(f.nfproto), RegAddrMin: firstReg, RegAddrMax: reg(int(f.size / 4)), Prefix: true,
	})}
}

// goBy goes to the chain that the map has for the key, if it has any.
func goBy(set string, key part) part {
	return part{fmt.Sprintf("%s vmap @%s", key.text, set), key.then(
		&expr.Lookup{SourceRegister: firstReg, DestRegister: unix.NFT_REG_VERDICT, IsDestRegSet: true, SetName: set})}
}

// masquerade gives the packet the address of the interface that it leaves by.
func masquerade() part { return part{"masquerade", []expr.Any{&expr.Masq{}}} }

// reject tells the sender: by a reset for TCP, else by an ICMP error. NFT_REJECT_TCP_RST and NFT_REJECT_ICMP_UNREACH of
// linux/netfilter/nf_tables.h; the code for a port is 3 in ICMP (RFC 792) and 4 in ICMPv6 (RFC 4443).
func (f family) reject(p Protocol) part {
	switch {
	case p == TCP:
		return rejectTCP()
	case f.size == 4:
		return part{"reject with icmp port-unreachable", []expr.Any{&expr.Reject{Type: unix.NFT_REJECT_ICMP_UNREACH, Code: 3}}}
	}
	return part{"reject with icmpv6 port-unreachable", []expr.Any{&expr.Reject{Type: unix.NFT_REJECT_ICMP_UNREACH, Code: 4}}}
}

func rejectTCP() part {
	return part{"reject with tcp reset", []expr.Any{&expr.Reject{Type: unix.NFT_REJECT_TCP_RST}}}
}

// The maximum segment size is the two bytes behind kind and length of TCP option 2 (RFC 9293, section 3.7.1). The kernel lowers
// it only: what is larger than the option's value is not written (nft_exthdr_tcp_set_eval in net/netfilter/nft_exthdr.c).
func writeMSS() expr.Any {
	return &expr.Exthdr{SourceRegister: firstReg, Type: 2, Offset: 2, Len: 2, Op: expr.ExthdrOpTcpopt}
}

const mssText = "tcp option maxseg size set "

// mssOfRoutes takes the smaller MTU of the routes to both sides, less the headers (get_tcpmss in net/netfilter/nft_rt.c).
func mssOfRoutes() part {
	return part{mssText + "rt mtu", []expr.Any{
		&expr.Rt{Register: firstReg, Key: expr.RtTCPMSS},
		&expr.Byteorder{SourceRegister: firstReg, DestRegister: firstReg, Op: expr.ByteorderHton, Len: 2, Size: 2},
		writeMSS(),
	}}
}

// mssBy takes the size that the map has for the key.
func mssBy(set string, key part) part {
	return part{fmt.Sprintf("%s%s map @%s", mssText, key.text, set), key.then(lookup(set), writeMSS())}
}

func logTo(group uint16) part { return logAs("", group) }

// logAs is logTo with a prefix, if there is one.
func logAs(prefix string, group uint16) part {
	log := &expr.Log{Key: 1<<unix.NFTA_LOG_GROUP | 1<<unix.NFTA_LOG_SNAPLEN, Group: group, Snaplen: logSnap}
	text := "log "
	if prefix != "" {
		log.Key |= 1 << unix.NFTA_LOG_PREFIX
		log.Data = []byte(prefix)
		text += fmt.Sprintf("prefix %q ", prefix)
	}
	return part{fmt.Sprintf("%sgroup %d snaplen %d", text, group, logSnap), []expr.Any{log}}
}

// goTo goes to a chain.
func goTo(chain string) part {
	return part{"goto " + chain, []expr.Any{&expr.Verdict{Kind: expr.VerdictGoto, Chain: chain}}}
}

func accept() part { return part{"accept", []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}}} }
func drop() part   { return part{"drop", []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}}} }
