package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// The link between the routers R and M.
const (
	towardsM, towardsR   = "10.255.3.1/30", "10.255.3.2/30"
	towardsM6, towardsR6 = "fd00:10:255:3::1/64", "fd00:10:255:3::2/64"
)

// silence keeps a router from telling that a packet was too big (RFC 1191, RFC 8201): a black hole, as where a firewall drops
// all ICMP.
const silence = `table inet silence {
	chain out {
		type filter hook output priority filter
		icmp type destination-unreachable icmp code frag-needed drop
		icmpv6 type packet-too-big drop
	}
}`

// Narrow puts a router M between R and host C, on a link to R that carries packets of mtu bytes at most, and keeps both
// routers from telling so. C's own link stays as wide as it was, and sends packets of their real size: no offload. C comes
// back with its first addresses alone.
//
//	R 10.255.3.1/30 --- mtu --- M 10.255.3.2/30, 10.3.0.1/24 --- C 10.3.0.100/24
//
// It returns M. The connections of C break.
func (p *Peering) Narrow(ctx context.Context, mtu int) (*Host, error) {
	m, err := p.Host("M")
	if err != nil {
		return nil, err
	}
	if err := errors.Join(p.R.DelLink("c"), m.forward(), m.Nft(ctx, silence), p.R.Nft(ctx, silence)); err != nil {
		return nil, err
	}
	families := []vpcFamily{vpcIPv4(3)}
	if hasIPv6() {
		families = append(families, vpcIPv6(3))
	}
	if err := p.insert(m, mtu, families); err != nil {
		return nil, fmt.Errorf("putting a router before host C: %w", err)
	}
	return m, nil
}

// insert links R, M and C, and routes.
func (p *Peering) insert(m *Host, mtu int, families []vpcFamily) error {
	up, down := End{Host: p.R, Name: "c", MTU: mtu}, End{Host: m, Name: "r", MTU: mtu}
	router, host := End{Host: m, Name: "c", MTU: vpcMTU}, End{Host: p.C, Name: Device, MTU: vpcMTU}
	for _, f := range families {
		near, far := linkAddrs(f)
		up.Addrs, down.Addrs = append(up.Addrs, near), append(down.Addrs, far)
		router.Addrs = append(router.Addrs, netip.PrefixFrom(f.router, f.subnetBits))
		host.Addrs = append(host.Addrs, netip.PrefixFrom(f.host, f.subnetBits))
	}
	for _, link := range [][2]End{{up, down}, {router, host}} {
		if err := Connect(link[0], link[1]); err != nil {
			return err
		}
		if err := errors.Join(link[0].noOffload(), link[1].noOffload()); err != nil {
			return err
		}
	}
	for _, f := range families {
		near, far := linkAddrs(f)
		if err := errors.Join(p.R.AddRoute(f.vpc, far.Addr()), m.AddRoute(f.everything, near.Addr()),
			m.AddRoute(f.vpc, f.host), p.C.AddRoute(f.everything, f.router)); err != nil {
			return err
		}
	}
	return nil
}

// linkAddrs are the addresses of R and M on their link.
func linkAddrs(f vpcFamily) (r, m netip.Prefix) {
	if f.host.Is6() {
		return netip.MustParsePrefix(towardsM6), netip.MustParsePrefix(towardsR6)
	}
	return netip.MustParsePrefix(towardsM), netip.MustParsePrefix(towardsR)
}

// SetLinkMTU changes the MTU of the link between a host and the router, at both ends.
func (p *Peering) SetLinkMTU(h *Host, mtu int) error {
	for name, host := range map[string]*Host{"a": p.A, "b": p.B, "c": p.C} {
		if host == h {
			return errors.Join(p.R.SetMTU(name, mtu), h.SetMTU(Device, mtu))
		}
	}
	return fmt.Errorf("host %s has no link to the router", h.Name)
}

// NoOffload makes the interfaces of a host and of the router towards it send and receive packets as they are on the wire, so that
// everybody who counts packets counts the same.
func (p *Peering) NoOffload() error {
	var failed []error
	for name, host := range map[string]*Host{"a": p.A, "b": p.B, "c": p.C} {
		failed = append(failed, End{Host: host, Name: Device}.noOffload(), End{Host: p.R, Name: name}.noOffload())
	}
	return errors.Join(failed...)
}

// noOffload makes an interface send and receive packets as they are on the wire. Otherwise the kernel passes whole batches
// through a veth as one, which are larger than any MTU (ethtool(8): tso, gso, gro).
func (e End) noOffload() error {
	return e.Host.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("opening a socket: %w", err)
		}
		defer unix.Close(fd) //nolint:errcheck // nothing was written to it
		for _, feature := range []uint32{unix.ETHTOOL_STSO, unix.ETHTOOL_SGSO, unix.ETHTOOL_SGRO} {
			if err := setEthtool(fd, e.Name, feature, 0); err != nil {
				return fmt.Errorf("interface %s: turning an offload off: %w", e.Name, err)
			}
		}
		return nil
	})
}
