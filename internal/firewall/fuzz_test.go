package firewall

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"natd/internal/nfnl"
)

// exprMessage is the attributes of a rule with expressions of the names, all of which have the same data.
func exprMessage(data []byte, names ...string) []byte {
	var b nfnl.Builder
	b.String(unix.NFTA_RULE_TABLE, "t")
	b.String(unix.NFTA_RULE_CHAIN, "c")
	list := b.Nest(unix.NFTA_RULE_EXPRESSIONS)
	for _, name := range names {
		e := b.Nest(unix.NFTA_LIST_ELEM)
		b.String(unix.NFTA_EXPR_NAME, name)
		b.Bytes(unix.NFTA_EXPR_DATA, data)
		b.Unnest(e)
	}
	b.Unnest(list)
	return b.Payload()
}

// expressions are the kinds that have a decoder, and one that has none.
func expressions() []string {
	return []string{
		"payload", "meta", "ct", "fib", "cmp", "range", "bitwise", "byteorder", "lookup", "dynset", "immediate", "reject", "queue", "nat", "masq", "redir",
		"tproxy", "notrack", "counter", "log", "limit", "quota", "connlimit", "objref", "numgen", "hash", "rt", "socket", "xfrm", "exthdr", "match", "target", "strange",
	}
}

// Whatever another program has in its rules: natd reads it, walks it and puts it in words, and does not fail.
func FuzzRule(f *testing.F) {
	var attrs nfnl.Builder
	for typ := range uint16(8) {
		attrs.Uint32(typ+1, 1)
	}
	for _, name := range expressions() {
		f.Add(exprMessage(attrs.Payload(), name, "cmp"), []byte{1, 2, 3, 4})
		f.Add(exprMessage([]byte{0xff}, name), []byte{})
	}
	var match nfnl.Builder
	for _, name := range []string{"conntrack", "state", "addrtype", "tcp", "udp", "multiport", "iprange", "mark", "icmp", "pkttype", "physdev", "DNAT", "MARK", "CT"} {
		match.Reset()
		match.String(1, name)
		match.Uint32(2, 1)
		match.Bytes(3, make([]byte, 164))
		f.Add(exprMessage(match.Payload(), "match", "target"), []byte{})
	}
	f.Fuzz(func(_ *testing.T, attrs, element []byte) {
		s := decodeSet(unix.NFPROTO_INET, attrs)
		e := decodeElement(element)
		if e.key != nil {
			s.elements = append(s.elements, e)
		}
		s.index()
		c := decodeChain(unix.NFPROTO_INET, attrs)
		c.base, c.hook = true, Forward
		_, r := decodeRule(unix.NFPROTO_INET, attrs, func(setID) *set { return s })
		c.rules = []*rule{r}
		rules := &Ruleset{chains: map[chainID]*chain{c.chainID: c}, bases: []*chain{c}}
		rules.marks = rules.marking()
		for _, p := range []Packet{
			{Hook: Forward},
			{Hook: Forward, Proto: unix.IPPROTO_TCP, CTState: New, Src: netip.MustParseAddrPort("10.0.0.1:1"), Dst: netip.MustParseAddrPort("10.0.0.2:2")},
			{Hook: Forward, Proto: unix.IPPROTO_UDP, Src: netip.MustParseAddrPort("[fd00::1]:1"), Dst: netip.MustParseAddrPort("[fd00::2]:2")},
		} {
			rules.Walk(p)
		}
		_ = r.text("inet")
	})
}
