package daemon

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"natd/internal/control"
	"natd/nat"
	"natd/netconf"
)

// spot is what this host makes of a gateway or static.
type spot struct {
	nat.Placement
	links   []string // the interfaces that it sends by, as far as that can be told
	reasons []string // why it is not as configured
	faults  control.Faults
}

func (s *spot) hold(format string, args ...any) {
	s.Held = true
	why := fmt.Sprintf(format, args...)
	s.reasons, s.faults.Host = add(s.reasons, why), cmp.Or(s.faults.Host, why)
}

// reason is why it is not as configured, in one line; "" when it is.
func (s *spot) reason() string { return strings.Join(s.reasons, "; ") }

func (s *spot) same(o *spot) bool {
	return s.Held == o.Held && slices.Equal(s.links, o.links) && slices.Equal(s.reasons, o.reasons) && slices.Equal(s.Addrs, o.Addrs)
}

// placeGateways decides about every gateway, as place does about relays.
func (f *facts) placeGateways(spec *nat.Spec) []spot {
	spots := make([]spot, len(spec.Gateways))
	for i := range spec.Gateways {
		g, s := &spec.Gateways[i], &spots[i]
		if !g.Enabled {
			s.Held = true
			continue
		}
		f.needFamilies(s, g.From)
		f.needPool(s, g.SNAT)
		for _, to := range g.To {
			f.needWay(s, to, g.Egress)
		}
	}
	return spots
}

// placeStatics decides about every static. refused holds the reasons why statics, by name, may not take addresses.
func (f *facts) placeStatics(spec *nat.Spec, refused map[string]string) []spot {
	spots := make([]spot, len(spec.Statics))
	for i := range spec.Statics {
		st, s := &spec.Statics[i], &spots[i]
		if !st.Enabled {
			s.Held = true
			continue
		}
		f.needFamilies(s, []netip.Prefix{st.External})
		f.needPool(s, st.SNAT)
		f.needWay(s, st.Internal, "")
		if reason, ok := refused[st.Name]; ok {
			s.hold("%s", reason)
		}
	}
	return spots
}

// needFamilies notes a family that the host does not have, and holds what has no other.
func (f *facts) needFamilies(s *spot, prefixes []netip.Prefix) {
	is4 := func(p netip.Prefix) bool { return p.Addr().Is4() }
	if f.noIPv6 == nil || !slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return !is4(p) }) {
		return
	}
	s.reasons = add(s.reasons, f.noIPv6.Error())
	if !slices.ContainsFunc(prefixes, is4) {
		s.hold("%s", f.noIPv6)
	}
}

// lacks tells whether the host does not have the address's family: then there is nothing to say about the address.
func (f *facts) lacks(a netip.Addr) bool { return f.noIPv6 != nil && a.Is6() }

// needPool finds the source addresses, and holds what has none. What the pool lacks is noted in any case.
func (f *facts) needPool(s *spot, snat nat.SNAT) {
	wanted := slices.DeleteFunc(slices.Clone(snat.Addrs), f.lacks)
	for _, is4 := range []bool{true, false} {
		held, lacks := f.pool(wanted, is4)
		s.Addrs = append(s.Addrs, held...)
		if lacks != "" {
			s.reasons = add(s.reasons, lacks)
		}
	}
	if len(wanted) > 0 && len(s.Addrs) == 0 {
		s.hold("%s", s.reasons[len(s.reasons)-1])
	}
}

// needWay notes a network that nothing leads to, and an interface that is not there.
func (f *facts) needWay(s *spot, to netip.Prefix, egress string) {
	if f.lacks(to.Addr()) {
		return
	}
	host := someHost(to)
	if w := f.way(host); w.err != nil {
		why := fmt.Sprintf("%s cannot be reached: %s", to, errors.Unwrap(w.err))
		s.reasons, s.faults.Target = add(s.reasons, why), cmp.Or(s.faults.Target, why)
	} else if !w.route.Local {
		s.links = add(s.links, w.route.Link)
	}
	if egress == "" {
		return
	}
	s.links = add(s.links, egress)
	if w := f.wayBy(host, egress); w.err != nil && !errors.Is(w.err, netconf.ErrNoRoute) {
		why := fmt.Sprintf("egress %s: %s", egress, errors.Unwrap(w.err))
		s.reasons, s.faults.Host = add(s.reasons, why), cmp.Or(s.faults.Host, why)
	}
}

// spotPlacements is the part of the spots that the ruleset is built from.
func spotPlacements(spots []spot) []nat.Placement {
	out := make([]nat.Placement, len(spots))
	for i := range spots {
		out[i] = spots[i].Placement
	}
	return out
}
