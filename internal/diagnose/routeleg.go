package diagnose

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"natd/internal/control"
	"natd/internal/firewall"
)

// The stations within the host that have to do with its network: routes, links, forwarding, source addresses.

// backend is whether there is anything to send to.
func backend(w *walk) step {
	way := w.way
	s := step{leg: LegTarget, ref: ComponentRef{orElse(way.target(), way.Name), "backend"}, looked: "the backend, as natd knows it", found: "not checked by natd"}
	b := way.Backend
	if b != nil {
		s.found = orElse(strings.TrimPrefix(b.State, control.BackendUnknown), s.found)
		if b.Reason != "" {
			s.found += ": " + b.Reason
		}
	}
	switch {
	case !way.Target.IsValid():
		s.found = "the name has no address"
		s.causes = append(s.causes, unnamed(way, Certain))
		s.last = true
	case b != nil && way.Name != "" && nameFails(way):
		s.causes = append(s.causes, unnamed(way, Possible))
	case b != nil && b.State == control.BackendDraining && way.Status != nil && !anyInUse(way):
		s.causes = append(s.causes, Explanation{
			ExplanationCode: BackendsDrained, Direction: Egress, Leg: LegTarget, Confidence: Certain, Component: s.ref,
			Summary:  fmt.Sprintf("every backend of relay %s is drained or down, so new connections are refused", way.Relay.Name),
			Evidence: []string{fmt.Sprintf("%s: %s", b.Address, s.found)}, Remedy: []string{"natctl enable " + way.Relay.Name},
		})
	}
	return s
}

// nameFails tells whether the name server does not answer for the name: natd says so of the relay.
func nameFails(way *Way) bool {
	return way.Status != nil && strings.Contains(way.Status.Reason, way.Name+": keeping its last answer")
}

func anyInUse(way *Way) bool {
	for i := range way.Status.Backends {
		if way.Status.Backends[i].InUse {
			return true
		}
	}
	return false
}

func unnamed(way *Way, c Confidence) Explanation {
	e := Explanation{
		ExplanationCode: TargetNameUnknown, Direction: Egress, Leg: LegTarget, Confidence: c, Component: ComponentRef{way.Name, way.Name},
		Summary:  fmt.Sprintf("the name of the backend, %s, has no address", way.Name),
		Evidence: []string{"no name server has answered for it"},
		Remedy:   []string{"dig " + way.Name, "resolvectl status   # or cat /etc/resolv.conf: which name servers are asked, and do they answer?", "# resolver in [daemon] names another one"},
	}
	if c == Possible {
		e.Summary = fmt.Sprintf("the name server does not answer for %s; its last answer, %s, goes on", way.Name, way.target())
	}
	if way.Backend != nil && way.Backend.Reason != "" {
		e.Evidence = []string{way.Backend.Reason}
	} else if way.Status != nil && way.Status.Reason != "" {
		e.Evidence = []string{way.Status.Reason}
	}
	return e
}

// route is the host's way to the target.
func route(w *walk) step {
	way := w.way
	to := way.Target.Addr()
	s := step{leg: LegHost, ref: ComponentRef{"route to " + to.String(), "route"}, looked: "the route to " + to.String()}
	out := way.Out
	if out.Kind == RouteFine && way.Onward != nil && way.Onward.Kind == RouteNone {
		out = *way.Onward
	}
	down := w.deadLink(out)
	switch {
	case out.Kind == RouteUnknown:
		s.found, s.unknown = out.Err, true
	case down != "":
		s.found = fmt.Sprintf("interface %s is down", down)
		s.causes = append(s.causes, linkDown(w, down, out))
	case out.Kind != RouteFine && out.Kind != RouteReversePath:
		s.found = out.Err
		s.causes = append(s.causes, noRoute(w, out))
	case out.Local:
		s.found = fmt.Sprintf("%s is this host itself", to)
		s.causes = append(s.causes, loops(w)...)
	default:
		s.found = wayText(out)
		s.causes = append(s.causes, loops(w)...)
	}
	return s
}

func wayText(r Route) string {
	text := "by " + r.Link
	if r.Gateway.IsValid() {
		text += " via " + r.Gateway.String()
	}
	if r.Source.IsValid() {
		text += " from " + r.Source.String()
	}
	return text
}

// deadLink is the interface that should carry the packets and is down: the one that the relay names, the one that the route leaves
// by, the one whose network the target is in, or, when there is no route, one with an address. Routes go when their interface does,
// and then packets may leave by another; addresses do not.
func (w *walk) deadLink(out Route) string {
	if out.Kind == RouteLinkMissing {
		return w.way.Relay.Egress
	}
	for i := range w.ev.Host.Links {
		l := &w.ev.Host.Links[i]
		dead := !l.Up || !l.Carrier
		named := l.Name == w.way.Relay.Egress || out.Kind == RouteFine && l.Name == out.Link
		near := slices.ContainsFunc(l.Nets, func(n netip.Prefix) bool { return n.Contains(w.way.Target.Addr()) })
		tookRoutes := out.Kind != RouteFine && !l.Up && len(l.Addrs) > 0 // one without a carrier, such as docker0, keeps its routes
		if dead && !l.Loopback && (named || near || tookRoutes) {
			return l.Name
		}
	}
	return ""
}

func linkDown(w *walk, link string, out Route) Explanation {
	e := Explanation{
		ExplanationCode: EgressDown, Direction: Egress, Leg: LegHost, Confidence: Certain, Component: ComponentRef{link, link},
		Summary: fmt.Sprintf("interface %s, by which packets to %s leave, is down", link, w.way.Target.Addr()),
		Remedy:  []string{fmt.Sprintf("ip link set %s up", device(link)), "ip route   # do the routes come back with it? Else add them"},
	}
	i := slices.IndexFunc(w.ev.Host.Links, func(l Link) bool { return l.Name == link })
	switch {
	case i < 0:
		e.Summary = fmt.Sprintf("interface %s, which egress names, is not there", link)
		e.Evidence, e.Remedy = []string{"ip link does not list it"}, []string{"ip link", `# correct egress, or egress = "auto", in ` + w.ev.Daemon.Config}
	case !w.ev.Host.Links[i].Up:
		e.Evidence = []string{link + " is administratively down"}
	default:
		e.Evidence = []string{link + " has no carrier"}
		e.Remedy = []string{"ip -s link show " + device(link), "# is the network interface attached? aws ec2 describe-network-interfaces"}
	}
	if out.Err != "" {
		e.Evidence = append(e.Evidence, out.Err)
	}
	return e
}

func noRoute(w *walk, out Route) Explanation {
	to := w.way.Target.Addr()
	e := Explanation{
		ExplanationCode: NoRoute, Direction: Egress, Leg: LegHost, Confidence: Certain, Component: ComponentRef{"route to " + to.String(), "route"},
		Summary: fmt.Sprintf("this host has no route to the target %s", to), Evidence: []string{out.Err},
		Remedy: []string{
			"ip route get " + to.String(),
			fmt.Sprintf("ip route add %s via %s dev %s", netip.PrefixFrom(to, to.BitLen()), orElse(gatewayText(w), "<gateway>"), device(onlyLink(w.ev))),
		},
	}
	if out.By != "" {
		e.Component = ComponentRef{"route " + out.By, "route"}
		e.Evidence = append(e.Evidence, "ip route has "+out.By)
		e.Remedy = []string{"ip route del " + out.By, "ip route get " + to.String() + "   # is there another one now? Else add it"}
	}
	return e
}

// gatewayText is the gateway that packets to clients take, which is likely the one of all routes where there is one interface alone.
func gatewayText(w *walk) string {
	if g := w.way.Back.Gateway; onlyLink(w.ev) != "" && g.IsValid() && g.Is4() == w.way.Target.Addr().Is4() {
		return g.String()
	}
	return ""
}

// loops is whether packets come back to this host.
func loops(w *walk) []Explanation {
	way := w.way
	e := Explanation{
		ExplanationCode: RelayLoop, Direction: Egress, Leg: LegHost, Confidence: Certain, Component: relayRef(way),
		Remedy: []string{fmt.Sprintf("# let `to` of relay %s name the server itself in %s, then:", way.Relay.Name, w.ev.Daemon.Config), "natctl reload"},
	}
	switch {
	case len(way.Flows.Circling) > 0:
		e.Summary = fmt.Sprintf("packets go in a circle: the target %s sends them back to %s", way.target(), way.listen())
		e.Evidence = flowLines(way.Flows.Circling)
	case way.Out.Local && way.Leads != "":
		e.Summary = fmt.Sprintf("the target %s is this host, where relay %s listens: packets are translated only once, so they end here", way.target(), way.Leads)
		e.Evidence = []string{fmt.Sprintf("%s is an address of this host", way.Target.Addr())}
	default:
		return nil
	}
	return []Explanation{e}
}

// reversePath is the reverse path filter on the interface that clients' packets come by.
func reversePath(w *walk) step {
	way := w.way
	if way.Listen.Addr().Is6() || !way.Target.IsValid() {
		return step{} // IPv6 has no such filter
	}
	s := step{leg: LegHost, ref: ComponentRef{"rp_filter", "reverse path filter"}, looked: "the reverse path filter for " + orElse(way.Client.Link, "clients")}
	drops := w.ev.Host.ReversePath
	s.found = fmt.Sprintf("lets them pass; it has dropped %d packets on this host", drops.Total)
	link, confidence := w.strict()
	if link == "" {
		return s
	}
	s.ref, s.looked = ComponentRef{link, link}, "the reverse path filter for "+link
	s.found = fmt.Sprintf("%s is strict, and the route back to clients leaves by %s", link, orElse(way.Back.Link, "no interface"))
	s.causes = append(s.causes, Explanation{
		ExplanationCode: RPFilterDrop, Direction: Ingress, Leg: LegHost, Confidence: confidence, Component: s.ref,
		Summary: fmt.Sprintf("the strict reverse path filter of %s drops clients' packets, because the route back to them leaves by another interface", link),
		Evidence: []string{
			s.found, fmt.Sprintf("TcpExtIPReversePathFilter = %d, %d of them now", drops.Total, drops.Grown),
		},
		Remedy: []string{
			fmt.Sprintf("sysctl -w net.ipv4.conf.%s.rp_filter=2   # and in /etc/sysctl.d, for the next boot", firewall.Quoted(strings.ReplaceAll(link, ".", "/"))),
			fmt.Sprintf("# or let the route back leave by %s, by which they come: ip route get %s", link, way.Client.Addr),
			fmt.Sprintf("ip route replace %s via <gateway on %s> dev %s", way.clientText()[0], link, device(link)),
		},
	})
	return s
}

// strict is the interface whose filter drops the client's packets when they come by it, as the kernel says, and how sure it is that they
// do; "" when none does.
func (w *walk) strict() (string, Confidence) {
	way, drops := w.way, w.ev.Host.ReversePath
	link, entry := way.Client.Link, way.Onward
	if way.Entry != nil && way.Entry.Kind == RouteReversePath {
		link, entry = way.ListenLink, way.Entry
	}
	switch {
	case entry == nil || entry.Kind != RouteReversePath:
		return "", ""
	case way.Client.Seen:
		return link, Certain
	case way.Client.How == Anyone || drops.Total == 0: // they may come by another one
		return link, Possible
	case drops.Grown > 0:
		return link, Certain
	}
	return link, Likely
}

// lives tells whether the latest connection of the client was answered.
func (w *Way) lives() bool {
	return w.Flows.Newest != nil && w.Flows.Newest.Replied && w.Flows.Newest.State != "SYN_RECV"
}

// forwarding is whether the host forwards.
func forwarding(w *walk) step {
	way := w.way
	if way.Out.Local || !way.Target.IsValid() {
		return step{}
	}
	key, on := "net.ipv4.ip_forward", w.ev.Host.Forward4
	if way.Target.Addr().Is6() {
		key, on = "net.ipv6.conf.all.forwarding", w.ev.Host.Forward6
	}
	s := step{leg: LegHost, ref: ComponentRef{key, "forwarding"}, looked: "does the host forward?", found: key + " is on"}
	off := ""
	switch {
	case !on:
		off = key
	case way.Target.Addr().Is4():
		off = w.linkForwarding()
	}
	if off == "" {
		return s
	}
	s.found, s.ref = off+" is 0", ComponentRef{off, "forwarding"}
	if w.has(RulesetMissing) && !w.ev.Host.Forbidden {
		s.found += ": natd turns it on when its table stands"
		s.warned = true
		return s
	}
	e := Explanation{
		ExplanationCode: IPForwardDisabled, Direction: Ingress, Leg: LegHost, Confidence: Certain, Component: s.ref,
		Summary: "the kernel does not forward packets: " + off + " is 0", Evidence: []string{off + " = 0"},
		Remedy: []string{"sysctl -w " + firewall.Quoted(off) + "=1"},
	}
	if w.ev.Host.Forbidden {
		e.Evidence = append(e.Evidence, "[host] ip_forward = false forbids natd to turn it on")
		e.Remedy = append(e.Remedy, "# or ip_forward = true below [host] in "+w.ev.Daemon.Config+", then natctl reload")
	}
	s.causes = append(s.causes, e)
	return s
}

// linkForwarding is the setting of an interface on the way that is off, "" when none is. The kernel looks at that of the interface
// by which a packet comes (ip_route_input_slow in net/ipv4/route.c).
func (w *walk) linkForwarding() string {
	for i := range w.ev.Host.Links {
		l := &w.ev.Host.Links[i]
		if !l.Forwards4 && (l.Name == w.way.Client.Link || l.Name == w.way.Out.Link) {
			return "net.ipv4.conf." + strings.ReplaceAll(l.Name, ".", "/") + ".forwarding"
		}
	}
	return ""
}
