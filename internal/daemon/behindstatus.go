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
		c := all.of(flow.Owner{Kind: flow.KindGateway, Name: g.Name}, netip.AddrPort{})
		gateways[i] = control.Gateway{
			Name: g.Name, From: texts(g.From), To: texts(g.To), SNAT: snatTexts(g.SNAT), Egress: cmp.Or(g.Egress, "auto"),
			Connections: c.connections, Bytes: c.bytes, Packets: c.packets,
		}
		gateways[i].State, gateways[i].Reason = d.spotState(g.Enabled, d.placed.gateways, i, g.From...)
	}
	return gateways
}

func (d *Daemon) staticStatus(all *counts) []control.Static {
	statics := make([]control.Static, len(d.cfg.NAT.Statics))
	for i := range statics {
		st := &d.cfg.NAT.Statics[i]
		c := all.of(flow.Owner{Kind: flow.KindStatic, Name: st.Name}, netip.AddrPort{})
		statics[i] = control.Static{
			Name: st.Name, External: st.External.String(), Internal: st.Internal.String(), From: texts(st.From), SNAT: snatTexts(st.SNAT),
			Connections: c.connections, Bytes: c.bytes, Packets: c.packets,
		}
		statics[i].State, statics[i].Reason = d.spotState(st.Enabled, d.placed.statics, i, st.External)
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
func (d *Daemon) spotState(enabled bool, spots []spot, i int, networks ...netip.Prefix) (state, reason string) {
	switch {
	case !enabled:
		return control.RelayDisabled, "enabled = false"
	case d.flushed:
		return control.RelayDown, flushedReason
	case i >= len(spots) || !d.sync.verified:
		return control.RelayDown, "it is not in the kernel: " + d.sync.err
	case spots[i].reason() != "":
		return control.RelayDegraded, spots[i].reason()
	case d.unforwardedOf(networks) != "":
		return control.RelayDegraded, "the host does not forward " + d.unforwardedOf(networks)
	}
	return control.RelayReady, ""
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
