package firewall

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"natd/internal/nfnl"
)

// fib asks the routing tables for an address of the packet: what kind it is, or by which device it is reached.
type fib struct {
	dest, result, flags uint32
}

func decodeFib(b []byte) expression {
	return &fib{
		dest:   nfnl.Uint32(nfnl.Attr(b, unix.NFTA_FIB_DREG)),
		result: nfnl.Uint32(nfnl.Attr(b, unix.NFTA_FIB_RESULT)),
		flags:  nfnl.Uint32(nfnl.Attr(b, unix.NFTA_FIB_FLAGS)),
	}
}

func (f *fib) eval(m *machine) tri {
	b := unknown(4)
	switch f.result {
	case unix.NFT_FIB_RESULT_ADDRTYPE:
		b = m.addrType(f.flags&unix.NFTA_FIB_F_SADDR != 0, f.device(m))
	case unix.NFT_FIB_RESULT_OIF:
		b = f.back(m, unix.NFT_META_IIF)
	case unix.NFT_FIB_RESULT_OIFNAME:
		b = f.back(m, unix.NFT_META_IIFNAME)
	}
	if f.flags&unix.NFTA_FIB_F_PRESENT != 0 {
		b = present(b)
	}
	m.regs.store(f.dest, b)
	return yes
}

// device is the one that the question is about: "" is any.
func (f *fib) device(m *machine) string {
	switch {
	case f.flags&unix.NFTA_FIB_F_IIF != 0:
		return m.packet.InDevice
	case f.flags&unix.NFTA_FIB_F_OIF != 0:
		return m.packet.OutDevice
	}
	return ""
}

// back is the device by which the sender is reached. The way that the packet came is the answer for sure when it is also
// the way that the host itself would choose.
func (f *fib) back(m *machine, key uint32) bits {
	size := 4
	if key == unix.NFT_META_IIFNAME {
		size = unix.IFNAMSIZ
	}
	p := m.packet
	if f.flags&unix.NFTA_FIB_F_SADDR == 0 || p.Back == "" || f.flags&unix.NFTA_FIB_F_IIF != 0 && p.Back != p.InDevice {
		return unknown(size)
	}
	b, _ := m.host.device(p.Back, true, key)
	return b
}

// present is one byte: whether there is a device at all.
func present(b bits) bits {
	for i, v := range b.value {
		if v&b.known[i] != 0 {
			return known([]byte{1})
		}
	}
	if b.whole() {
		return known([]byte{0})
	}
	return unknown(1)
}

// Kinds of addresses (RTN_* of linux/rtnetlink.h), as far as the host's own addresses tell them.
const (
	addrUnicast   = 1
	addrLocal     = 2
	addrBroadcast = 3
	addrMulticast = 5
)

// addrType is the kind of an address of the packet.
func (m *machine) addrType(source bool, device string) bits {
	where, n := 16, 4
	if m.packet.is6() {
		where, n = 24, 16
	}
	if source {
		where -= n
	}
	b := m.state.get(span{networkSpan().at + where, n})
	if !b.whole() {
		return unknown(4)
	}
	a, _ := netip.AddrFromSlice(b.value)
	return m.host.addrType(a, device)
}

func (h *host) addrType(a netip.Addr, device string) bits {
	devices, local := h.addrs[a]
	switch {
	case local && (device == "" || devices[device]) || a.IsLoopback() && (device == "" || device == "lo"):
		return known(host32(addrLocal))
	case a.IsMulticast():
		return known(host32(addrMulticast))
	case h.broadcast[a] || a.Is4() && a.As4()[0] == 0 || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return known(host32(addrBroadcast))
	case a.Is4() && !a.IsLoopback():
		return known(host32(addrUnicast))
	}
	// Of IPv6 the routes decide between unicast (1) and unreachable (7): known is the bit that both have, and that local has not.
	return bits{host32(1), host32(1)}
}
