package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// End is one end of a link: an interface of a host.
type End struct {
	Host  *Host
	Name  string
	Addrs []netip.Prefix
	MTU   int // 0 = the kernel's default
}

// Connect links two hosts, which may belong to different labs, and brings the link up.
func Connect(a, b End) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = a.Name, a.MTU
	veth := netlink.NewVeth(attrs)
	veth.PeerName, veth.PeerMTU = b.Name, uint32(b.MTU)
	veth.PeerNamespace = netlink.NsFd(b.Host.ns.net.Fd())
	if err := a.Host.Do(func() error { return netlink.LinkAdd(veth) }); err != nil {
		return fmt.Errorf("linking %s of %s with %s of %s: %w", a.Name, a.Host.Name, b.Name, b.Host.Name, err)
	}
	for _, e := range []End{a, b} {
		for _, p := range e.Addrs {
			if err := e.Host.AddAddr(e.Name, p); err != nil {
				return err
			}
		}
		if err := e.Host.SetUp(e.Name, true); err != nil {
			return err
		}
	}
	return errors.Join(a.Host.awaitUp(a.Name), b.Host.awaitUp(b.Name))
}

// upPatience is how long the kernel may take to bring up a link whose ends are both up. It batches such events, for
// up to a second (net/core/link_watch.c).
const upPatience = 5 * time.Second

// awaitUp waits until the interface sends. Until then the kernel drops what it should send, and a dropped SYN costs a
// second.
func (h *Host) awaitUp(dev string) error {
	return Await(context.Background(), upPatience, func() error {
		return h.withLink(dev, "waiting for the link", func(_ *netlink.Handle, l netlink.Link) error {
			if state := l.Attrs().OperState; state != netlink.OperUp {
				return fmt.Errorf("it is %v", state)
			}
			return nil
		})
	})
}

// AddAddr gives an interface one more address, which works at once: without IFA_F_NODAD one of IPv6 is tentative until the
// kernel comes to look at it, even where it does not look for duplicates, and nobody can bind to it.
func (h *Host) AddAddr(dev string, p netip.Prefix) error {
	flags := 0
	if p.Addr().Is6() {
		flags = unix.IFA_F_NODAD
	}
	return h.withLink(dev, "adding "+p.String(), func(nl *netlink.Handle, l netlink.Link) error {
		return nl.AddrAdd(l, &netlink.Addr{IPNet: ipNet(p), Flags: flags})
	})
}

// DelAddr takes an address from an interface.
func (h *Host) DelAddr(dev string, p netip.Prefix) error {
	return h.withLink(dev, "removing "+p.String(), func(nl *netlink.Handle, l netlink.Link) error {
		return nl.AddrDel(l, &netlink.Addr{IPNet: ipNet(p)})
	})
}

// SetUp brings an interface up or down. Going down removes its routes.
func (h *Host) SetUp(dev string, up bool) error {
	if up {
		return h.withLink(dev, "bringing it up", (*netlink.Handle).LinkSetUp)
	}
	return h.withLink(dev, "bringing it down", (*netlink.Handle).LinkSetDown)
}

// SetMTU changes the MTU of an interface.
func (h *Host) SetMTU(dev string, mtu int) error {
	return h.withLink(dev, "setting its MTU", func(nl *netlink.Handle, l netlink.Link) error { return nl.LinkSetMTU(l, mtu) })
}

// DelLink removes an interface, and with it the other end of the link.
func (h *Host) DelLink(dev string) error {
	return h.withLink(dev, "removing it", (*netlink.Handle).LinkDel)
}

// Rename renames an interface and keeps its addresses and routes. Kernels before 6.2 rename only what is down, so it
// goes down for that moment on every kernel, as it does when udev renames it.
func (h *Host) Rename(from, to string) error {
	return h.withLink(from, "renaming it to "+to, func(nl *netlink.Handle, l netlink.Link) error {
		addrs, errAddrs := nl.AddrList(l, netlink.FAMILY_V6)
		routes, errRoutes := nl.RouteList(l, netlink.FAMILY_ALL)
		if err := errors.Join(errAddrs, errRoutes); err != nil {
			return fmt.Errorf("listing its addresses and routes: %w", err)
		}
		for _, step := range []func() error{
			func() error { return nl.LinkSetDown(l) },
			func() error { return nl.LinkSetName(l, to) },
			func() error { return nl.LinkSetUp(l) },
			func() error { return h.awaitUp(to) },
			func() error { return restore(nl, l, addrs, routes) },
		} {
			if err := step(); err != nil {
				return err
			}
		}
		return nil
	})
}

// restore puts back what an interface lost by going down and what is not back by itself: its IPv6 addresses and the
// routes that somebody made.
func restore(nl *netlink.Handle, l netlink.Link, addrs []netlink.Addr, routes []netlink.Route) error {
	for _, a := range addrs {
		if err := nl.AddrReplace(l, &netlink.Addr{IPNet: a.IPNet}); err != nil {
			return fmt.Errorf("restoring the address %v: %w", a.IPNet, err)
		}
	}
	for _, r := range routes {
		if r.Protocol == unix.RTPROT_KERNEL {
			continue
		}
		if err := nl.RouteReplace(&r); err != nil {
			return fmt.Errorf("restoring the route to %v: %w", r.Dst, err)
		}
	}
	return nil
}

// AddRoute adds a route by way of a gateway.
func (h *Host) AddRoute(dst netip.Prefix, via netip.Addr) error {
	return h.route(dst, via, "adding", netlink.RouteAdd)
}

// DelRoute removes a route by way of a gateway.
func (h *Host) DelRoute(dst netip.Prefix, via netip.Addr) error {
	return h.route(dst, via, "removing", netlink.RouteDel)
}

func (h *Host) route(dst netip.Prefix, via netip.Addr, doing string, change func(*netlink.Route) error) error {
	return h.Do(func() error {
		if err := change(&netlink.Route{Dst: ipNet(dst), Gw: via.AsSlice()}); err != nil {
			return fmt.Errorf("%s the route to %s via %s: %w", doing, dst, via, err)
		}
		return nil
	})
}

// withLink does something to an interface of the host.
func (h *Host) withLink(dev, doing string, do func(*netlink.Handle, netlink.Link) error) error {
	return h.Do(func() error {
		nl, err := netlink.NewHandle()
		if err != nil {
			return fmt.Errorf("opening a netlink socket: %w", err)
		}
		defer nl.Close()
		l, err := nl.LinkByName(dev)
		if err == nil {
			err = do(nl, l)
		}
		if errors.As(err, new(netlink.LinkNotFoundError)) {
			err = fmt.Errorf("there is no such interface: %w", err)
		}
		if err != nil {
			return fmt.Errorf("interface %s: %s: %w", dev, doing, err)
		}
		return nil
	})
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
