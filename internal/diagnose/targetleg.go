package diagnose

import (
	"fmt"
	"time"

	"natd/internal/probe"
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
	own := way.ownEnd()
	if own != nil && own.Certain && p.Kind != probe.Answered {
		s.found, s.unknown = "not tried: this host itself ends such an attempt: "+own.text(), true
		return s
	}
	switch p.Kind {
	case probe.Answered:
		s.found = fmt.Sprintf("it answers, after %s", round(p.RTT))
	case probe.Refused:
		s.found = "it refuses"
		s.causes = append(s.causes, refused(w))
	case probe.Unreachable:
		s.found = unreachableText(way)
		s.causes = append(s.causes, unreachable(w))
	case probe.NoReply:
		if unreachablePing(way) {
			s.found = "no answer; a ping is answered by " + way.Ping.ICMP.String()
			s.causes = append(s.causes, unreachable(w))
			break
		}
		silent(w, &s)
	default:
		s.found, s.unknown = "not tried", true
		if p.Err != nil {
			s.found += ": " + p.Err.Error()
		}
	}
	if own != nil {
		s.causes = doubted(s.causes, "this host's own chain may have done it: "+own.text())
	}
	if w.has(RelayLoop, EgressDown) { // it went in the circle, or nowhere, too
		s.causes, s.unknown = nil, true
	}
	if way.Relay.SNAT.Mode == nat.SNATOff {
		s.found += "; clients' own packets carry other addresses"
	}
	return s
}

// ownEnd is the chain of this host that ends natctl's own attempt, or may; nil when none does.
func (w *Way) ownEnd() *Filter {
	for _, place := range []Place{ProbeOut, ProbeIn} {
		if f := first(w.Filters[place], (*Filter).ends); f != nil {
			return f
		}
	}
	return nil
}

// doubted is explanations that are not certain, and why.
func doubted(all []Explanation, why string) []Explanation {
	for i := range all {
		if all[i].Evidence = append(all[i].Evidence, why); all[i].Confidence == Certain {
			all[i].Confidence = Likely
		}
	}
	return all
}

func round(d time.Duration) string { return d.Round(10 * time.Microsecond).String() }

func refused(w *walk) Explanation {
	way := w.way
	e := Explanation{
		ExplanationCode: TargetRefused, Direction: Egress, Leg: LegTarget, Confidence: Certain, Component: ComponentRef{way.target(), "target"},
		Summary:  fmt.Sprintf("the target %s refuses: nothing listens on its port %d/%s", way.Target, way.Target.Port(), way.Protocol),
		Evidence: []string{fmt.Sprintf("an attempt from %s was answered with a reset after %s, so the way there and back is whole", way.Probe.From, round(way.Probe.RTT))},
		Remedy: []string{
			fmt.Sprintf("# on %s: ss -lnp 'sport = :%d'   # is the service running, and on this address?", way.Target.Addr(), way.Target.Port()),
			"# start it, or correct `to` of relay " + way.Relay.Name + " in " + w.ev.Daemon.Config + ", then natctl reload",
		},
	}
	if way.Protocol == nat.UDP {
		e.Evidence[0] = fmt.Sprintf("a datagram from %s was answered with ICMP port unreachable, so the way there and back is whole", way.Probe.From)
	}
	return e
}

// unreachablePing tells whether a ping met with an ICMP error that is about the host and not about pings: the attempt itself may have
// given up before a router did.
func unreachablePing(way *Way) bool {
	return way.Ping != nil && way.Ping.Kind == probe.Unreachable && way.Ping.ICMP.IsValid() && !filters(way.Ping.ICMP)
}

// objection is the ICMP error that the attempt met with, or the ping beside it.
func objection(way *Way) probe.ICMP {
	if !way.Probe.ICMP.IsValid() && unreachablePing(way) {
		return way.Ping.ICMP
	}
	return way.Probe.ICMP
}

func unreachableText(way *Way) string {
	if i := objection(way); i.IsValid() && !lonely(way) {
		return fmt.Sprintf("%s answers for it: %s", i.From, i.Message)
	}
	return fmt.Sprintf("the next hop %s does not answer on %s", way.Neighbour.Addr, way.Neighbour.Link)
}

// lonely tells whether it is this host's own kernel that objects: nobody on the link says that the next hop is his.
func lonely(way *Way) bool {
	return way.Neighbour.Addr.IsValid() && objection(way).From == way.Probe.From
}

// filters tells whether the error comes of a rule, and not of a missing way.
func filters(i probe.ICMP) bool { return i.IsProhibited() || i.IsPortUnreachable() }

func unreachable(w *walk) Explanation {
	way := w.way
	e := Explanation{
		ExplanationCode: TargetUnreachable, Direction: Egress, Leg: LegTarget, Confidence: Certain, Component: ComponentRef{way.target(), "target"},
		Summary: fmt.Sprintf("the target %s cannot be reached: %s", way.Target, unreachableText(way)),
	}
	icmp := objection(way)
	switch {
	case !icmp.IsValid() || lonely(way):
		e.Component = ComponentRef{way.Neighbour.Addr.String(), "next hop"}
		e.Evidence = []string{fmt.Sprintf("ip neigh: %s on %s is %s", way.Neighbour.Addr, way.Neighbour.Link, orElse(way.Neighbour.State, "unknown"))}
		e.Remedy = []string{fmt.Sprintf("ip neigh show %s dev %s   # is that host running, and in this network?", way.Neighbour.Addr, device(way.Neighbour.Link)), "ip route get " + addrText(way.Target)}
	case filters(icmp) && icmp.From == way.Target.Addr():
		e.Component = ComponentRef{icmp.From.String(), "target"}
		e.Summary = fmt.Sprintf("the target %s rejects what comes from %s: a firewall there answers with %s", way.Target, way.Probe.From, icmp.Message)
		e.Remedy = []string{"# on the target: nft list ruleset; iptables -S", letIn(way)}
	case filters(icmp):
		e.Component = ComponentRef{icmp.From.String(), "firewall"}
		e.Remedy = []string{fmt.Sprintf("# a firewall on %s rejects it: let %s reach %s there", icmp.From, way.Probe.From, way.Target)}
	default:
		e.Component = ComponentRef{icmp.From.String(), "router"}
		e.Remedy = []string{
			fmt.Sprintf("# %s is the last hop that knows of it: is %s running, and is there a route behind that hop?", icmp.From, way.Target.Addr()),
			"tracepath -n " + addrText(way.Target),
		}
	}
	if icmp.IsValid() && !lonely(way) {
		e.Evidence = []string{fmt.Sprintf("an attempt from %s to %s was answered by %s: %s", way.Probe.From, way.Target, icmp.From, icmp.Message)}
	}
	return e
}

// letIn is the rule that lets the relay in at the target.
func letIn(way *Way) string {
	from := way.Probe.From
	return fmt.Sprintf("nft insert rule inet filter input %s saddr %s %s dport %d accept   # or the like, on the target", family(from), from, way.Protocol, way.Target.Port())
}

// silent is what follows when nothing comes back.
func silent(w *walk, s *step) {
	way := w.way
	s.found = "no answer"
	if way.Protocol == nat.UDP {
		newest, unheard := way.Flows.Newest, way.Flows.Unheard
		if newest == nil || unheard == nil || unheard.Idle > newest.Idle || w.explained() { // of the same second, or later
			s.found, s.unknown = "no answer to an empty datagram, as is usual: it neither proves nor disproves", true
			return
		}
		e := unanswered(w, way.heard(), unheard.String())
		if e.Confidence == Possible {
			e.Summary += ", and has never been seen to answer: one that only takes, such as syslog, looks the same"
		}
		s.causes = append(s.causes, e)
		return
	}
	s.causes = append(s.causes, unanswered(w, Certain, fmt.Sprintf("an attempt from %s met with silence", way.Probe.From)))
	if !pinged(way) {
		s.causes = append(s.causes, noWayBack(way))
	}
}

// heard is how much a client without an answer proves. A UDP service that never answered a client may be one that never does.
func (w *Way) heard() Confidence {
	alone := len(w.Relay.Protocols) < 2 // natd counts packets of a relay, not of its protocols
	if w.Protocol != nat.UDP || w.Flows.Answered || alone && w.Status != nil && w.Status.Packets.ToClient > 0 {
		return Likely
	}
	return Possible
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
		Remedy:   letThrough(way, from),
	}
	if way.Flows.Newest != nil && !way.Flows.Newest.Replied && way.Flows.Newest.String() != evidence {
		e.Evidence = append(e.Evidence, "a client met with the same: "+way.Flows.Newest.String())
	}
	if way.Ping != nil {
		e.Evidence = append(e.Evidence, pingText(way))
	}
	return e
}

// letThrough is what the target's side has to let pass, in the order of how often it is forgotten. Who answers a ping has a way back.
func letThrough(way *Way, from string) []string {
	all := []string{
		fmt.Sprintf("# its security group must let %s in, not the clients' addresses:", from),
		authorize(way, "<security group of the target>", cidr(from), way.Target.Port()),
	}
	if !pinged(way) {
		all = append(all, "# its subnet needs a route back to this host:",
			fmt.Sprintf("aws ec2 create-route --route-table-id <route table of the target's subnet> --destination-cidr-block %s --vpc-peering-connection-id <pcx>", cidr(from)))
	}
	return append(all, "# network ACLs of both subnets must let the answer through, ports 1024-65535: aws ec2 describe-network-acls",
		fmt.Sprintf("# a firewall on the target: tcpdump -nni any 'host %s and port %d' there shows whether it arrives", from, way.Target.Port()))
}

func pinged(way *Way) bool { return way.Ping != nil && way.Ping.Kind == probe.Answered }

// pingText is what a ping of the target says about the reasons of its silence.
func pingText(way *Way) string {
	switch p := way.Ping; {
	case pinged(way):
		return "it answers a ping, so it runs and has a way back: a firewall or security group drops this port"
	case p.Kind == probe.Unreachable && p.ICMP.IsValid():
		return fmt.Sprintf("a ping of it is answered by %s: %s", p.ICMP.From, p.ICMP.Message)
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
			fmt.Sprintf("# on the target: ip route get %s", way.Probe.From),
			"aws ec2 describe-route-tables --filters Name=association.subnet-id,Values=<subnet of the target>",
		},
	}
}
