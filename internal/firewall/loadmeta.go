package firewall

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"natd/internal/nfnl"
)

// meta loads what goes with the packet, or writes it.
type meta struct {
	key          uint32
	dest, source uint32
	write        bool
}

func decodeMeta(b []byte) expression {
	return &meta{
		key:    nfnl.Uint32(nfnl.Attr(b, unix.NFTA_META_KEY)),
		dest:   nfnl.Uint32(nfnl.Attr(b, unix.NFTA_META_DREG)),
		source: nfnl.Uint32(nfnl.Attr(b, unix.NFTA_META_SREG)),
		write:  nfnl.Attr(b, unix.NFTA_META_SREG) != nil,
	}
}

func (l *meta) eval(m *machine) tri {
	if l.write {
		switch l.key {
		case unix.NFT_META_MARK:
			m.change(markSpan(), m.regs.load(l.source, 4))
		case unix.NFT_META_PKTTYPE:
			m.change(pktTypeSpan(), m.regs.load(l.source, 1))
		}
		return yes
	}
	b, result := l.load(m)
	m.regs.store(l.dest, b)
	return result
}

// load is the value, as nft_meta_get_eval of net/netfilter/nft_meta.c has it.
func (l *meta) load(m *machine) (bits, tri) {
	switch l.key {
	case unix.NFT_META_PROTOCOL:
		ethertype := uint16(unix.ETH_P_IP)
		if m.packet.is6() {
			ethertype = unix.ETH_P_IPV6
		}
		return known(binary.BigEndian.AppendUint16(nil, ethertype)), yes
	case unix.NFT_META_NFPROTO:
		nfproto := byte(unix.NFPROTO_IPV4)
		if m.packet.is6() {
			nfproto = unix.NFPROTO_IPV6
		}
		return known([]byte{nfproto}), yes
	case unix.NFT_META_L4PROTO:
		return known([]byte{m.packet.Proto}), yes
	case unix.NFT_META_MARK:
		return m.state.get(markSpan()), yes
	case unix.NFT_META_PKTTYPE:
		return m.state.get(pktTypeSpan()), yes
	case unix.NFT_META_IIF, unix.NFT_META_IIFNAME, unix.NFT_META_IIFTYPE, unix.NFT_META_IIFGROUP:
		return m.host.device(m.packet.InDevice, m.packet.Hook.hasIn(), l.key)
	case unix.NFT_META_OIF:
		return m.host.device(m.packet.OutDevice, m.packet.Hook.hasOut(), unix.NFT_META_IIF)
	case unix.NFT_META_OIFNAME:
		return m.host.device(m.packet.OutDevice, m.packet.Hook.hasOut(), unix.NFT_META_IIFNAME)
	case unix.NFT_META_OIFTYPE:
		return m.host.device(m.packet.OutDevice, m.packet.Hook.hasOut(), unix.NFT_META_IIFTYPE)
	case unix.NFT_META_OIFGROUP:
		return m.host.device(m.packet.OutDevice, m.packet.Hook.hasOut(), unix.NFT_META_IIFGROUP)
	case unix.NFT_META_SKUID, unix.NFT_META_SKGID:
		if m.packet.Hook == Forward {
			return unknown(4), no // nobody's socket
		}
		return unknown(4), maybe
	case unix.NFT_META_LEN, unix.NFT_META_PRIORITY, unix.NFT_META_CPU, unix.NFT_META_PRANDOM:
		return unknown(4), yes
	}
	return unknown(16), maybe
}

// hasIn tells whether the device that a packet came in by is known at the hook; a packet that the host sends has none.
func (h Hook) hasIn() bool { return h != Output && h != Egress }

func (h Hook) hasOut() bool { return h != Prerouting && h != Input && h != Ingress }

// device is what a rule reads of a device, by the key for those that packets come in by. One that the hook does not have
// reads as nothing; one that is not named is not known, but where packets of the host's own have none.
func (h *host) device(name string, has bool, key uint32) (bits, tri) {
	size := map[uint32]int{unix.NFT_META_IIFNAME: unix.IFNAMSIZ, unix.NFT_META_IIFTYPE: 2}[key]
	if size == 0 {
		size = 4
	}
	isType := key == unix.NFT_META_IIFTYPE || key == unix.NFT_META_IIFGROUP
	l, found := h.links[name]
	switch {
	case !has && isType:
		return unknown(size), no
	case !has:
		return known(make([]byte, size)), yes
	case name == "" || !found && key != unix.NFT_META_IIFNAME, key == unix.NFT_META_IIFTYPE && l.kind == 0:
		return unknown(size), maybe
	}
	switch key {
	case unix.NFT_META_IIFNAME:
		b := make([]byte, unix.IFNAMSIZ)
		copy(b, name)
		return known(b), yes
	case unix.NFT_META_IIFTYPE:
		return known(host16(l.kind)), yes
	case unix.NFT_META_IIFGROUP:
		return known(host32(l.group)), yes
	}
	return known(host32(l.index)), yes
}
