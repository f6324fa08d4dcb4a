package diagnose

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"natd/internal/control"
	"natd/nat"
)

// The stations from the client to the host.

// client is who dials, and whether it may.
func client(w *walk) step {
	way := w.way
	s := step{
		leg: LegClient, ref: ComponentRef{"client", "client"}, looked: "who may use relay " + way.Relay.Name,
		header: headerOf(way.clientText(), nil, addrText(way.Listen), portText(way.Listen), way.Protocol),
	}
	r := way.Relay
	s.found = admission(way)
	switch {
	case !r.Enabled:
		s.last = true
		s.causes = append(s.causes, Explanation{
			ExplanationCode: RelayDisabled, Direction: Ingress, Leg: LegClient, Confidence: Certain, Component: relayRef(way),
			Summary:  fmt.Sprintf("relay %s is switched off: enabled = false", r.Name),
			Evidence: []string{fmt.Sprintf("%s says so", w.ev.Daemon.Config)},
			Remedy:   []string{fmt.Sprintf("# set enabled = true for relay %s in %s, then:", r.Name, w.ev.Daemon.Config), "natctl reload"},
		})
	case way.Client.How >= Asked && !r.Admits(way.Client.Addr):
		s.causes = append(s.causes, denied(w))
	case way.Attempt != nil && way.Attempt.Stage == NothingCame:
		s.found += "; nobody dialled while it was watched"
		s.causes = append(s.causes, noPackets(w))
	case way.Attempt != nil:
		s.found += fmt.Sprintf("; seen: %s came by %s", way.Attempt.Client, way.Attempt.Link)
	}
	return s
}

func admission(way *Way) string {
	who := "everyone who reaches the address"
	if len(way.Relay.From) > 0 {
		who = join(way.Relay.From)
	}
	switch {
	case way.Client.How == Asked && way.Relay.Admits(way.Client.Addr):
		return fmt.Sprintf("%s may: it is for %s", way.Client.Addr, who)
	case way.Client.How >= Asked && !way.Relay.Admits(way.Client.Addr):
		return fmt.Sprintf("%s may not: it is for %s", way.Client.Addr, who)
	}
	return who
}

func denied(w *walk) Explanation {
	way := w.way
	addr := way.Client.Addr
	e := Explanation{
		ExplanationCode: RelaySourceDenied, Direction: Ingress, Leg: LegClient, Confidence: Certain, Component: relayRef(way),
		Summary:  fmt.Sprintf("relay %s does not serve %s: it is none of its sources", way.Relay.Name, addr),
		Evidence: []string{fmt.Sprintf("from = %s", quoted(way.Relay.From))},
		Remedy: []string{
			fmt.Sprintf("# in %s, relay %s:", w.ev.Daemon.Config, way.Relay.Name),
			"from = " + quoted(append(slices.Clone(way.Relay.From), netip.PrefixFrom(addr, addr.BitLen()))),
			"natctl reload",
		},
	}
	if way.Attempt != nil {
		e.Evidence = append(e.Evidence, way.Attempt.Transcript...)
	}
	return e
}

func noPackets(w *walk) Explanation {
	way := w.way
	return Explanation{
		ExplanationCode: NoPacketsFromClient, Direction: Ingress, Leg: LegClient, Confidence: Likely, Component: ComponentRef{way.listen(), way.listen()},
		Summary:  fmt.Sprintf("nothing from %s for %s reached this host while it was watched", orElse(way.awaited(), "any client"), way.listen()),
		Evidence: []string{"no interface of this host saw a packet of a client to it"},
		Remedy:   clientSideRemedy(w),
	}
}

// awaited is the client that the user named; another one that was here before need not be the one that tries.
func (w *Way) awaited() string {
	if w.Client.How != Asked {
		return ""
	}
	return w.Client.Addr.String()
}

// clientSideRemedy is what to check where nothing arrives.
func clientSideRemedy(w *walk) []string {
	way := w.way
	from := orElse(way.awaited(), "<address of the client>")
	return []string{
		"# on the client: ip route get " + addrText(way.Listen),
		fmt.Sprintf("# a route to the VPC of %s in the route table of the client's subnet:", addrText(way.Listen)),
		"aws ec2 describe-route-tables --filters Name=association.subnet-id,Values=<subnet of the client>",
		"# the peering connection is active: aws ec2 describe-vpc-peering-connections",
		"# the security group of this host lets the client in:",
		authorize(way, "<security group of this host>", cidr(from), way.Listen.Port()),
		"# network ACLs of both subnets: aws ec2 describe-network-acls",
	}
}

// address is the address that clients dial.
func address(w *walk) step {
	way := w.way
	s := step{leg: LegClient, ref: ComponentRef{way.listen(), way.listen()}, looked: "the address that clients dial"}
	if way.Relay.Listen.Any() && way.ListenLink == "" {
		s.found = "every address of this host"
		return s
	}
	addr := way.Listen.Addr()
	if way.ListenLink == "" {
		s.found = fmt.Sprintf("%s is on no interface", addr)
		s.causes = append(s.causes, Explanation{
			ExplanationCode: RelayAddressNotLocal, Direction: Ingress, Leg: LegClient, Confidence: Certain, Component: s.ref,
			Summary:  fmt.Sprintf("the address that clients dial, %s, is on no interface of this host", addr),
			Evidence: []string{"ip address has it nowhere"},
			Remedy: append([]string{
				fmt.Sprintf("ip address add %s/<length> dev %s", addr, device(onlyLink(w.ev))), "# or correct listen in " + w.ev.Daemon.Config + ", then natctl reload",
			}, assign(w.ev, addr, onlyLink(w.ev))...),
		})
		return s
	}
	s.found = fmt.Sprintf("%s is on %s", addr, way.ListenLink)
	if owner := deliveredTo(w.ev, addr); owner != "" {
		s.found += ", which AWS knows: " + owner
	} else if carriesAWS(w.ev, way.ListenLink) && !way.lives() {
		s.causes = append(s.causes, Explanation{
			ExplanationCode: ENIAddress, Direction: Ingress, Leg: LegClient, Confidence: Likely, Component: s.ref,
			Summary:  fmt.Sprintf("no network interface of this instance owns %s in AWS, so AWS delivers nothing to it", addr),
			Evidence: []string{fmt.Sprintf("the instance metadata of %s do not list it", w.ev.Host.Instance.ID)},
			Remedy:   assign(w.ev, addr, way.ListenLink),
		})
	}
	return s
}

// carriesAWS tells whether what the interface carries is what AWS delivers and takes: it is a network interface of the instance, and no
// tunnel, bridge or loopback, whose addresses AWS need not know.
func carriesAWS(ev *Evidence, link string) bool {
	return ev.Host.Instance != nil && slices.ContainsFunc(ev.Host.Instance.Interfaces, func(i control.NetworkInterface) bool { return i.Device == link })
}

// onlyLink is the interface that has addresses; "" where several have, for a remedy must not name the wrong one.
func onlyLink(ev *Evidence) string {
	name := ""
	for _, l := range ev.Host.Links {
		if l.Loopback || len(l.Addrs) == 0 {
			continue
		}
		if name != "" {
			return ""
		}
		name = l.Name
	}
	return name
}

// deliveredTo is the network interface that owns the address in AWS.
func deliveredTo(ev *Evidence, addr netip.Addr) string {
	if ev.Host.Instance == nil {
		return ""
	}
	for _, eni := range ev.Host.Instance.Interfaces {
		if slices.Contains(eni.Addresses, addr.String()) || slices.ContainsFunc(eni.Prefixes, func(text string) bool {
			p, err := netip.ParsePrefix(text)
			return err == nil && p.Contains(addr)
		}) {
			return eni.ID
		}
	}
	return ""
}

// assign is the command that gives the address to a network interface of the instance in AWS; nothing where there is none.
func assign(ev *Evidence, addr netip.Addr, link string) []string {
	if !carriesAWS(ev, link) {
		return nil
	}
	i := slices.IndexFunc(ev.Host.Instance.Interfaces, func(i control.NetworkInterface) bool { return i.Device == link })
	eni := ev.Host.Instance.Interfaces[i].ID
	if addr.Is6() {
		return []string{fmt.Sprintf("aws ec2 assign-ipv6-addresses --network-interface-id %s --ipv6-addresses %s", eni, addr)}
	}
	return []string{fmt.Sprintf("aws ec2 assign-private-ip-addresses --network-interface-id %s --private-ip-addresses %s", eni, addr)}
}

// port is whether the relay may have its port.
func port(w *walk) step {
	way := w.way
	if way.Listener == nil {
		return step{}
	}
	l := way.Listener
	at := netip.AddrPortFrom(l.Addr, l.Port)
	s := step{
		leg: LegClient, ref: ComponentRef{"socket " + at.String(), "local service"}, looked: "local services on the port",
		found: fmt.Sprintf("a socket of uid %d waits on %s; the relay has the port, so clients do not reach it", l.UID, at),
	}
	if !way.Taken {
		return s
	}
	s.found = fmt.Sprintf("a socket of uid %d waits on %s, and natd does not take the port from it", l.UID, at)
	s.causes = append(s.causes, Explanation{
		ExplanationCode: RelayPortShadows, Direction: Ingress, Leg: LegClient, Confidence: Certain, Component: s.ref,
		Summary:  fmt.Sprintf("port %d/%s belongs to a local service, so natd holds relay %s back", l.Port, way.Protocol, way.Relay.Name),
		Evidence: []string{s.found},
		Remedy: []string{
			fmt.Sprintf("ss -lntup 'sport = :%d'   # names the program: stop it, or move it to another port, then natctl reload", l.Port),
			"# or another port in listen, or override_local = true, for relay " + way.Relay.Name + " in " + w.ev.Daemon.Config,
		},
	})
	return s
}

// limits is what the relay itself keeps out.
func limits(w *walk) step {
	way := w.way
	r := way.Relay
	if r.MaxConnections == 0 && r.MaxPerSource == 0 && r.Rate.Count == 0 {
		return step{}
	}
	s := step{leg: LegClient, ref: relayRef(way), looked: "the limits of the relay"}
	parts := []string{fmt.Sprintf("%d connections are open", way.Flows.Active)}
	refused := way.Refused
	reach := func(sure Confidence, key, now string) {
		e := Explanation{
			ExplanationCode: RelayLimitReached, Direction: Ingress, Leg: LegClient, Confidence: sure, Component: s.ref,
			Summary:  fmt.Sprintf("relay %s refuses new connections: its %s is reached", r.Name, key),
			Evidence: []string{now},
			Remedy:   []string{fmt.Sprintf("# raise %s of relay %s in %s, then:", key, r.Name, w.ev.Daemon.Config), "natctl reload"},
		}
		if sure == Possible {
			e.Summary = fmt.Sprintf("relay %s refuses new connections of some client: its %s is for each source, and others may not feel it", r.Name, key)
		}
		s.causes = append(s.causes, e)
	}
	if r.MaxConnections > 0 && (way.Flows.Active >= r.MaxConnections || refused.Connections.Grown > 0) {
		reach(Certain, "max_connections", fmt.Sprintf("%d of %d connections are open, %d more were refused", way.Flows.Active, r.MaxConnections, refused.Connections.Total))
	}
	asked := way.Client.How >= Asked
	crowd := way.Flows.Crowd // of the client, where one is asked about
	if full := crowd.Open >= r.MaxPerSource; r.MaxPerSource > 0 && (full || refused.Sources.Grown > 0) {
		reach(eachSource(asked && full, Certain), "max_per_source", fmt.Sprintf("%s has %d of %d connections open, %d were refused over this limit",
			orElse(sourceText(crowd), "no client"), crowd.Open, r.MaxPerSource, refused.Sources.Total))
	}
	if r.Rate.Count > 0 && refused.Rate.Grown > 0 {
		reach(eachSource(asked, Likely), "rate", fmt.Sprintf("%d connections over %s were refused while this was looked at", refused.Rate.Grown, r.Rate))
	}
	if n := refused.Connections.Total + refused.Sources.Total + refused.Rate.Total; n > 0 {
		parts = append(parts, fmt.Sprintf("%d were refused since the table was made", n))
	}
	if ago := refused.Ago; ago > 0 && ago < shortly {
		parts[len(parts)-1] += fmt.Sprintf(", the last noticed %d s ago", int(ago.Seconds()))
		s.warned = true
	}
	s.found = strings.Join(parts, ", ")
	return s
}

// shortly is how long a limit that refused connections is worth a word when it refuses none any more.
const shortly = time.Minute

// eachSource is how sure it is that a limit for each source is in the way of the client that is asked about. That it is in the way of
// some client is what it is for.
func eachSource(its bool, sure Confidence) Confidence {
	if its {
		return sure
	}
	return Possible
}

func sourceText(c Crowd) string {
	if !c.Source.IsValid() {
		return ""
	}
	return c.Source.String()
}

func relayRef(way *Way) ComponentRef { return ComponentRef{"relay " + way.Relay.Name, way.Relay.Name} }

// clientText is the addresses that a client may have.
func (w *Way) clientText() []string {
	switch {
	case w.Client.How >= Tracked:
		return []string{w.Client.Addr.String()}
	case len(w.Relay.From) > 0:
		return texts(w.Relay.From)
	case w.Protocol != 0 && w.Listen.Addr().Is6():
		return []string{"::/0"}
	}
	return []string{"0.0.0.0/0"}
}

// clientKnown is the address of a client that is known, "" when nobody is.
func (w *Way) clientKnown() string {
	if w.Client.How >= Tracked {
		return w.Client.Addr.String()
	}
	return ""
}

func headerOf(src []string, srcPort *uint16, dst string, dstPort *uint16, proto nat.Protocol) *Header {
	h := &Header{SourceAddresses: src, DestinationAddresses: []string{dst}, Protocol: proto.String()}
	if srcPort != nil {
		h.SourcePortRanges = []Ports{{*srcPort, *srcPort}}
	}
	if dstPort != nil {
		h.DestinationPortRanges = []Ports{{*dstPort, *dstPort}}
	}
	return h
}
