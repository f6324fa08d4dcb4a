package nat

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// part is a piece of a rule: what `nft list` prints of it, and its expressions. Parts that follow from what comes behind
// them have no text.
type part struct {
	text  string
	exprs []expr.Any
}

// join makes one part of several.
func join(parts ...part) (whole part) {
	var texts []string
	for _, p := range parts {
		if p.text != "" {
			texts = append(texts, p.text)
		}
		whole.exprs = append(whole.exprs, p.exprs...)
	}
	whole.text = strings.Join(texts, " ")
	return whole
}

// then is the part's expressions and more.
func (p part) then(more ...expr.Any) []expr.Any { return slices.Concat(p.exprs, more) }

func compare(op expr.CmpOp, data []byte) expr.Any {
	return &expr.Cmp{Op: op, Register: firstReg, Data: data}
}

// is matches packets of the family, for a rule that looks into their header: nft does not print what that implies.
func (f family) is() part {
	return part{exprs: []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: firstReg}, compare(expr.CmpOpEq, []byte{f.nfproto}),
	}}
}

// named matches packets of the family, for any other rule.
func (f family) named() part {
	p := f.is()
	p.text = "meta nfproto ipv" + f.digit
	return p
}

// leavingBy matches packets that leave by the interface.
func leavingBy(name string) part {
	return part{fmt.Sprintf("oifname %q", name), []expr.Any{
		&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: firstReg}, compare(expr.CmpOpEq, linkName(name)),
	}}
}

// sentHere matches packets that came in by no interface.
func sentHere() part {
	return part{"iif 0", []expr.Any{&expr.Meta{Key: expr.MetaKeyIIF, Register: firstReg}, compare(expr.CmpOpEq, make([]byte, 4))}}
}

// toOwnServices matches packets to what answers each host for itself: the metadata service gives whoever asks from this host its
// credentials. No router forwards IPv4 link-local addresses (RFC 3927, section 7); for IPv6, EC2 has fd00:ec2::/32.
func (f family) toOwnServices() part {
	text, network := "169.254.0.0/16", []byte{169, 254}
	if f.size == 16 {
		text, network = "fd00:ec2::/32", []byte{0xfd, 0, 0x0e, 0xc2}
	}
	return part{f.word + " daddr " + text, append(
		payload("", expr.PayloadBaseNetworkHeader, f.daddr, uint32(len(network))).load(firstReg, 0), compare(expr.CmpOpEq, network))}
}

// l4protoIs matches packets of one transport protocol.
func l4protoIs(p Protocol) part {
	return part{"meta l4proto " + p.String(), append(l4proto().load(firstReg, 0), compare(expr.CmpOpEq, []byte{byte(p)}))}
}

// hasBits matches when the loaded word, in host order, has one of the bits.
func hasBits(bits uint32) []expr.Any {
	return append(mask(firstReg, hostOrder(bits)), compare(expr.CmpOpNeq, make([]byte, 4)))
}

// ctStateIs matches packets in one of the states of connection tracking.
func ctStateIs(text string, states uint32) part {
	return part{"ct state " + text, append([]expr.Any{&expr.Ct{Key: expr.CtKeySTATE, Register: firstReg}}, hasBits(states)...)}
}

func ctNew() part { return ctStateIs("new", expr.CtStateBitNEW) }

func ctEstablished() part {
	return ctStateIs("established,related", expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED)
}

// Bits of enum ip_conntrack_status in linux/netfilter/nf_conntrack_common.h.
const (
	ipsAssured   = 1 << 2 // the connection was answered, and more
	ipsConfirmed = 1 << 3 // its first packet has left the host
	ipsSrcNAT    = 1 << 4
	ipsDstNAT    = 1 << 5
)

func loadStatus() expr.Any { return &expr.Ct{Key: expr.CtKeySTATUS, Register: firstReg} }

func ctStatusHas(text string, bits uint32) part {
	return part{"ct status " + text, append([]expr.Any{loadStatus()}, hasBits(bits)...)}
}

func ctAssured() part    { return ctStatusHas("assured", ipsAssured) }
func ctDNAT() part       { return ctStatusHas("dnat", ipsDstNAT) }
func ctTranslated() part { return ctStatusHas("snat,dnat", ipsSrcNAT|ipsDstNAT) }

// ctNotDNAT matches packets whose destination is the one that their sender gave them.
func ctNotDNAT() part {
	return part{"ct status ! dnat", slices.Concat([]expr.Any{loadStatus()}, mask(firstReg, hostOrder(ipsDstNAT)),
		[]expr.Any{compare(expr.CmpOpEq, make([]byte, 4))})}
}

// ctFirstDNAT matches the first packet of a translated connection: the second one of a flow without answers is new, too,
// but confirmed.
func ctFirstDNAT() part {
	return part{"ct status dnat / confirmed,dnat", slices.Concat([]expr.Any{loadStatus()},
		mask(firstReg, hostOrder(ipsConfirmed|ipsDstNAT)), []expr.Any{compare(expr.CmpOpEq, hostOrder(ipsDstNAT))})}
}

// Flags in byte 13 of the TCP header (RFC 9293).
const (
	tcpSYN = 0x02
	tcpACK = 0x10
)

func tcpFlags(text string, bits byte, op expr.CmpOp, value byte) part {
	return part{"tcp flags " + text, slices.Concat(l4protoIs(TCP).exprs,
		payload("", expr.PayloadBaseTransportHeader, 13, 1).load(firstReg, 0),
		mask(firstReg, []byte{bits}), []expr.Any{compare(op, []byte{value})})}
}

// tcpNotOpening matches TCP segments other than a lone SYN, tcpSyn those that have one: SYN and SYN-ACK.
func tcpNotOpening() part { return tcpFlags("!= syn / syn,ack", tcpSYN|tcpACK, expr.CmpOpNeq, tcpSYN) }
func tcpSyn() part        { return tcpFlags("syn", tcpSYN, expr.CmpOpNeq, 0) }

// icmpv6Redirect matches messages that tell a client of a better way (RFC 4861, section 4.5). The numbers are IANA's.
func icmpv6Redirect() part {
	const icmpv6, redirect = 58, 137
	return part{"icmpv6 type nd-redirect", slices.Concat(
		l4proto().load(firstReg, 0), []expr.Any{compare(expr.CmpOpEq, []byte{icmpv6})},
		payload("", expr.PayloadBaseTransportHeader, 0, 1).load(firstReg, 0), []expr.Any{compare(expr.CmpOpEq, []byte{redirect})})}
}

// in matches when the loaded key is in the set, notIn when it is not.
func in(set string) part {
	return part{"@" + set, []expr.Any{&expr.Lookup{SourceRegister: firstReg, SetName: set}}}
}

func notIn(set string) part {
	return part{"!= @" + set, []expr.Any{&expr.Lookup{SourceRegister: firstReg, SetName: set, Invert: true}}}
}

// tally adds the key to a State set, with an expression that matches when the element is over its limit.
func tally(verb, set string, key, over part) part {
	operation := map[string]uint32{"add": unix.NFT_DYNSET_OP_ADD, "update": unix.NFT_DYNSET_OP_UPDATE}[verb]
	return part{fmt.Sprintf("%s @%s { %s %s }", verb, set, key.text, over.text), key.then(
		&expr.Dynset{SrcRegKey: firstReg, SetName: set, Operation: operation, Exprs: over.exprs})}
}

// ctCountOver matches when more connections than that are open.
func ctCountOver(n int) part {
	return part{fmt.Sprintf("ct count over %d", n), []expr.Any{&expr.Connlimit{Count: uint32(n), Flags: expr.NFT_CONNLIMIT_F_INV}}}
}

// rateOver matches what is more than the rate. What was saved up is at most one unit's worth.
func rateOver(r Rate) part { return rateLimit(r, true) }

// rateWithin matches up to that many packets a second, and what is not more at once.
func rateWithin(perSecond int) part { return rateLimit(Rate{perSecond, time.Second}, false) }

func rateLimit(r Rate, over bool) part {
	unit := map[time.Duration]string{time.Second: "second", time.Minute: "minute", time.Hour: "hour"}[r.Per]
	text := "limit rate "
	if over {
		text += "over "
	}
	text += fmt.Sprintf("%d/%s", r.Count, unit)
	if r.Count != 5 { // what nft takes a burst to be, and does not print
		text += fmt.Sprintf(" burst %d packets", r.Count)
	}
	return part{text, []expr.Any{&expr.Limit{
		Type: expr.LimitTypePkts, Rate: uint64(r.Count), Over: over, Unit: expr.LimitTime(r.Per / time.Second), Burst: uint32(r.Count),
	}}}
}
