package firewall

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"natd/internal/nfnl"
)

// connection loads what connection tracking knows of the packet's connection, or writes it.
type connection struct {
	key          uint32
	answers      bool // of the direction of answers
	directed     bool
	dest, source uint32
	write        bool
}

func decodeCT(b []byte) expression {
	direction := nfnl.Attr(b, unix.NFTA_CT_DIRECTION)
	return &connection{
		key:      nfnl.Uint32(nfnl.Attr(b, unix.NFTA_CT_KEY)),
		answers:  at(direction, 0) == 1,
		directed: direction != nil,
		dest:     nfnl.Uint32(nfnl.Attr(b, unix.NFTA_CT_DREG)),
		source:   nfnl.Uint32(nfnl.Attr(b, unix.NFTA_CT_SREG)),
		write:    nfnl.Attr(b, unix.NFTA_CT_SREG) != nil,
	}
}

func (l *connection) eval(m *machine) tri {
	if l.write {
		switch l.key {
		case unix.NFT_CT_MARK:
			m.change(ctMarkSpan(), m.regs.load(l.source, 4))
		case unix.NFT_CT_ZONE:
			m.elsewhere()
		}
		return yes
	}
	if l.key == unix.NFT_CT_STATE {
		m.regs.store(l.dest, m.state.get(ctStateSpan()))
		return yes
	}
	there := m.state.get(ctThereSpan()).equal([]byte{1}) // a packet without a connection matches nothing else
	b, result := l.load(m)
	m.regs.store(l.dest, b)
	return min(there, result)
}

// load is the value, as nft_ct_get_eval of net/netfilter/nft_ct.c has it.
func (l *connection) load(m *machine) (bits, tri) {
	p := m.packet
	tuple := p.original()
	if l.answers {
		tuple = p.answer()
	}
	switch l.key {
	case unix.NFT_CT_DIRECTION:
		return known([]byte{b2u(p.Reply)}), truth(p.CTState != "").or(maybe)
	case unix.NFT_CT_STATUS:
		return m.state.get(ctStatusSpan()), yes
	case unix.NFT_CT_MARK:
		return m.state.get(ctMarkSpan()), yes
	case unix.NFT_CT_PROTOCOL:
		return known([]byte{p.Proto}), truth(p.CTState != Related).or(maybe)
	case unix.NFT_CT_L3PROTOCOL:
		family := byte(unix.NFPROTO_IPV4)
		if p.is6() {
			family = unix.NFPROTO_IPV6
		}
		return known([]byte{family}), yes
	case unix.NFT_CT_SRC, unix.NFT_CT_SRC_IP, unix.NFT_CT_SRC_IP6:
		return addrBits(tuple.Src.Addr(), p.is6()), yes
	case unix.NFT_CT_DST, unix.NFT_CT_DST_IP, unix.NFT_CT_DST_IP6:
		return addrBits(tuple.Dst.Addr(), p.is6()), yes
	case unix.NFT_CT_PROTO_SRC:
		return portBits(tuple.Src.Port()), yes
	case unix.NFT_CT_PROTO_DST:
		return portBits(tuple.Dst.Port()), yes
	}
	return unknown(16), maybe
}

// or is the truth, or a weaker one in place of no.
func (t tri) or(o tri) tri { return max(t, o) }

func addrBits(a netip.Addr, is6 bool) bits {
	switch {
	case a.IsValid() && a.Is6() == is6:
		return known(a.AsSlice())
	case is6:
		return unknown(16)
	}
	return unknown(4)
}

func portBits(port uint16) bits {
	if port == 0 {
		return unknown(2)
	}
	return known(binary.BigEndian.AppendUint16(nil, port))
}

// notrack takes the packet out of connection tracking.
type notrack struct{}

func (notrack) eval(m *machine) tri {
	m.untrack()
	return yes
}

func (notrack) text(p *printer) { p.word("notrack") }

// zone is the target CT of iptables where it has the packet tracked in a zone of its own.
type zone struct{}

func (zone) eval(m *machine) tri {
	m.elsewhere()
	return yes
}

func (zone) text(p *printer) { p.word(`xt target "CT"`) }
