package firewall

import "strings"

// Bits of ct state as iptables has them (linux/netfilter/xt_conntrack.h): those of nft, and three of its own.
const (
	xtStateSNAT      = 1 << 6
	xtStateDNAT      = 1 << 7
	xtStateUntracked = 1 << 8
)

// Flags of a conntrack match: what it asks for, and what it asks the opposite of.
const (
	xtCTState     = 1 << 0
	xtCTStatus    = 1 << 6
	xtCTDirection = 1 << 12
)

// xtCT is a conntrack match. It decides states, status and direction; whoever asks for addresses gets no certain answer.
type xtCT struct {
	flags, inverted uint16
	states, status  uint32
}

// xtConntrack reads struct xt_conntrack_mtinfo1 to 3.
func xtConntrack(rev uint32, info []byte) expression {
	const flagsAt, length = 146, 152
	if rev < 1 || rev > 3 || len(info) < length {
		return nil
	}
	x := &xtCT{native16(info, flagsAt), native16(info, flagsAt+2), uint32(native16(info, flagsAt+4)), uint32(native16(info, flagsAt+6))}
	if rev == 1 {
		x.states, x.status = uint32(info[flagsAt+4]), uint32(info[flagsAt+5])
	}
	return x
}

// not tells whether the match asks for the opposite.
func (x *xtCT) not(flag uint16) bool { return x.inverted&flag != 0 }

// other tells whether the match asks for what is not read here.
func (x *xtCT) other() bool {
	const alias = 1 << 13 // XT_CONNTRACK_STATE_ALIAS: how it was written
	return x.flags&^(xtCTState|xtCTStatus|xtCTDirection|alias) != 0
}

func (x *xtCT) text(p *printer) {
	add := func(flag uint16, what, value string) {
		switch {
		case x.flags&flag == 0:
		case x.not(flag):
			p.word(what + " ! " + value)
		default:
			p.word(what + " " + value)
		}
	}
	add(xtCTState, "ct state", xtStateText(x.states))
	add(xtCTStatus, "ct status", valueText(typeCTStatus, host32(x.status)))
	if x.flags&xtCTDirection != 0 {
		p.word("ct direction " + name(b2u(x.not(xtCTDirection)), "original", "reply"))
	}
	if x.other() {
		p.word(`xt match "conntrack"`)
	}
}

// eval is conntrack_mt of net/netfilter/xt_conntrack.c: of a packet without a connection only the state can match.
func (x *xtCT) eval(m *machine) tri {
	state := yes
	if x.flags&xtCTState != 0 {
		state = m.xtState(x.states).inverted(x.not(xtCTState))
	}
	untracked := truth(x.flags&xtCTState != 0)
	switch m.state.get(ctThereSpan()).equal([]byte{1}) {
	case yes:
		return min(state, x.connection(m))
	case no:
		return min(state, untracked)
	default:
		return min(state, max(x.connection(m), untracked), maybe)
	}
}

// connection judges what the match asks of the connection.
func (x *xtCT) connection(m *machine) tri {
	all := yes
	if x.flags&xtCTStatus != 0 {
		has := m.state.get(ctStatusSpan()).masked(host32(x.status), nil).equal(make([]byte, 4)).not()
		all = min(all, has.inverted(x.not(xtCTStatus)))
	}
	if x.flags&xtCTDirection != 0 {
		all = min(all, truth(m.packet.Reply == x.not(xtCTDirection)))
	}
	if x.other() {
		all = min(all, maybe)
	}
	return all
}

// xtState tells whether the packet is of one of the states.
func (m *machine) xtState(states uint32) tri {
	nft := states & 0xf
	if states&xtStateUntracked != 0 {
		nft |= 64
	}
	hit := m.state.get(ctStateSpan()).masked(host32(nft), nil).equal(make([]byte, 4)).not()
	nat := uint32(0)
	if states&xtStateSNAT != 0 {
		nat |= StatusSNAT
	}
	if states&xtStateDNAT != 0 {
		nat |= StatusDNAT
	}
	translated := m.state.get(ctStatusSpan()).masked(host32(nat), nil).equal(make([]byte, 4)).not()
	return max(hit, min(translated, m.state.get(ctThereSpan()).equal([]byte{1})))
}

func xtStateText(states uint32) string {
	var names []string
	for _, s := range []struct {
		bit  uint32
		name string
	}{{1, "invalid"}, {8, "new"}, {4, "related"}, {2, "established"}, {xtStateUntracked, "untracked"}, {xtStateSNAT, "snat"}, {xtStateDNAT, "dnat"}} {
		if states&s.bit != 0 {
			names = append(names, s.name)
		}
	}
	return strings.Join(names, ",")
}

// xtState reads struct xt_state_info. Its bit for untracked packets is another one.
func xtState(info []byte) expression {
	if len(info) < 4 {
		return nil
	}
	states := native32(info, 0)
	mask := states & 0xf
	if states&(1<<6) != 0 {
		mask |= xtStateUntracked
	}
	return &extension{"ct state " + xtStateText(mask), func(m *machine) tri { return m.xtState(mask) }}
}
