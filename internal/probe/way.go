package probe

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// way is how this host sends to a target.
type way struct {
	hop  netip.Addr // the gateway, or the target itself
	link int        // the index of the interface
	mtu  int        // of the interface, in bytes
	here bool       // the target is this host
}

// findWay asks the kernel for the route of a packet. From and device may be left out.
func findWay(from, to netip.Addr, device string) (way, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return way{}, fmt.Errorf("opening netlink: %w", err)
	}
	defer h.Close()
	options := &netlink.RouteGetOptions{Oif: device}
	if from.IsValid() {
		options.SrcAddr = from.AsSlice()
	}
	routes, err := h.RouteGetWithOptions(to.AsSlice(), options)
	if err != nil || len(routes) == 0 {
		return way{}, fmt.Errorf("asking for the route to %v: %w", to, err)
	}
	w := way{hop: to, link: routes[0].LinkIndex, here: routes[0].Type == unix.RTN_LOCAL}
	if gateway, ok := netip.AddrFromSlice(routes[0].Gw); ok {
		w.hop = gateway.Unmap()
	} else if via, ok := routes[0].Via.(*netlink.Via); ok {
		if gateway, ok := netip.AddrFromSlice(via.Addr); ok {
			w.hop = gateway
		}
	}
	link, err := h.LinkByIndex(w.link)
	if err != nil {
		return w, fmt.Errorf("reading interface %d: %w", w.link, err)
	}
	w.mtu = link.Attrs().MTU
	return w, nil
}

// silentHop is the next hop towards a target when it does not answer to ARP or neighbour discovery, which the kernel asks three times,
// a second apart, before it gives up; the zero Addr when it does, or when that cannot be told.
func silentHop(from, to netip.Addr, device string) netip.Addr {
	w, err := findWay(from, to, device)
	if err != nil {
		return netip.Addr{}
	}
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return netip.Addr{}
	}
	defer h.Close()
	family := netlink.FAMILY_V4
	if w.hop.Is6() {
		family = netlink.FAMILY_V6
	}
	neighbours, err := h.NeighList(w.link, family)
	if err != nil {
		return netip.Addr{}
	}
	for _, n := range neighbours {
		if a, _ := netip.AddrFromSlice(n.IP); a.Unmap() == w.hop && n.State&(netlink.NUD_INCOMPLETE|netlink.NUD_FAILED) != 0 {
			return w.hop
		}
	}
	return netip.Addr{}
}

// sender tells who sent an ICMP error about a packet to the target.
func sender(from, target netip.Addr) Sender {
	if from == target {
		return ByTarget
	}
	if w, err := findWay(netip.Addr{}, from, ""); err == nil && w.here {
		return ByHost
	}
	return ByRouter
}
