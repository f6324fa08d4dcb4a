package firewall

import (
	"fmt"

	"golang.org/x/sys/unix"

	"natd/internal/nfnl"
)

// typeVerdict is nft's number of the type of maps of verdicts (NFT_DATA_VERDICT of linux/netfilter/nf_tables.h).
const typeVerdict = 0xffffff00

// verdictKind is what a verdict does.
type verdictKind uint8

const (
	verdictContinue verdictKind = iota
	verdictEnd                  // the base chain ends, with the outcome
	verdictJump
	verdictGoto
	verdictReturn
)

// verdict ends or turns the walk.
type verdict struct {
	kind    verdictKind
	outcome Outcome // of verdictEnd
	chain   string
	queue   bool
}

// decodeVerdict reads NFTA_DATA_VERDICT. The kernel's own verdicts have more in their higher half.
func decodeVerdict(b []byte) *verdict {
	if b == nil {
		return nil
	}
	v := &verdict{chain: nfnl.String(nfnl.Attr(b, unix.NFTA_VERDICT_CHAIN))}
	switch code := int32(nfnl.Uint32(nfnl.Attr(b, unix.NFTA_VERDICT_CODE))); {
	case code == unix.NFT_JUMP:
		v.kind = verdictJump
	case code == unix.NFT_GOTO:
		v.kind = verdictGoto
	case code == unix.NFT_RETURN:
		v.kind = verdictReturn
	case code == unix.NFT_CONTINUE:
		v.kind = verdictContinue
	case code >= 0 && code&0xff == 0:
		v.kind, v.outcome = verdictEnd, Drop
	case code >= 0 && code&0xff == 1:
		v.kind, v.outcome = verdictEnd, Accept
	default:
		v.kind, v.outcome, v.queue = verdictEnd, Unknown, code&0xff == 3
	}
	return v
}

func (v verdict) String() string {
	switch v.kind {
	case verdictJump:
		return "jump " + v.chain
	case verdictGoto:
		return "goto " + v.chain
	case verdictReturn:
		return "return"
	case verdictContinue:
		return "continue"
	case verdictEnd:
	}
	if v.queue {
		return "queue"
	}
	return string(v.outcome)
}

// immediate puts a value into a register, or is a verdict.
type immediate struct {
	dest    uint32
	data    []byte
	verdict *verdict
}

func decodeImmediate(b []byte) expression {
	data := nfnl.Attr(b, unix.NFTA_IMMEDIATE_DATA)
	return &immediate{
		dest:    nfnl.Uint32(nfnl.Attr(b, unix.NFTA_IMMEDIATE_DREG)),
		data:    nfnl.Attr(data, unix.NFTA_DATA_VALUE),
		verdict: decodeVerdict(nfnl.Attr(data, unix.NFTA_DATA_VERDICT)),
	}
}

func (i *immediate) eval(m *machine) tri {
	if i.verdict != nil {
		return m.end(*i.verdict)
	}
	m.regs.store(i.dest, known(i.data))
	return yes
}

func (i *immediate) text(p *printer) {
	if i.verdict != nil {
		p.word(i.verdict.String())
		return
	}
	p.set(i.dest, operand{value: i.data})
}

// ender is an expression that ends the walk: reject, queue, and those that translate.
type ender struct {
	outcome Outcome
	words   func(*printer)
}

func (e *ender) eval(m *machine) tri {
	return m.end(verdict{kind: verdictEnd, outcome: e.outcome})
}

func (e *ender) text(p *printer) { e.words(p) }

// decodeReject reads the answer that goes with a rejection.
func decodeReject(b []byte) expression {
	typ := nfnl.Uint32(nfnl.Attr(b, unix.NFTA_REJECT_TYPE))
	code := at(nfnl.Attr(b, unix.NFTA_REJECT_ICMP_CODE), 0)
	return &ender{Reject, func(p *printer) { p.word(rejectText(typ, code, p.network)) }}
}

// rejectText is the answer in nft's words, which leave out the usual one.
func rejectText(typ uint32, code uint8, network string) string {
	const port4, port6 = 3, 4 // port-unreachable in ICMP and ICMPv6
	switch {
	case typ == unix.NFT_REJECT_TCP_RST:
		return "reject with tcp reset"
	case typ == unix.NFT_REJECT_ICMPX_UNREACH:
		if code == unix.NFT_REJECT_ICMPX_PORT_UNREACH {
			return "reject"
		}
		return "reject with icmpx " + name(code, "no-route", "port-unreachable", "host-unreachable", "admin-prohibited")
	case network == "ip6":
		if code == port6 {
			return "reject"
		}
		return "reject with icmpv6 " + icmpv6Code(code)
	case code == port4:
		return "reject"
	}
	return "reject with icmp " + icmpCode(code)
}

func icmpCode(code uint8) string {
	return name(code, "net-unreachable", "host-unreachable", "prot-unreachable", "port-unreachable", "frag-needed", "5", "6", "7", "8",
		"net-prohibited", "host-prohibited", "11", "12", "admin-prohibited")
}

func icmpv6Code(code uint8) string {
	return name(code, "no-route", "admin-prohibited", "2", "addr-unreachable", "port-unreachable", "policy-fail", "reject-route")
}

// name is the n-th name, or the number.
func name[N uint8 | uint32](n N, names ...string) string {
	if int(n) < len(names) {
		return names[n]
	}
	return fmt.Sprint(n)
}

func decodeQueue(b []byte) expression {
	num := nfnl.Uint16(nfnl.Attr(b, unix.NFTA_QUEUE_NUM))
	return &ender{Unknown, func(p *printer) { p.word(fmt.Sprintf("queue to %d", num)) }}
}
