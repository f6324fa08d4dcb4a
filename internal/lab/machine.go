package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// OpenPeeringAround makes the usual lab with the machine itself as host B: what it runs as services is in the lab then. It is for
// virtual machines. The machine's interface Device must stand, with the address and the default route of host B, as one end
// of a link; peer is the name of the other end, which belongs to the router while the lab lives.
func OpenPeeringAround(ctx context.Context, peer string) (*Peering, error) {
	return openPeering(ctx, func(p *Peering) error {
		machine, err := p.add("B", func() (*namespace, error) { return hold((*namespace).stay) })
		if err != nil {
			return err
		}
		vpc := vpcIPv4(2)
		p.B, machine.Addr = machine, vpc.host
		return p.lend(peer, vpc)
	})
}

// lend gives the router the machine's end of a link, until the lab closes.
func (p *Peering) lend(peer string, vpc vpcFamily) error {
	const name = "b"
	if err := p.B.pass(peer, p.R, name); err != nil {
		return err
	}
	p.own(func() error {
		return errors.Join(p.R.pass(name, p.B, peer), p.B.SetUp(peer, true))
	})
	if err := p.R.AddAddr(name, netip.PrefixFrom(vpc.router, vpc.subnetBits)); err != nil {
		return err
	}
	if err := p.R.SetUp(name, true); err != nil {
		return err
	}
	if err := errors.Join(p.R.awaitUp(name), p.B.awaitUp(Device)); err != nil {
		return err
	}
	return p.R.AddRoute(vpc.vpc, vpc.host)
}

// pass gives an interface to another host, under another name. It is down then, and has no addresses.
func (h *Host) pass(dev string, to *Host, name string) error {
	return h.withLink(dev, "passing it to "+to.Name, func(nl *netlink.Handle, l netlink.Link) error {
		if err := nl.LinkSetDown(l); err != nil {
			return err
		}
		if err := nl.LinkSetName(l, name); err != nil {
			return fmt.Errorf("renaming it to %s: %w", name, err)
		}
		return nl.LinkSetNsFd(l, int(to.ns.net.Fd()))
	})
}
