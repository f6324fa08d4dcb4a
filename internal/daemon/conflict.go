package daemon

import (
	"fmt"
	"net/netip"
	"slices"

	"natd/internal/config"
	"natd/internal/control"
	"natd/nat"
	"natd/netconf"
)

// claim is what a relay takes of the host, and whether it may take it from others: two relays with the same claim are one as
// far as local services care.
type claim struct {
	listen    nat.Listen
	protocols [3]nat.Protocol
	override  bool
}

func claimOf(r *nat.Relay) claim {
	c := claim{listen: r.Listen, override: r.OverrideLocal}
	copy(c.protocols[:], r.Protocols)
	return c
}

// staticClaim is what a static takes of the host.
type staticClaim struct {
	external netip.Prefix
	override bool
}

func staticClaimOf(st *nat.Static) staticClaim { return staticClaim{st.External, st.OverrideLocal} }

// conflicts finds what would take a port or an address from a local service, with the reason by name. What already had its
// port when the service came keeps it: otherwise anyone who may open a socket could end a relay.
func conflicts(spec *nat.Spec, next *placed, listeners []netconf.Listener, had *tenure) map[string]string {
	isLocal := make(map[netip.Addr]bool)
	for _, a := range next.facts.local() {
		isLocal[a] = true
	}
	byPort := make(map[uint16][]netconf.Listener)
	for _, l := range listeners {
		byPort[l.Port] = append(byPort[l.Port], l)
	}
	found := make(map[string]string)
	for i := range spec.Relays {
		r := &spec.Relays[i]
		if next.relays[i].Held || r.OverrideLocal || had.relay(i) {
			continue
		}
		if l, ok := takenFrom(r, next.relays[i].Addrs, isLocal, byPort); ok {
			found[r.Name] = fmt.Sprintf("port %d/%s belongs to a local service (a socket of uid %d on %s): stop it (ss -lntup names it), choose another port, or set override_local = true",
				l.Port, nat.Protocol(l.Protocol), l.UID, l.Addr)
		}
	}
	for i := range spec.Statics {
		st := &spec.Statics[i]
		if next.statics[i].Held || st.OverrideLocal || had.static(i) {
			continue
		}
		if addr, l, ok := swallowed(st, next.facts.local(), listeners); ok {
			found[st.Name] = fmt.Sprintf("external has %s of this host, where port %d/%s belongs to a local service (a socket of uid %d): choose other addresses, or set override_local = true",
				addr, l.Port, nat.Protocol(l.Protocol), l.UID)
		}
	}
	return found
}

// swallowed finds a local service that would not get its packets any more, because a static has its address.
func swallowed(st *nat.Static, local []netip.Addr, listeners []netconf.Listener) (netip.Addr, netconf.Listener, bool) {
	for _, addr := range local {
		if !st.External.Contains(addr) {
			continue
		}
		for _, l := range listeners {
			if l.Addr == addr || l.Addr.IsUnspecified() && l.Addr.Is4() == addr.Is4() {
				return addr, l, true
			}
		}
	}
	return netip.Addr{}, netconf.Listener{}, false
}

// refusal is why natd does not reload a configuration whose relays would take ports from local services, with the reasons by
// name; nil when there are none.
func refusal(cfg *config.Config, taken map[string]string) error {
	var errs config.Errors
	for i := range cfg.NAT.Relays {
		if why, ok := taken[cfg.NAT.Relays[i].Name]; ok {
			errs = append(errs, cfg.Blame(config.Relay, cfg.NAT.Relays[i].Name, "listen", why))
		}
	}
	for i := range cfg.NAT.Statics {
		if why, ok := taken[cfg.NAT.Statics[i].Name]; ok {
			errs = append(errs, cfg.Blame(config.Static, cfg.NAT.Statics[i].Name, "external", why))
		}
	}
	if len(errs) == 0 {
		return nil
	}
	return control.Errorf(control.CodeConfig, "%w", errs)
}

// takenFrom finds a local service that would not get its packets any more. It goes by the shorter list of ports.
func takenFrom(r *nat.Relay, addrs []netip.Addr, isLocal map[netip.Addr]bool, byPort map[uint16][]netconf.Listener) (netconf.Listener, bool) {
	if !r.Listen.Any() && !isLocal[r.Listen.Addr] {
		return netconf.Listener{}, false
	}
	hit := func(port uint16) (netconf.Listener, bool) {
		for _, l := range byPort[port] {
			same := l.Addr.IsUnspecified() || r.Listen.Any() || l.Addr == r.Listen.Addr
			family := slices.ContainsFunc(addrs, func(a netip.Addr) bool { return a.Is4() == l.Addr.Is4() })
			if same && family && r.Carries(nat.Protocol(l.Protocol)) {
				return l, true
			}
		}
		return netconf.Listener{}, false
	}
	if r.Listen.Ports.Width() <= len(byPort) {
		for offset := range r.Listen.Ports.Width() {
			if l, ok := hit(r.Listen.Ports.First + uint16(offset)); ok {
				return l, true
			}
		}
		return netconf.Listener{}, false
	}
	lowest, ok := netconf.Listener{}, false
	for port := range byPort {
		if l, taken := hit(port); r.Listen.Ports.Contains(port) && taken && (!ok || port < lowest.Port) {
			lowest, ok = l, true
		}
	}
	return lowest, ok
}
