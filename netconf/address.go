package netconf

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// dumpTries is how often a list is asked for when it keeps changing while the kernel writes it out.
const dumpTries = 8

// Address is an address of the host, with the length of the network that it is in.
type Address struct {
	Addr netip.Prefix // the address itself, not masked; a whole-length prefix when it has a peer
	Link string       // the interface that holds it
}

// Addresses lists the unicast addresses of the host, IPv4 before IPv6, in order. Those that nobody outside can reach, or
// that work on one link only, are left out: 127.0.0.0/8, ::1 and fe80::/10; other addresses on the loopback interface are
// addresses like any other. So are IPv6 addresses that another host may have: the kernel takes no packets for them
// before it has checked (RFC 4862, section 5.4).
func (h *Host) Addresses() ([]Address, error) {
	held, err := h.dumpAddresses()
	if err != nil {
		return nil, fmt.Errorf("list the addresses of the host: %w", err)
	}
	addresses := make([]Address, 0, len(held))
	for _, a := range held {
		addr := addrOf(a.IP)
		if !addr.IsValid() || addr.IsLoopback() || addr.IsMulticast() || linkLocal6(addr) || unproven(a.Flags) {
			continue
		}
		link, err := h.linkName(a.LinkIndex)
		if errors.Is(err, unix.ENODEV) {
			continue // the interface went away since, and the address with it
		}
		if err != nil {
			return nil, fmt.Errorf("list the addresses of the host: %w", err)
		}
		bits, _ := a.Mask.Size()
		addresses = append(addresses, Address{Addr: netip.PrefixFrom(addr, bits), Link: link})
	}
	slices.SortFunc(addresses, func(a, b Address) int {
		return cmp.Or(a.Addr.Addr().Compare(b.Addr.Addr()), cmp.Compare(a.Addr.Bits(), b.Addr.Bits()),
			cmp.Compare(a.Link, b.Link))
	})
	return addresses, nil
}

// linkLocal6 tells whether the address means nothing without the name of a link. Those of IPv4 do: Amazon's name and time
// servers have some.
func linkLocal6(a netip.Addr) bool { return a.Is6() && a.IsLinkLocalUnicast() }

// unproven tells whether the address is not known to be the host's alone. An optimistic one (RFC 4429) works meanwhile.
func unproven(flags int) bool {
	checking := flags&unix.IFA_F_TENTATIVE != 0 && flags&unix.IFA_F_OPTIMISTIC == 0
	return checking || flags&unix.IFA_F_DADFAILED != 0
}

// dumpAddresses returns a whole list only: one that changed under way may lack an address that was there all along.
func (h *Host) dumpAddresses() (held []netlink.Addr, err error) {
	for range dumpTries {
		held, err = h.rtnl.AddrList(nil, netlink.FAMILY_ALL)
		if err == nil {
			return held, nil
		}
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			return nil, err
		}
	}
	return nil, fmt.Errorf("they changed %d times while being read: %w", dumpTries, err)
}
