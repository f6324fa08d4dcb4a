package diagnose

import (
	"fmt"
	"time"

	"natd/nat"
)

// target is natctl's own attempt to reach the target, from the address that clients' packets carry. It leaves from this host
// itself: it passes neither natd's translation nor the forward chains, so it shows what is behind this host alone.
func target(w *walk) step {
	way := w.way
	if way.Probe == nil {
		return step{}
	}
	p := way.Probe
	s := step{
		leg: LegTarget, ref: ComponentRef{way.target(), "target"},
		looked: fmt.Sprintf("an attempt of our own: %s from %s to %s", way.Protocol, p.From, way.Target),
	}
	switch p.Kind {
	case Answered:
		s.found = fmt.Sprintf("it answers, after %s", round(p.RTT))
	case Refused:
		s.found = "it refuses"
		s.causes = append(s.causes, refused(w))
	case Unreachable:
		s.found = unreachableText(way)
		s.causes = append(s.causes, unreachable(w))
	case NoReply:
		silence(w, &s)
	default:
		s.found, s.unknown = "not tried: "+orElse(p.Detail, "there is no way there"), true
	}
	if w.has(RelayLoop) { // it went in the circle, too
		s.causes, s.unknown = nil, true
	}
	if way.Relay.SNAT.Mode == nat.SNATOff {
		s.found += "; clients' own packets carry other addresses"
	}
	return s
}

func round(d time.Duration) string { return d.Round(10 * time.Microsecond).String() }

func refused(w *walk) Explanation {
	way := w.way
	if icmp := way.Probe.ICMP; icmp != nil && way.Protocol != nat.UDP {
		return unreachable(w)
	}
	e := Explanation{
		ExplanationCode: TargetRefused, Direction: Egress, Leg: LegTarget, Confidence: Certain, Component: ComponentRef{way.target(), "target"},
		Summary:  fmt.Sprintf("the target %s refuses: nothing listens on its port %d/%s", way.Target, way.Target.Port(), way.Protocol),
		Evidence: []string{fmt.Sprintf("an attempt from %s was answered with a reset after %s, so the way there and back is whole", way.Probe.From, round(way.Probe.RTT))},
		Remedy: []string{
			fmt.Sprintf("on %s: ss -lnp 'sport = :%d'   # is the service running, and on this address?", way.Target.Addr(), way.Target.Port()),
			"start it, or correct `to` of relay " + way.Relay.Name + " in " + w.ev.Daemon.Config + ", then natctl reload",
		},
	}
	if way.Protocol == nat.UDP {
		e.Evidence[0] = fmt.Sprintf("a datagram from %s was answered with ICMP port unreachable, so the way there and back is whole", way.Probe.From)
	}
	return e
}

func unreachableText(way *Way) string {
	if i := way.Probe.ICMP; i != nil {
		return fmt.Sprintf("%s answers for it: %s", i.From, i.text())
	}
	return fmt.Sprintf("the next hop %s does not answer on %s", way.Neighbour.Addr, way.Neighbour.Link)
}

// text is the meaning of an ICMP error: RFC 792, RFC 1812 section 5.2.7.1, RFC 4443 section 3.1.
func (i *ICMP) text() string {
	v4 := map[uint8]string{0: "network unreachable", 1: "host unreachable", 2: "protocol unreachable", 3: "port unreachable", 5: "source route failed", 6: "network unknown",
		7: "host unknown", 9: "network administratively prohibited", 10: "host administratively prohibited", 13: "communication administratively prohibited"}
	v6 := map[uint8]string{0: "no route", 1: "administratively prohibited", 2: "beyond scope of the source address", 3: "address unreachable", 4: "port unreachable",
		5: "source address failed a filter", 6: "route rejected"}
	switch {
	case i.Type == 11 && i.From.Is4() || i.Type == 3 && i.From.Is6():
		return fmt.Sprintf("time exceeded (ICMP type %d, code %d): packets go in a circle behind it", i.Type, i.Code)
	case i.Type == 3 && i.From.Is4() && v4[i.Code] != "":
		return fmt.Sprintf("%s (ICMP type %d, code %d)", v4[i.Code], i.Type, i.Code)
	case i.Type == 1 && i.From.Is6() && v6[i.Code] != "":
		return fmt.Sprintf("%s (ICMPv6 type %d, code %d)", v6[i.Code], i.Type, i.Code)
	}
	return fmt.Sprintf("ICMP type %d, code %d", i.Type, i.Code)
}

// filters tells whether the error comes of a rule, and not of a missing way.
func (i *ICMP) filters() bool {
	if i.From.Is6() {
		return i.Type == 1 && (i.Code == 1 || i.Code == 4 || i.Code == 5 || i.Code == 6)
	}
	return i.Type == 3 && (i.Code == 3 || i.Code == 9 || i.Code == 10 || i.Code == 13)
}

func unreachable(w *walk) Explanation {
	way := w.way
	e := Explanation{
		ExplanationCode: TargetUnreachable, Direction: Egress, Leg: LegTarget, Confidence: Certain, Component: ComponentRef{way.target(), "target"},
		Summary: fmt.Sprintf("the target %s cannot be reached: %s", way.Target, unreachableText(way)),
	}
	icmp := way.Probe.ICMP
	switch {
	case icmp == nil:
		e.Component = ComponentRef{way.Neighbour.Addr.String(), "next hop"}
		e.Evidence = []string{fmt.Sprintf("ip neigh: %s on %s is %s", way.Neighbour.Addr, way.Neighbour.Link, orElse(way.Neighbour.State, "unknown"))}
		e.Remedy = []string{fmt.Sprintf("ip neigh show %s dev %s   # is that host running, and in this network?", way.Neighbour.Addr, way.Neighbour.Link), "ip route get " + addrText(way.Target)}
	case icmp.filters() && icmp.From == way.Target.Addr():
		e.Component = ComponentRef{icmp.From.String(), "target"}
		e.Summary = fmt.Sprintf("the target %s rejects what comes from %s: a firewall there answers with %s", way.Target, way.Probe.From, icmp.text())
		e.Remedy = []string{"on the target: nft list ruleset; iptables -S", letIn(way)}
	case icmp.filters():
		e.Component = ComponentRef{icmp.From.String(), "firewall"}
		e.Remedy = []string{fmt.Sprintf("a firewall on %s rejects it: let %s reach %s there", icmp.From, way.Probe.From, way.Target)}
	default:
		e.Component = ComponentRef{icmp.From.String(), "router"}
		e.Remedy = []string{
			fmt.Sprintf("%s is the last hop that knows of it: is %s running, and is there a route behind that hop?", icmp.From, way.Target.Addr()),
			"tracepath -n " + addrText(way.Target),
		}
	}
	if icmp != nil {
		e.Evidence = []string{fmt.Sprintf("an attempt from %s to %s was answered by %s: %s", way.Probe.From, way.Target, icmp.From, icmp.text())}
	}
	return e
}

// letIn is the rule that lets the relay in at the target.
func letIn(way *Way) string {
	from := way.Probe.From
	return fmt.Sprintf("nft insert rule inet filter input %s saddr %s %s dport %d accept   # or the like, on the target", family(from), from, way.Protocol, way.Target.Port())
}

// silence is what follows when nothing comes back.
func silence(w *walk, s *step) {
	way := w.way
	for _, place := range []Place{ProbeOut, ProbeIn} {
		if f := first(way.Filters[place], (*Filter).ends); f != nil {
			s.found, s.unknown = "no answer, but this host itself drops such an attempt: "+f.text(), true
			return
		}
	}
	s.found = "no answer"
	if way.Protocol == nat.UDP {
		newest := way.Flows.Newest
		if newest == nil || newest.Replied || w.explained() {
			s.found, s.unknown = "no answer to an empty datagram, as is usual: it neither proves nor disproves", true
			return
		}
		s.causes = append(s.causes, unanswered(w, Likely, newest.String()))
		return
	}
	s.causes = append(s.causes, unanswered(w, Certain, fmt.Sprintf("an attempt from %s met with silence", way.Probe.From)))
	s.causes = append(s.causes, noWayBack(way))
}

// unanswered is a target that is silent, with all that may be the reason.
func unanswered(w *walk, c Confidence, evidence string) Explanation {
	way := w.way
	from := "<address of this host>"
	if way.Probe != nil && way.Probe.From.IsValid() {
		from = way.Probe.From.String()
	}
	e := Explanation{
		ExplanationCode: TargetNoReply, Direction: Egress, Leg: LegTarget, Confidence: c, Component: ComponentRef{way.target(), "target"},
		Summary:  fmt.Sprintf("the target %s does not answer what comes from %s", way.Target, from),
		Evidence: []string{evidence},
		Remedy: []string{
			fmt.Sprintf("1. its security group must let %s in, not the clients' addresses:", from),
			authorize(way, "<security group of the target>", cidr(from), way.Target.Port()),
			"2. its subnet needs a route back to this host:",
			fmt.Sprintf("aws ec2 create-route --route-table-id <route table of the target's subnet> --destination-cidr-block %s --vpc-peering-connection-id <pcx>", cidr(from)),
			"3. network ACLs of both subnets must let the answer through, ports 1024-65535: aws ec2 describe-network-acls",
			"4. a firewall on the target: " + fmt.Sprintf("tcpdump -nni any 'host %s and port %d' there shows whether it arrives", from, way.Target.Port()),
		},
	}
	if way.Flows.Newest != nil && !way.Flows.Newest.Replied && way.Flows.Newest.String() != evidence {
		e.Evidence = append(e.Evidence, "a client met with the same: "+way.Flows.Newest.String())
	}
	if way.Ping != nil {
		e.Evidence = append(e.Evidence, pingText(way))
	}
	return e
}

// pingText is what a ping of the target says about the reasons of its silence.
func pingText(way *Way) string {
	switch p := way.Ping; {
	case p.Kind == Answered:
		return "it answers a ping, so it runs and has a way back: a firewall or security group drops this port"
	case p.Kind == Unreachable && p.ICMP != nil:
		return fmt.Sprintf("a ping of it is answered by %s: %s", p.ICMP.From, p.ICMP.text())
	case way.Neighbour.failed():
		return fmt.Sprintf("the next hop %s is %s", way.Neighbour.Addr, way.Neighbour.State)
	}
	return "it does not answer a ping either: it is down, has no way back, or lets neither in"
}

// noWayBack is the reason of silence that is forgotten most.
func noWayBack(way *Way) Explanation {
	return Explanation{
		ExplanationCode: NoReturnRoute, Direction: Ingress, Leg: LegReturn, Confidence: Possible, Component: ComponentRef{"route to " + way.Probe.From.String(), "route table of the target's subnet"},
		Summary:  fmt.Sprintf("the target may have no route back to %s", way.Probe.From),
		Evidence: []string{"nothing came back, which a missing return route and a security group explain alike"},
		Remedy: []string{
			fmt.Sprintf("on the target: ip route get %s", way.Probe.From),
			"aws ec2 describe-route-tables --filters Name=association.subnet-id,Values=<subnet of the target>",
		},
	}
}
