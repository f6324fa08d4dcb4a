package netconf

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The reasons why there is no way to a destination.
var (
	ErrNoRoute  = errors.New("no route")
	ErrNoLink   = errors.New("no such interface")
	ErrLinkDown = errors.New("the interface is down")
)

// Route is the way that packets of the host take to a destination.
type Route struct {
	Link    string     // the interface they leave by
	Index   int        // its number
	Source  netip.Addr // the address they carry; invalid when the host has none to give that works beyond the link
	Gateway netip.Addr // invalid when the destination is on the link
	Local   bool       // the destination is the host itself
}

// RouteTo asks the kernel which way packets to dst go: by the interface link, or by whichever the
// routes choose when link is "". The answer holds for forwarded packets too, but for policy rules that select
// by their source or the interface they came by. The error is ErrNoRoute, ErrNoLink, ErrLinkDown, or that the kernel
// could not be asked.
func (h *Host) RouteTo(dst netip.Addr, link string) (Route, error) {
	if !dst.IsValid() || dst.IsUnspecified() {
		// The kernel would take the unspecified address for the loopback address (ip_route_output_key_hash_rcu).
		return Route{}, fmt.Errorf("find the way to %q: it is no address of a host", dst)
	}
	if linkLocal6(dst) {
		return Route{}, fmt.Errorf("find the way to %s: %w: it is a link-local address, which nothing is relayed to; "+
			"use another address of that host", dst, ErrNoRoute)
	}
	route, err := h.routeBy(dst.Unmap(), link)
	if err == nil && linkLocal6(route.Source) {
		route.Source = netip.Addr{}
	}
	if err != nil {
		if link != "" {
			return Route{}, fmt.Errorf("find the way to %s by %s: %w", dst, link, err)
		}
		return Route{}, fmt.Errorf("find the way to %s: %w", dst, err)
	}
	return route, nil
}

func (h *Host) routeBy(dst netip.Addr, link string) (Route, error) {
	if link == "" {
		return h.routeAny(dst)
	}
	index, err := h.upLink(link)
	if err != nil {
		return Route{}, err
	}
	answer, err := h.lookup(dst, netlink.RouteGetOptions{OifIndex: index})
	if dst.Is6() && errors.Is(err, unix.ENETUNREACH) {
		return h.notBy(dst)
	}
	if err != nil {
		return Route{}, err
	}
	if answer.Table != unix.RT_TABLE_UNSPEC {
		return h.route(answer)
	}
	// No table knows a way by this interface. For IPv4 packets of its own the kernel then assumes a neighbour
	// (ip_route_output_key_hash_rcu in net/ipv4/route.c), for those that it forwards it does not.
	return h.notBy(dst)
}

// notBy answers for a destination that no route leads to by the interface asked for.
func (h *Host) notBy(dst netip.Addr) (Route, error) {
	other, err := h.routeAny(dst)
	switch {
	case err != nil:
		return Route{}, err
	case other.Local:
		return other, nil
	}
	return Route{}, fmt.Errorf("%w: packets to there leave by %s; add a route by this interface, "+
		"or name the other one", ErrNoRoute, other.Link)
}

func (h *Host) routeAny(dst netip.Addr) (Route, error) {
	answer, err := h.lookup(dst, netlink.RouteGetOptions{})
	if err != nil {
		return Route{}, err
	}
	return h.route(answer)
}

// upLink finds an interface by name, or by alternative name, and makes sure that it is up.
func (h *Host) upLink(name string) (int, error) {
	link, err := h.rtnl.LinkByName(name)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return 0, fmt.Errorf("%w: \"ip link\" lists those there are", ErrNoLink)
	}
	if err != nil {
		return 0, fmt.Errorf("look up the interface: %w", err)
	}
	if link.Attrs().Flags&net.FlagUp == 0 {
		return 0, fmt.Errorf("%w: \"ip link set %s up\" brings it up", ErrLinkDown, name)
	}
	return link.Attrs().Index, nil
}

// lookup is one RTM_GETROUTE. It returns only answers that packets can follow.
func (h *Host) lookup(dst netip.Addr, options netlink.RouteGetOptions) (netlink.Route, error) {
	answers, err := h.rtnl.RouteGetWithOptions(dst.AsSlice(), &options)
	if err != nil {
		return netlink.Route{}, refusal(err)
	}
	if len(answers) != 1 {
		return netlink.Route{}, fmt.Errorf("the kernel gave %d routes instead of one", len(answers))
	}
	answer := answers[0]
	switch answer.Type {
	case unix.RTN_UNICAST, unix.RTN_LOCAL:
		return answer, nil
	case unix.RTN_BROADCAST, unix.RTN_MULTICAST, unix.RTN_ANYCAST:
		return answer, fmt.Errorf("%w: it is a broadcast, multicast or anycast address, not a host", ErrNoRoute)
	}
	// IPv6 may answer with the entry that refuses, where IPv4 answers with an error.
	return answer, fmt.Errorf("%w: a route of type %d refuses packets to there", ErrNoRoute, answer.Type)
}

// refusal gives the kernel's error its meaning: each type of route that leads nowhere has its own
// (fib_props in net/ipv4/fib_semantics.c, ip6_rt_type_to_error in net/ipv6/route.c).
func refusal(err error) error {
	switch {
	case errors.Is(err, unix.ENETUNREACH):
		return fmt.Errorf("%w: the routing tables have no entry for it; add one (ip route add) or "+
			"bring its interface up (%w)", ErrNoRoute, err)
	case errors.Is(err, unix.EHOSTUNREACH):
		return fmt.Errorf("%w: an unreachable route refuses packets to there (%w)", ErrNoRoute, err)
	case errors.Is(err, unix.EACCES):
		return fmt.Errorf("%w: a prohibit route refuses packets to there (%w)", ErrNoRoute, err)
	case errors.Is(err, unix.EINVAL):
		return fmt.Errorf("%w: a blackhole route swallows packets to there (%w)", ErrNoRoute, err)
	case errors.Is(err, unix.ENODEV):
		return fmt.Errorf("%w: it went away just now (%w)", ErrNoLink, err)
	}
	return fmt.Errorf("ask the kernel: %w", err)
}

// route says the kernel's answer in our words.
func (h *Host) route(answer netlink.Route) (Route, error) {
	name, err := h.linkName(answer.LinkIndex)
	if errors.Is(err, unix.ENODEV) {
		return Route{}, fmt.Errorf("%w: it went away just now (%w)", ErrNoLink, err)
	}
	if err != nil {
		return Route{}, err
	}
	gateway := answer.Gw
	if via, ok := answer.Via.(*netlink.Via); ok { // a gateway of the other address family
		gateway = via.Addr
	}
	return Route{
		Link:    name,
		Index:   answer.LinkIndex,
		Source:  addrOf(answer.Src),
		Gateway: addrOf(gateway),
		Local:   answer.Type == unix.RTN_LOCAL,
	}, nil
}

// addrOf is the address, or the invalid one for nil.
func addrOf(ip net.IP) netip.Addr {
	addr, _ := netip.AddrFromSlice(ip)
	return addr.Unmap()
}
