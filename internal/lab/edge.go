package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
)

// The names of interfaces that the usual lab does not have.
const (
	PrivateDevice  = "ens6"     // host B's second interface, towards the private host
	internetDevice = "internet" // the router's interface towards the internet
)

// internetMTU is what passes an internet gateway. Source: "Network MTU for your EC2 instance".
const internetMTU = 1500

// AddPrivate adds host P, which lives behind B: on a link of its own to B's second interface, PrivateDevice, with B as its
// gateway. Nothing but B has a route to it.
//
//	P 10.100.20.100/24 --- B 10.100.20.1/24, ens6
//
// The IPv6 addresses are fd00:10:100:20::100/64 and fd00:10:100:20::1.
func (p *Peering) AddPrivate() (*Host, error) {
	return p.addBehind(End{Host: p.B, Name: PrivateDevice, MTU: vpcMTU}, "P",
		edgeLink("10.100.20.1/24", "10.100.20.100"), edgeLink("fd00:10:100:20::1/64", "fd00:10:100:20::100"))
}

// internetRules let the internet answer and dial the addresses of B's VPC, and count what B sends there with any other
// source: packets that should have been translated. The policy of peeringRules drops them.
const internetRules = `
add counter inet peering untranslated
add rule inet peering forward iifname "internet" ip daddr 10.2.0.0/16 accept
add rule inet peering forward iifname "internet" ip6 daddr fd00:10:2::/48 accept
add rule inet peering forward iifname "b" oifname "internet" counter name untranslated
`

// AddInternet adds host I, which stands for the internet behind the router: B's VPC reaches it and is reached, as with public
// addresses; A, C and hosts behind B are not.
//
//	I 203.0.113.10/24 --- R 203.0.113.1/24
//
// The IPv6 addresses are 2001:db8::10/64 and 2001:db8::1. Source: the documentation prefixes of RFC 5737 and RFC 3849.
func (p *Peering) AddInternet(ctx context.Context) (*Host, error) {
	if err := p.R.Nft(ctx, internetRules); err != nil {
		return nil, err
	}
	return p.addBehind(End{Host: p.R, Name: internetDevice, MTU: internetMTU}, "I",
		edgeLink("203.0.113.1/24", "203.0.113.10"), edgeLink("2001:db8::1/64", "2001:db8::10"))
}

// Untranslated is how many packets B has sent towards the internet with a source that is not of B's VPC.
func (p *Peering) Untranslated(ctx context.Context) (uint64, error) {
	return p.R.Counter(ctx, "inet", "peering", "untranslated")
}

// Expose makes the router carry everything for a prefix to B, whoever sends it, and everything from it. Then B alone stands
// between the prefix and the rest, as where somebody added a route to a VPC. Untranslated does not count these packets.
func (p *Peering) Expose(ctx context.Context, prefix netip.Prefix) error {
	family := "ip"
	if prefix.Addr().Is6() {
		family = "ip6"
	}
	return errors.Join(p.RouteTo(prefix, p.B),
		p.R.Nft(ctx, fmt.Sprintf("insert rule inet peering forward %s daddr %s accept\n"+
			"insert rule inet peering forward %[1]s saddr %[2]s accept", family, prefix)))
}

// edge is a link between a gateway and a host at the edge of the lab, in one address family.
type edge struct {
	gateway    netip.Prefix
	host       netip.Addr
	everything netip.Prefix
}

func edgeLink(gateway, host string) edge {
	e := edge{gateway: netip.MustParsePrefix(gateway), host: netip.MustParseAddr(host)}
	e.everything = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	if e.host.Is6() {
		e.everything = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	return e
}

// addBehind adds a host on a link of its own to a gateway's interface.
func (p *Peering) addBehind(gateway End, name string, edges ...edge) (*Host, error) {
	if !hasIPv6() {
		edges = slices.DeleteFunc(edges, func(e edge) bool { return e.host.Is6() })
	}
	h, err := p.Host(name)
	if err != nil {
		return nil, err
	}
	own := End{Host: h, Name: Device, MTU: gateway.MTU}
	for _, e := range edges {
		gateway.Addrs = append(gateway.Addrs, e.gateway)
		own.Addrs = append(own.Addrs, netip.PrefixFrom(e.host, e.gateway.Bits()))
		if e.host.Is4() {
			h.Addr = e.host
		} else {
			h.Addr6 = e.host
		}
	}
	if err := Connect(gateway, own); err != nil {
		return nil, err
	}
	for _, e := range edges {
		if err := h.AddRoute(e.everything, e.gateway.Addr()); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// packets finds the number in what nft says of a counter.
var packets = regexp.MustCompile(`packets (\d+) `)

// Counter is how many packets a named counter has counted.
func (h *Host) Counter(ctx context.Context, family, table, name string) (uint64, error) {
	out, err := h.Run(ctx, "nft", "list", "counter", family, table, name)
	if err != nil {
		return 0, err
	}
	found := packets.FindStringSubmatch(out)
	if found == nil {
		return 0, fmt.Errorf("host %s: no number of packets in %q", h.Name, out)
	}
	return strconv.ParseUint(found[1], 10, 64)
}
