package netconf

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ErrReversePath says that the reverse path filter drops such packets.
var ErrReversePath = errors.New("the reverse path filter drops it")

// Device is the state of an interface.
type Device struct {
	Name     string
	Index    int
	Up       bool // by its administrator
	Carrier  bool // something is at the other end
	MTU      int  // in bytes
	Loopback bool
	Ethernet bool // it sends frames, and not inside other packets, as tunnels do
}

// Devices lists the interfaces of the host with their state, in no order.
func (h *Host) Devices() ([]Device, error) {
	held, err := h.dumpLinks()
	if err != nil {
		return nil, fmt.Errorf("list the interfaces of the host: %w", err)
	}
	devices := make([]Device, 0, len(held))
	for _, l := range held {
		a := l.Attrs()
		devices = append(devices, Device{
			Name: a.Name, Index: a.Index, MTU: a.MTU, Loopback: a.Flags&net.FlagLoopback != 0,
			Ethernet: a.EncapType == "ether" && !slices.Contains(tunnels(), l.Type()),
			Up:       a.Flags&net.FlagUp != 0, Carrier: a.RawFlags&unix.IFF_LOWER_UP != 0,
		})
	}
	return devices, nil
}

// tunnels are the kinds of interfaces that send Ethernet frames inside other packets, or to a program.
func tunnels() []string {
	return []string{"vxlan", "geneve", "gretap", "ip6gretap", "erspan", "ip6erspan", "l2tpeth", "batadv", "tun", "tuntap"}
}

// RouteOf asks the kernel which way it would forward a packet from src to dst that comes by the interface link. Unlike RouteTo it
// minds policy rules that select by source and interface, the reverse path filter and the forwarding of that interface.
// The error is ErrReversePath besides those of RouteTo.
func (h *Host) RouteOf(src, dst netip.Addr, link string) (Route, error) {
	index, err := h.upLink(link)
	if err != nil {
		return Route{}, fmt.Errorf("find the way of a packet from %s by %s: %w", src, link, err)
	}
	answers, err := h.rtnl.RouteGetWithOptions(dst.AsSlice(), &netlink.RouteGetOptions{IifIndex: index, SrcAddr: src.AsSlice()})
	switch {
	case errors.Is(err, unix.EXDEV):
		return Route{}, fmt.Errorf("find the way of a packet from %s by %s: %w", src, link, ErrReversePath)
	case err != nil:
		return Route{}, fmt.Errorf("find the way of a packet from %s by %s: %w", src, link, refusal(err))
	case len(answers) != 1:
		return Route{}, fmt.Errorf("the kernel gave %d routes instead of one", len(answers))
	}
	switch answers[0].Type {
	case unix.RTN_UNICAST, unix.RTN_LOCAL:
		return h.route(answers[0])
	}
	return Route{}, fmt.Errorf("%w: a route of type %d refuses packets to there", ErrNoRoute, answers[0].Type)
}

// Neighbour is the state of the entry for addr in the neighbour table of the interface, in the words of ip-neighbour(8); "" when
// there is none.
func (h *Host) Neighbour(addr netip.Addr, link int) (string, error) {
	family := unix.AF_INET
	if addr.Is6() {
		family = unix.AF_INET6
	}
	entries, err := h.rtnl.NeighList(link, family)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return "", fmt.Errorf("read the neighbours: %w", err)
	}
	for i := range entries {
		if addrOf(entries[i].IP) == addr {
			return neighbourState(entries[i].State), nil
		}
	}
	return "", nil
}

// neighbourState is the word for a state: linux/neighbour.h.
func neighbourState(state int) string {
	for _, s := range []struct {
		bit  int
		word string
	}{
		{unix.NUD_INCOMPLETE, "INCOMPLETE"},
		{unix.NUD_REACHABLE, "REACHABLE"},
		{unix.NUD_STALE, "STALE"},
		{unix.NUD_DELAY, "DELAY"},
		{unix.NUD_PROBE, "PROBE"},
		{unix.NUD_FAILED, "FAILED"},
		{unix.NUD_NOARP, "NOARP"},
		{unix.NUD_PERMANENT, "PERMANENT"},
	} {
		if state&s.bit != 0 {
			return s.word
		}
	}
	return ""
}

// Refusing is the route of the main table that refuses packets to dst, as ip-route(8) writes it: "blackhole 10.3.0.0/16". It is "" when none
// does.
func (h *Host) Refusing(dst netip.Addr) (string, error) {
	family := unix.AF_INET
	if dst.Is6() {
		family = unix.AF_INET6
	}
	routes, err := h.rtnl.RouteList(nil, family)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return "", fmt.Errorf("list the routes: %w", err)
	}
	words := map[int]string{unix.RTN_BLACKHOLE: "blackhole", unix.RTN_UNREACHABLE: "unreachable", unix.RTN_PROHIBIT: "prohibit", unix.RTN_THROW: "throw"}
	found, longest := "", -1
	for i := range routes {
		word, refuses := words[routes[i].Type]
		if !refuses || routes[i].Dst == nil || !routes[i].Dst.Contains(dst.AsSlice()) {
			continue
		}
		if bits, _ := routes[i].Dst.Mask.Size(); bits > longest {
			found, longest = word+" "+routes[i].Dst.String(), bits
		}
	}
	return found, nil
}
