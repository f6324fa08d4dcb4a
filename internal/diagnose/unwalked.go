package diagnose

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"natd/internal/control"
	"natd/nat"
	"natd/netconf"
)

// unwalked says why no relay answers a question: it is about a gateway or a static, or about nothing that is there. Nil is for what a
// client may dial, and no relay has.
func (k *look) unwalked(q Question, dialled netip.AddrPort) error {
	addr := dialled.Addr()
	if !dialled.IsValid() {
		addr, _ = netip.ParseAddr(q.Relay)
	}
	if what := k.otherThanRelay(q, addr); what != "" {
		return errors.New(what + ": only relays are walked; natctl status says how it is, and natctl rules has its rules")
	}
	switch {
	case dialled.IsValid():
		return nil
	case addr.IsValid():
		return fmt.Errorf("%s is an address: add the port that clients dial, as in %s", addr, netip.AddrPortFrom(addr, k.portAt(addr)))
	}
	return fmt.Errorf("there is no relay %q in %s; it has: %s", q.Relay, k.ev.Daemon.Config, names(k.spec))
}

// otherThanRelay says that a question is about a gateway or a static; "" when it is not. What a client of a gateway sends to this host
// itself no gateway has.
func (k *look) otherThanRelay(q Question, addr netip.Addr) string {
	switch i := slices.IndexFunc(k.spec.Gateways, func(g nat.Gateway) bool { return g.Name == q.Relay }); {
	case i >= 0:
		return q.Relay + " is a gateway"
	case slices.ContainsFunc(k.spec.Statics, func(s nat.Static) bool { return s.Name == q.Relay }):
		return q.Relay + " is a static"
	}
	for _, s := range k.spec.Statics {
		if s.Enabled && s.External.Contains(addr) {
			return fmt.Sprintf("%s is an address of the static %s", addr, s.Name)
		}
	}
	if slices.ContainsFunc(k.addresses, func(a netconf.Address) bool { return a.Addr.Addr() == addr }) {
		return ""
	}
	for _, g := range k.spec.Gateways {
		switch {
		case g.Enabled && anyContains(g.From, addr):
			return fmt.Sprintf("%s is behind the gateway %s", addr, g.Name)
		case g.Enabled && anyContains(g.From, q.Client) && anyContains(g.To, addr):
			return fmt.Sprintf("%s goes out to %s by the gateway %s", q.Client, addr, g.Name)
		}
	}
	return ""
}

// anyContains tells whether an address is in one of the prefixes.
func anyContains(prefixes []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
}

// portAt is a port that clients may dial at an address: of the first relay that listens there, or else the best known one.
func (k *look) portAt(a netip.Addr) uint16 {
	for i := range k.spec.Relays {
		if l := k.spec.Relays[i].Listen; l.Addr == a {
			return l.Ports.First
		}
	}
	return 80
}

// toldGateway is a gateway by natd's own words.
func toldGateway(g *control.Gateway) nat.Gateway {
	return nat.Gateway{Name: g.Name, Enabled: g.State != control.RelayDisabled, From: prefixes(g.From), To: prefixes(g.To)}
}

// toldStatic is a static by natd's own words.
func toldStatic(s *control.Static) nat.Static {
	external, _ := netip.ParsePrefix(s.External)
	return nat.Static{Name: s.Name, Enabled: s.State != control.RelayDisabled, External: external}
}

// prefixes reads what natd says of networks.
func prefixes(texts []string) (all []netip.Prefix) {
	for _, text := range texts {
		if p, err := netip.ParsePrefix(text); err == nil {
			all = append(all, p)
		}
	}
	return all
}
