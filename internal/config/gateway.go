package config

import (
	"fmt"
	"net/netip"
	"slices"

	"natd/nat"
)

// gatewayOf reads a [[gateway]] table.
func gatewayOf(t *table) nat.Gateway {
	g := nat.Gateway{
		Name:    t.name("private-subnets"),
		From:    t.networks("from", "10.100.20.0/24", "an empty list would be a gateway for nobody: name the hosts behind"),
		SNAT:    t.snat(),
		Egress:  t.egress(),
		Enabled: t.flag("enabled", true),
	}
	t.failMissing("from", `the hosts behind, such as from = ["10.100.20.0/24"]`)
	if g.SNAT.Mode == nat.SNATOff {
		t.fail("snat", "a gateway is there to translate: to forward with the hosts' own addresses needs routes and no gateway")
	}
	behind := familiesOfNetworks(g.From)
	g.To = t.destinations(behind)
	if behind == 0 || len(g.To) == 0 {
		return g // what is wrong with them is told
	}
	t.checkDisjoint("from", g.From)
	t.checkDisjoint("to", g.To)
	if t.checkFamily("to", behind, g.To, "every source in from") {
		for f := range (behind &^ familiesOfNetworks(g.To)).each() {
			t.fail("to", fmt.Sprintf("has no %s network, so the %s hosts in from could go nowhere: add one, such as %q", f, f, everywhere(f)))
		}
	}
	t.checkPool(behind, behind, g.SNAT, "every source in from")
	return g
}

// destinations reads where the hosts behind may go: everywhere unless the file says otherwise.
func (t *table) destinations(behind families) []netip.Prefix {
	const key = "to"
	if _, ok := t.values[key]; ok {
		named := t.networks(key, "0.0.0.0/0", "an empty list would lead nowhere; leave the key out for everywhere")
		for _, p := range named {
			t.checkNotOwn(key, p)
		}
		return named
	}
	var all []netip.Prefix
	for f := range behind.each() {
		all = append(all, everywhere(f))
	}
	return all
}

// checkNotOwn refuses a network that no gateway leads to: link-local addresses (RFC 3927, section 7), and EC2's own services.
func (t *table) checkNotOwn(key string, p netip.Prefix) {
	for _, own := range []string{"169.254.0.0/16", "fd00:ec2::/32"} {
		if network := netip.MustParsePrefix(own); network.Contains(p.Addr()) && p.Bits() >= network.Bits() {
			t.fail(key, fmt.Sprintf("%s lies in %s, where each host has services of its own, such as the one that gives out its credentials: "+
				"no gateway leads there", p, own))
		}
	}
}

// everywhere is all addresses of the family.
func everywhere(f families) netip.Prefix {
	if f == ipv4 {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
}

// checkDisjoint refuses a network within another one of the list: in the kernel they are intervals of one map, which must not overlap.
func (t *table) checkDisjoint(key string, list []netip.Prefix) {
	sorted := slices.SortedFunc(slices.Values(list), comparePrefixes)
	for i := 1; i < len(sorted); i++ {
		if sorted[i-1].Overlaps(sorted[i]) {
			t.fail(key, fmt.Sprintf("%s is part of %s: leave it out", sorted[i], sorted[i-1]))
			return
		}
	}
}

// comparePrefixes puts a network before those within it.
func comparePrefixes(a, b netip.Prefix) int {
	if c := a.Addr().Compare(b.Addr()); c != 0 {
		return c
	}
	return a.Bits() - b.Bits()
}
