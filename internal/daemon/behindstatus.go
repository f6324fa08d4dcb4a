package daemon

import (
	"cmp"
	"net/netip"

	"natd/internal/control"
	"natd/internal/flow"
	"natd/nat"
)

func (d *Daemon) gatewayStatus(all *counts) []control.Gateway {
	gateways := make([]control.Gateway, len(d.cfg.NAT.Gateways))
	for i := range gateways {
		g := &d.cfg.NAT.Gateways[i]
		owner := flow.Owner{Kind: flow.KindGateway, Name: g.Name}
		c := all.of(owner, netip.AddrPort{})
		gateways[i] = control.Gateway{
			Name: g.Name, From: texts(g.From), To: texts(g.To), SNAT: snatTexts(g.SNAT), Egress: cmp.Or(g.Egress, "auto"),
			Connections: c.connections, Bytes: c.bytes, Packets: c.packets, Ports: all.uses[owner],
		}
		gateways[i].State, gateways[i].Reason, gateways[i].Faults = d.spotState(g.Enabled, d.placed.gateways, i, g.From...)
	}
	return gateways
}

func (d *Daemon) staticStatus(all *counts) []control.Static {
	statics := make([]control.Static, len(d.cfg.NAT.Statics))
	for i := range statics {
		st := &d.cfg.NAT.Statics[i]
		owner := flow.Owner{Kind: flow.KindStatic, Name: st.Name}
		c := all.of(owner, netip.AddrPort{})
		statics[i] = control.Static{
			Name: st.Name, External: st.External.String(), Internal: st.Internal.String(), From: texts(st.From), SNAT: snatTexts(st.SNAT),
			Connections: c.connections, Bytes: c.bytes, Packets: c.packets, Ports: all.uses[owner],
		}
		statics[i].State, statics[i].Reason, statics[i].Faults = d.spotState(st.Enabled, d.placed.statics, i, st.External)
	}
	return statics
}

// snatTexts is the source translation as the configuration has it.
func snatTexts(s nat.SNAT) []string {
	switch s.Mode {
	case nat.SNATFixed:
		return texts(s.Addrs)
	case nat.SNATOff:
		return []string{"off"}
	case nat.SNATAuto:
	}
	return []string{"auto"}
}

// spotState is the state of the i-th of the spots, which forwards packets of the families of the networks.
func (d *Daemon) spotState(enabled bool, spots []spot, i int, networks ...netip.Prefix) (state, reason string, faults control.Faults) {
	if !enabled {
		return control.RelayDisabled, "enabled = false", faults
	}
	if absent := d.absent(len(spots) > i); absent != "" {
		return control.RelayDown, absent, control.Faults{Host: absent}
	}
	reason, faults = spots[i].reason(), spots[i].faults
	if family := d.unforwardedOf(networks); family != "" && !spots[i].Held {
		off := "the host does not forward " + family
		faults.Host = cmp.Or(faults.Host, off)
		if reason != "" {
			off = reason + "; " + off
		}
		reason = off
	}
	if reason != "" {
		return control.RelayDegraded, reason, faults
	}
	return control.RelayReady, "", faults
}

// unforwardedOf is the family of the networks that the host does not forward; "" when it forwards all.
func (d *Daemon) unforwardedOf(networks []netip.Prefix) string {
	for _, p := range networks {
		switch {
		case p.Addr().Is4() && !d.forwarding:
			return "IPv4"
		case p.Addr().Is6() && !d.forwarding6:
			return "IPv6"
		}
	}
	return ""
}
