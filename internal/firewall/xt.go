package firewall

import (
	"fmt"

	"golang.org/x/sys/unix"

	"natd/internal/nfnl"
)

// extension is a match of iptables, as nft_compat carries it: its own structure of the x_tables headers, of which this
// package reads the common ones.
type extension struct {
	words string
	match func(*machine) tri
}

func (e *extension) eval(m *machine) tri { return e.match(m) }

func (e *extension) text(p *printer) { p.word(e.words) }

// decodeMatch reads a match. One that is not known matches or not.
func decodeMatch(b []byte) expression {
	name := nfnl.String(nfnl.Attr(b, unix.NFTA_MATCH_NAME))
	rev := nfnl.Uint32(nfnl.Attr(b, unix.NFTA_MATCH_REV))
	info := nfnl.Attr(b, unix.NFTA_MATCH_INFO)
	var e expression
	switch name {
	case "comment":
		e = &plain{yes, ""}
	case "conntrack":
		e = xtConntrack(rev, info)
	case "state":
		e = xtState(info)
	case "addrtype":
		e = xtAddrtype(rev, info)
	case "tcp":
		e = xtTCP(info)
	case "udp":
		e = xtUDP(info)
	case "multiport":
		e = xtMultiport(rev, info)
	case "iprange":
		e = xtIPRange(rev, info)
	case "mark", "connmark":
		e = xtMarkMatch(name, rev, info)
	case "icmp", "icmp6":
		e = xtICMP(name, info)
	case "pkttype":
		e = xtPktType(info)
	case "physdev":
		e = &extension{"physdev", func(m *machine) tri {
			if m.host.bridges {
				return maybe
			}
			return xtPhysdev(info)
		}}
	}
	if e == nil {
		return &plain{maybe, fmt.Sprintf("xt match %q", name)}
	}
	return e
}

// decodeTarget reads a target. One that is not known may do anything.
func decodeTarget(b []byte) expression {
	name := nfnl.String(nfnl.Attr(b, unix.NFTA_TARGET_NAME))
	info := nfnl.Attr(b, unix.NFTA_TARGET_INFO)
	said := func(words string) func(*printer) { return func(p *printer) { p.word(words) } }
	switch name {
	case "REJECT":
		return &ender{Reject, said("reject")}
	case "DNAT", "SNAT", "NETMAP":
		return &ender{Translate, said(xtNATText(name, nfnl.Uint32(nfnl.Attr(b, unix.NFTA_TARGET_REV)), info))}
	case "REDIRECT":
		return &ender{Translate, said("redirect")}
	case "MASQUERADE":
		return &ender{Translate, said("masquerade")}
	case "TPROXY":
		return tproxy{}
	case "LOG", "NFLOG":
		return &plain{yes, "log"}
	case "MARK", "CONNMARK":
		return &xtMark{name, nfnl.Uint32(nfnl.Attr(b, unix.NFTA_TARGET_REV)), info}
	case "CT", "NOTRACK":
		if name == "NOTRACK" || native16(info, 0)&1 != 0 { // XT_CT_NOTRACK
			return notrack{}
		}
		if native16(info, 2) == 0 {
			return &plain{yes, `xt target "CT"`}
		}
		return zone{}
	case "NFQUEUE":
		return &ender{Unknown, said("queue")}
	case "AUDIT", "CHECKSUM", "CLASSIFY", "CONNSECMARK", "DSCP", "ECN", "HL", "HMARK", "IDLETIMER", "LED", "RATEEST", "SECMARK", "SET",
		"TCPMSS", "TCPOPTSTRIP", "TEE", "TOS", "TRACE", "TTL":
		return &plain{yes, fmt.Sprintf("xt target %q", name)} // they return XT_CONTINUE
	}
	return &stranger{what: fmt.Sprintf("xt target %q", name)}
}

// xtMark gives the packet, or its connection, a mark (struct xt_mark_tginfo2 of linux/netfilter/xt_mark.h).
type xtMark struct {
	name string
	rev  uint32
	info []byte
}

func (x *xtMark) eval(m *machine) tri {
	switch {
	case x.name == "MARK" && x.rev == 2 && len(x.info) >= 8:
		mark, mask := host32(native32(x.info, 0)), host32(^native32(x.info, 4))
		m.change(markSpan(), m.state.get(markSpan()).masked(mask, mark))
	case x.name == "CONNMARK":
		m.change(markSpan(), unknown(4))
		m.change(ctMarkSpan(), unknown(4))
	default:
		m.change(markSpan(), unknown(4))
	}
	return yes
}

func (x *xtMark) text(p *printer) {
	if x.name == "MARK" && native32(x.info, 4) == 0xffffffff {
		p.word(fmt.Sprintf("meta mark set 0x%x", native32(x.info, 0)))
		return
	}
	p.word(fmt.Sprintf("xt target %q", x.name))
}

// xtNATText is the target of a translation (struct nf_nat_range2 of linux/netfilter/nf_nat.h, and before it with IPv4 only
// struct nf_nat_ipv4_multi_range_compat).
func xtNATText(name string, rev uint32, info []byte) string {
	verb := map[string]string{"DNAT": "dnat", "SNAT": "snat", "NETMAP": "netmap"}[name]
	const mapIPs, mapPorts = 1, 2
	flags, from, port := native32(info, 0), 4, 36
	if rev == 0 {
		flags, from, port = native32(info, 4), 8, 16
	}
	if len(info) < port+2 {
		return verb
	}
	target := ""
	if flags&mapIPs != 0 {
		is6 := false
		for _, v := range info[from+4 : min(from+16, port)] {
			is6 = is6 || rev != 0 && v != 0
		}
		kind := uint32(typeIPv4)
		if is6 {
			kind = typeIPv6
		}
		target = valueText(kind, info[from:])
		if is6 && flags&mapPorts != 0 {
			target = "[" + target + "]"
		}
	}
	if flags&mapPorts != 0 {
		target += fmt.Sprintf(":%d", nfnl.Uint16(info[port:port+2]))
	}
	return verb + " to " + target
}
