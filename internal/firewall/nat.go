package firewall

import (
	"strings"

	"golang.org/x/sys/unix"

	"natd/internal/nfnl"
)

// Flags of a translation (linux/netfilter/nf_nat.h).
const (
	natRandom      = 1 << 2
	natPersistent  = 1 << 3
	natFullyRandom = 1 << 4
)

func natFlags(flags uint32) string {
	var names []string
	for _, f := range []struct {
		bit  uint32
		name string
	}{{natRandom, "random"}, {natFullyRandom, "fully-random"}, {natPersistent, "persistent"}} {
		if flags&f.bit != 0 {
			names = append(names, f.name)
		}
	}
	return strings.Join(names, ",")
}

func decodeNAT(b []byte) expression {
	reg := func(attr uint16) uint32 { return nfnl.Uint32(nfnl.Attr(b, attr)) }
	verb := "dnat"
	if reg(unix.NFTA_NAT_TYPE) == unix.NFT_NAT_SNAT {
		verb = "snat"
	}
	return &ender{Translate, func(p *printer) {
		words := verb
		if p.family == "inet" {
			words += " " + map[uint32]string{unix.NFPROTO_IPV4: "ip", unix.NFPROTO_IPV6: "ip6"}[reg(unix.NFTA_NAT_FAMILY)]
		}
		p.word(words + p.target(reg(unix.NFTA_NAT_REG_ADDR_MIN), reg(unix.NFTA_NAT_REG_ADDR_MAX),
			reg(unix.NFTA_NAT_REG_PROTO_MIN), reg(unix.NFTA_NAT_REG_PROTO_MAX)))
		p.word(natFlags(reg(unix.NFTA_NAT_FLAGS)))
	}}
}

func decodeMasquerade(b []byte) expression {
	reg := func(attr uint16) uint32 { return nfnl.Uint32(nfnl.Attr(b, attr)) }
	return &ender{Translate, func(p *printer) {
		p.word("masquerade" + p.target(0, 0, reg(unix.NFTA_MASQ_REG_PROTO_MIN), reg(unix.NFTA_MASQ_REG_PROTO_MAX)))
		p.word(natFlags(reg(unix.NFTA_MASQ_FLAGS)))
	}}
}

func decodeRedirect(b []byte) expression {
	reg := func(attr uint16) uint32 { return nfnl.Uint32(nfnl.Attr(b, attr)) }
	return &ender{Translate, func(p *printer) {
		p.word("redirect" + p.target(0, 0, reg(unix.NFTA_REDIR_REG_PROTO_MIN), reg(unix.NFTA_REDIR_REG_PROTO_MAX)))
		p.word(natFlags(reg(unix.NFTA_REDIR_FLAGS)))
	}}
}

// tproxy hands the packet to a local socket, if there is one that listens; the rule goes on behind it then.
type tproxy struct{}

func (tproxy) eval(m *machine) tri {
	m.report(ending{m.chain, m.rule, Translate}, false)
	return maybe
}

func (tproxy) text(p *printer) { p.word("tproxy") }
