package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
)

// Device is the name of every host's interface, as the instances of Amazon EC2 name theirs.
const Device = "ens5"

// vpcMTU is what EC2 gives an instance: jumbo frames. Source: "Network MTU for your EC2 instance".
const vpcMTU = 9001

// Peering is the usual lab: three VPCs with one host each. A and B are peered, B and C are peered, and peering is not
// transitive: what goes from A to C is dropped.
//
//	A 10.1.0.100/24 --- R --- B 10.2.0.100/24
//	                    |
//	                    +---- C 10.3.0.100/24
//
// R, the router, stands for the VPC routers and the peering connections, and is every host's gateway (10.1.0.1 and so
// on). The IPv6 addresses are fd00:10:1::100/64 and so on. Each VPC is a /16 (IPv6: /48), routed whole to its host.
type Peering struct {
	*Lab
	A, B, C, R *Host
}

// peeringRules let a packet pass when it crosses exactly one peering connection: it leaves A or C for an address of B,
// or comes from B with an address of B. A VPC also checks that packets bear an address of the VPC they come from;
// the interface says that here. Without connection tracking, so that R costs benchmarks next to nothing.
const peeringRules = `
table inet peering {
	chain forward {
		type filter hook forward priority filter; policy drop
		iifname { "a", "c" } ip daddr 10.2.0.0/16 accept
		iifname { "a", "c" } ip6 daddr fd00:10:2::/48 accept
		iifname "b" ip saddr 10.2.0.0/16 accept
		iifname "b" ip6 saddr fd00:10:2::/48 accept
	}
}
`

// OpenPeering makes the usual lab.
func OpenPeering(ctx context.Context) (*Peering, error) {
	return openPeering(ctx, func(p *Peering) (err error) {
		if p.B, err = p.Host("B"); err != nil {
			return err
		}
		return p.attach(p.B, 2)
	})
}

// openPeering makes the usual lab; addB adds its host in the middle, when the others stand.
func openPeering(ctx context.Context, addB func(*Peering) error) (*Peering, error) {
	l, err := Open()
	if err != nil {
		return nil, err
	}
	p := &Peering{Lab: l}
	err = p.build(ctx)
	if err == nil {
		err = addB(p)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("building the lab of three VPCs: %w", err), l.Close())
	}
	return p, nil
}

// build makes the router and the outer hosts.
func (p *Peering) build(ctx context.Context) (err error) {
	if p.R, err = p.Host("R"); err != nil {
		return err
	}
	// R has more to refuse within a second than the kernel's limit of one ICMP error per second and host lets it say (icmp(7)).
	if err := errors.Join(p.R.Nft(ctx, peeringRules), p.R.forward(), p.R.SetSysctl("net.ipv4.icmp_ratelimit", "0")); err != nil {
		return err
	}
	for _, h := range []struct {
		name string
		host **Host
		vpc  byte
	}{{"A", &p.A, 1}, {"C", &p.C, 3}} {
		if *h.host, err = p.Host(h.name); err != nil {
			return err
		}
		if err := p.attach(*h.host, h.vpc); err != nil {
			return err
		}
	}
	return nil
}

// attach gives a host its VPC: a link to the router, addresses and routes. The n-th VPC is 10.n.0.0/16.
func (p *Peering) attach(h *Host, n byte) error {
	router := End{Host: p.R, Name: string('a' + rune(n) - 1), MTU: vpcMTU}
	host := End{Host: h, Name: Device, MTU: vpcMTU}
	families := []vpcFamily{vpcIPv4(n)}
	if hasIPv6() {
		families = append(families, vpcIPv6(n))
	}
	for _, f := range families {
		router.Addrs = append(router.Addrs, netip.PrefixFrom(f.router, f.subnetBits))
		host.Addrs = append(host.Addrs, netip.PrefixFrom(f.host, f.subnetBits))
		if f.host.Is4() {
			h.Addr = f.host
		} else {
			h.Addr6 = f.host
		}
	}
	if err := Connect(router, host); err != nil {
		return err
	}
	for _, f := range families {
		if err := h.AddRoute(f.everything, f.router); err != nil {
			return err
		}
		if err := p.R.AddRoute(f.vpc, f.host); err != nil {
			return err
		}
	}
	return nil
}

// RouteTo makes the router send a prefix to one of its hosts, as a route in the table of a VPC does.
func (p *Peering) RouteTo(prefix netip.Prefix, h *Host) error {
	return p.R.AddRoute(prefix, h.addr(prefix.Addr()))
}

// addr is the host's address of the family of another.
func (h *Host) addr(like netip.Addr) netip.Addr {
	if like.Is6() {
		return h.Addr6
	}
	return h.Addr
}

// vpcFamily is one VPC in one address family.
type vpcFamily struct {
	host, router    netip.Addr
	subnetBits      int
	vpc, everything netip.Prefix
}

func vpcIPv4(n byte) vpcFamily {
	return vpcFamily{
		host:       netip.AddrFrom4([4]byte{10, n, 0, 100}),
		router:     netip.AddrFrom4([4]byte{10, n, 0, 1}),
		subnetBits: 24,
		vpc:        netip.PrefixFrom(netip.AddrFrom4([4]byte{10, n, 0, 0}), 16),
		everything: netip.PrefixFrom(netip.IPv4Unspecified(), 0),
	}
}

func vpcIPv6(n byte) vpcFamily {
	addr := func(host uint16) netip.Addr {
		return netip.AddrFrom16([16]byte{0: 0xfd, 3: 0x10, 5: n, 14: byte(host >> 8), 15: byte(host)})
	}
	return vpcFamily{
		host:       addr(0x100),
		router:     addr(1),
		subnetBits: 64,
		vpc:        netip.PrefixFrom(addr(0), 48),
		everything: netip.PrefixFrom(netip.IPv6Unspecified(), 0),
	}
}

// forward makes the host a router.
func (h *Host) forward() error {
	keys := []string{"net.ipv4.ip_forward"}
	if hasIPv6() {
		keys = append(keys, "net.ipv6.conf.all.forwarding")
	}
	for _, k := range keys {
		if err := h.SetSysctl(k, "1"); err != nil {
			return err
		}
	}
	return nil
}
