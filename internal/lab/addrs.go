package lab

import (
	"context"
	"fmt"
	"net/netip"
)

// maxExtra is how many addresses a host can have beside its own: what is left of the last byte of 10.x.0.100.
const maxExtra = 155

// Extra is the n-th address after the host's own in each family: 10.3.0.101 and fd00:10:3::101 for the first of host C.
func (h *Host) Extra(n int) []netip.Addr {
	var addrs []netip.Addr
	for _, a := range []netip.Addr{h.Addr, h.Addr6} {
		if !a.IsValid() {
			continue
		}
		for range n {
			a = a.Next()
		}
		addrs = append(addrs, a)
	}
	return addrs
}

// AddExtra gives the host's Device its first n extra addresses of each family. It does so once.
func (h *Host) AddExtra(n int) error {
	if n > maxExtra {
		return fmt.Errorf("host %s: %d extra addresses, want at most %d", h.Name, n, maxExtra)
	}
	for i := range n {
		for _, a := range h.Extra(i + 1) {
			if err := h.AddAddr(Device, netip.PrefixFrom(a, subnetBits(a))); err != nil {
				return err
			}
		}
	}
	return nil
}

// subnetBits is the length of the lab's subnets.
func subnetBits(a netip.Addr) int {
	if a.Is4() {
		return 24
	}
	return 64
}

// Own makes the host answer for every address of a prefix, as if all were its own: it pings, accepts connections on sockets
// bound to no address, and can dial from each. Who should reach them needs a route to the host. The addresses are on
// no interface (a local route, as in Documentation/networking/ip-sysctl.rst, ip_nonlocal_bind), so 256 cost what one does.
func (h *Host) Own(ctx context.Context, p netip.Prefix) error {
	if p.Addr().Is6() {
		// Without it IPv6 lets a socket bind only to addresses that are on an interface; for IPv4 the route is enough.
		if err := h.SetSysctl("net.ipv6.ip_nonlocal_bind", "1"); err != nil {
			return err
		}
	}
	_, err := h.Run(ctx, "ip", "route", "add", "local", p.Masked().String(), "dev", "lo")
	return err
}
