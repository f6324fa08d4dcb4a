package diagnose

import (
	"fmt"
	"time"

	"natd/internal/probe"
	"natd/nat"
)

// The stations on the way back.

// tracked is what the latest clients met, by connection tracking and by what was seen of an attempt.
func tracked(w *walk) step {
	way := w.way
	s := step{leg: LegReturn, back: true, ref: ComponentRef{"nf_conntrack", "connections"}, looked: "what clients met lately"}
	newest := way.Flows.Newest
	switch {
	case way.Attempt != nil && way.Attempt.Stage != NothingCame:
		s.found = attemptText(way.Attempt)
	case newest == nil:
		s.found, s.unknown = "no connection of a client is tracked", true
		s.next = fmt.Sprintf("; whether packets of clients arrive: natctl diagnose %s --watch, while a client tries", way.Relay.Name)
	default:
		s.found = "the latest of " + fmt.Sprint(way.Flows.Tracked) + ": " + newest.String()
	}
	if w.explained() {
		return s
	}
	if e := w.attempted(); e != nil {
		s.causes = append(s.causes, *e)
	} else if e := w.met(); e != nil && way.Attempt == nil {
		s.causes = append(s.causes, *e)
	}
	return s
}

// met is what the latest connection says that nothing else explains; nil when it was answered.
func (w *walk) met() *Explanation {
	way := w.way
	newest := way.Flows.Newest
	switch {
	case newest == nil:
		return nil
	case newest.State == "SYN_RECV" && way.Back.Kind != RouteFine && way.Back.Kind != RouteUnknown:
		return nil // the route back says why
	case newest.State == "SYN_RECV" && way.stuck(newest) != nil:
		e := w.unheard(way.stuck(newest).String())
		if o := way.Flows.Whole; o != nil && o.Idle < lately && o.Client.Addr() != newest.Client.Addr() && way.Client.How < Asked {
			e.Confidence = Possible // one that scans ports leaves the same behind
			e.Evidence = append(e.Evidence, "another client gets through: "+o.String())
		}
		return e
	case way.Relay.SNAT.Mode == nat.SNATOff && way.Flows.Unheard != nil && way.Flows.Unheard.Idle <= newest.Idle: // of the same second, or later
		return w.astray(way.Flows.Unheard.String())
	case newest.Replied || newest.Target != way.Target || way.Relay.SNAT.Mode == nat.SNATOff:
		return nil
	case way.Probe != nil && way.Probe.Kind == probe.Answered && newest.Source.Addr() != way.Probe.From:
		e := unanswered(w, Likely, newest.String())
		e.Summary = fmt.Sprintf("the target %s answers %s, and not %s: is the second let in, too?", way.Target, way.Probe.From, newest.Source.Addr())
		return &e
	}
	return nil
}

// lately is how old a connection may be to show that the way works.
const lately = 2 * time.Minute

// stuck is the connection if it was half open when the look began, too, or another one of the client that was, and after which the client
// has not got through; nil for neither.
func (w *Way) stuck(f *Flow) (other *Flow) {
	for i := range w.Flows.Stuck {
		o := &w.Flows.Stuck[i]
		if o.Client == f.Client && o.Listen == f.Listen {
			return o
		}
		if whole := w.Flows.Whole; o.Client.Addr() == f.Client.Addr() && (whole == nil || o.Idle < whole.Idle) {
			other = o
		}
	}
	return other
}

// attempted is what the attempt that was watched says that nothing else explains.
func (w *walk) attempted() *Explanation {
	a := w.way.Attempt
	if a == nil {
		return nil
	}
	switch {
	case a.OwnReset && w.way.Relay.Admits(a.Client.Addr()):
		return w.turnedAway()
	case a.Stage == Arrived:
		return w.vanished()
	case a.Stage == SentOn && w.way.Relay.SNAT.Mode == nat.SNATOff:
		return w.astray(a.Transcript...)
	case a.Stage == SentOn:
		e := unanswered(w, w.way.heard(), "an attempt of a client was sent on and met with silence")
		e.Evidence = append(e.Evidence, a.Transcript...)
		return &e
	case a.Stage == TargetAnswered && a.Refused:
		return nil
	case a.Stage == TargetAnswered:
		e := w.vanished()
		e.Leg, e.Direction = LegReturn, Egress
		e.Summary = "the target's answer reaches this host and is not sent to the client: something on this host drops it"
		return e
	case a.Stage == AnswerSent && a.Answers > 1 && !a.Refused:
		return w.unheard(a.Transcript...)
	case a.Stalled:
		e := hole(w, a.Transcript...)
		return &e
	}
	return nil
}

// turnedAway is a reset of this host for a client that may use the relay.
func (w *walk) turnedAway() *Explanation {
	way := w.way
	code, leg, why, remedy := RelayNotReady, LegHost, "no backend takes new connections, or the relay is not in the kernel", "natctl status"
	if r := way.Relay; r.MaxConnections+r.MaxPerSource+r.Rate.Count > 0 {
		code, leg, why, remedy = RelayLimitReached, LegClient, "a limit of the relay is reached", "# raise max_connections, max_per_source or rate in "+w.ev.Daemon.Config+", then natctl reload"
	}
	return &Explanation{
		ExplanationCode: code, Direction: Ingress, Leg: leg, Confidence: Likely, Component: relayRef(way),
		Summary: "this host itself refused the client: " + why, Evidence: way.Attempt.Transcript, Remedy: []string{remedy},
	}
}

// vanished is an attempt that arrived, was not sent on, and met no chain that is known to drop it.
func (w *walk) vanished() *Explanation {
	a := w.way.Attempt
	places := onward()
	if a.Stage == TargetAnswered {
		places = homeward()
	}
	if f := w.way.hidden(places); f != nil {
		e := hiddenDrop(w, f, a.Transcript...)
		return &e
	}
	e := &Explanation{
		ExplanationCode: ForwardDrop, Direction: Ingress, Leg: LegHost, Confidence: Likely, Component: ComponentRef{"host", "this host"},
		Summary:  "the client's packet reaches this host and is not sent on: something on this host drops it, and no chain that can be read explains it",
		Evidence: a.Transcript,
		Remedy: []string{
			"nft add table inet trace; nft add chain inet trace pre '{ type filter hook prerouting priority raw; }'",
			fmt.Sprintf("nft add rule inet trace pre %s saddr %s meta nftrace set 1; nft monitor trace   # until the client has tried; the last line is the verdict",
				family(a.Client.Addr()), a.Client.Addr()),
			"nft delete table inet trace",
		},
	}
	return e
}

// unheard is an answer that does not reach the client.
func (w *walk) unheard(evidence ...string) *Explanation {
	way := w.way
	to := orElse(way.clientKnown(), "<address of the client>")
	return &Explanation{
		ExplanationCode: ReplyNotArrived, Direction: Egress, Leg: LegReturn, Confidence: Likely, Component: ComponentRef{to, "client"},
		Summary:  fmt.Sprintf("the target answers, and this host sends the answers to %s, but they do not arrive: the client goes on asking", to),
		Evidence: evidence,
		Remedy: []string{
			fmt.Sprintf("ip route get %s from %s   # does it leave by the right interface?", to, addrText(way.Listen)),
			"# the route table of this host's subnet needs a route to the client's VPC:",
			fmt.Sprintf("aws ec2 create-route --route-table-id <route table of this host's subnet> --destination-cidr-block %s --vpc-peering-connection-id <pcx>", cidr(to)),
			"# network ACLs of both subnets must let the answer through, ports 1024-65535: aws ec2 describe-network-acls",
		},
	}
}

// astray is an answer that does not come back by this host, because the target sees the client's own address.
func (w *walk) astray(evidence ...string) *Explanation {
	way := w.way
	return &Explanation{
		ExplanationCode: Asymmetric, Direction: Ingress, Leg: LegReturn, Confidence: way.heard(), Component: relayRef(way),
		Summary:  fmt.Sprintf("the target's answers do not come back by this host: with snat = \"off\" it answers the client's own address, by whatever route it has to %s", orElse(way.clientKnown(), "it")),
		Evidence: evidence,
		Remedy: []string{
			`# snat = "auto" for relay ` + way.Relay.Name + " in " + w.ev.Daemon.Config + ", then natctl reload",
			fmt.Sprintf("# or on the target: ip route add %s via %s   # a way back by this host, where it is in the same network", orElse(way.clientKnown(), "<the clients' network>"), orElse(mainAddr(w.ev), "<this host>")),
			"# and turn the source/destination check of this instance off: aws ec2 modify-instance-attribute --no-source-dest-check --instance-id <this instance>",
		},
	}
}

func mainAddr(ev *Evidence) string {
	for _, l := range ev.Host.Links {
		if !l.Loopback && len(l.Addrs) > 0 {
			return l.Addrs[0].String()
		}
	}
	return ""
}

func attemptText(a *Attempt) string {
	text := [...]string{
		"nothing came", "it arrived, and was not sent on", "it was sent on, and not answered", "it was answered, and the answer was not sent on",
		"the answer was sent to the client", "the client took the answer",
	}[a.Stage]
	if a.Refused {
		text += " (a refusal)"
	}
	return fmt.Sprintf("%s: %s", a.Client, text)
}

// back is the host's way to the client.
func back(w *walk) step {
	way := w.way
	if !way.Client.Addr.IsValid() {
		return step{}
	}
	s := step{leg: LegReturn, back: true, ref: ComponentRef{"route to " + way.Client.Addr.String(), "route"}, looked: "the route back to " + way.backTo()}
	s.header = headerOf([]string{addrText(way.Listen)}, portText(way.Listen), way.Client.Addr.String(), nil, way.Protocol)
	switch {
	case way.Back.Kind == RouteFine:
		s.found = wayText(way.Back)
	case way.Client.How == Anyone || way.Back.Kind == RouteUnknown:
		s.found, s.unknown = way.Back.Err, true
	default:
		s.found = way.Back.Err
		if !w.has(EgressDown) {
			s.causes = append(s.causes, Explanation{
				ExplanationCode: ReplyNotArrived, Direction: Egress, Leg: LegReturn, Confidence: Certain, Component: s.ref,
				Summary: fmt.Sprintf("this host has no route back to the clients at %s", way.backTo()), Evidence: []string{way.Back.Err},
				Remedy: []string{"ip route get " + way.Client.Addr.String(), fmt.Sprintf("ip route add %s via <gateway> dev %s", way.clientText()[0], device(onlyLink(w.ev)))},
			})
		}
	}
	return s
}

// backTo is whom the way back is for.
func (w *Way) backTo() string {
	switch w.Client.How {
	case Anyone:
		return "anyone"
	case Sample:
		return join(w.Relay.From)
	default:
		return w.Client.Addr.String()
	}
}

// size is how large packets may be on the way to the target.
func size(w *walk) step {
	way := w.way
	if way.Room == nil {
		return step{}
	}
	r := way.Room
	s := step{leg: LegReturn, back: true, ref: ComponentRef{"mtu " + way.Target.Addr().String(), "path MTU"}, looked: "how large packets to the target may be"}
	switch {
	case !r.Answers:
		s.found, s.unknown = "cannot be told: the target does not answer pings", true
	case !r.Blackhole:
		s.found = fmt.Sprintf("%d bytes, which is what the host knows", r.Largest)
	default:
		s.found = fmt.Sprintf("%d bytes pass, larger ones vanish without an ICMP error, and the route says %d", r.Largest, r.Route)
		if agreed := way.agreed(); agreed > 0 && agreed <= r.Largest {
			s.found += fmt.Sprintf("; the target's own MSS keeps TCP at %d", agreed)
		} else if !way.clamped() && !w.has(MTUBlackhole) {
			s.causes = append(s.causes, hole(w, s.found))
		}
	}
	return s
}

// timestamps is what the option of RFC 7323, section 3.2, takes of a segment, in bytes: the kernel counts it out of the MSS.
const timestamps = 12

// agreed is the size in bytes of the largest packets of TCP connections to the target, by the MSS in its answer, which routers may have
// lowered; 0 where that is not known.
func (w *Way) agreed() int {
	if w.Protocol != nat.TCP || w.Probe == nil || w.Probe.Kind != probe.Answered || w.Probe.MSS == 0 {
		return 0
	}
	return w.Probe.MSS + timestamps + w.headers()
}

// headers is what IP and TCP take of a packet to the target at least, in bytes.
func (w *Way) headers() int {
	if w.Target.Addr().Is6() {
		return 60
	}
	return 40
}

// clamped tells whether the relay makes both ends of TCP connections send no more than passes.
func (w *Way) clamped() bool {
	m := w.Relay.MSS
	return w.Protocol == nat.TCP && !m.Off && m.Size > 0 && int(m.Size) <= w.Room.Largest-w.headers()
}

func hole(w *walk, evidence ...string) Explanation {
	way := w.way
	e := Explanation{
		ExplanationCode: MTUBlackhole, Direction: Egress, Leg: LegReturn, Confidence: Certain, Component: ComponentRef{"path to " + addrText(way.Target), "path MTU"},
		Summary:  fmt.Sprintf("small packets to and from %s pass, large ones vanish without a word: connections begin and then hang", addrText(way.Target)),
		Evidence: evidence,
		Remedy: []string{
			"# let ICMP \"fragmentation needed\" (type 3, code 4; ICMPv6 type 2) through every security group and network ACL between",
		},
	}
	if way.Room == nil || way.Room.Largest == 0 {
		e.Confidence = Likely
		return e
	}
	e.Remedy = append([]string{
		fmt.Sprintf("mss = %d   # for relay %s in %s, then natctl reload", way.Room.Largest-way.headers(), way.Relay.Name, w.ev.Daemon.Config),
		fmt.Sprintf("# or ip route add %s via %s dev %s mtu %d   # and mss = \"auto\"", cidr(addrText(way.Target)), orElse(gatewayOf(way), "<gateway>"), device(way.Out.Link), way.Room.Largest),
	}, e.Remedy...)
	return e
}

func gatewayOf(way *Way) string {
	if !way.Out.Gateway.IsValid() {
		return ""
	}
	return way.Out.Gateway.String()
}

// notSeen is what cannot be seen from this host, and what to check next.
func notSeen(w *walk) []string {
	way := w.way
	if !way.Relay.Enabled {
		return []string{}
	}
	sources := orElse(join(way.Sources), "this host")
	all := []string{
		fmt.Sprintf("security groups and network ACLs: of this host for %s from %s; of the target for %s from %s: aws ec2 describe-security-groups, describe-network-acls",
			way.listen(), way.clientText()[0], orElse(way.target(), "it"), sources),
		"the route tables of the client's and the target's subnets: aws ec2 describe-route-tables; the peering: aws ec2 describe-vpc-peering-connections",
	}
	for i := range w.steps {
		if s := &w.steps[i]; s.unknown && s.component(i+1).Verdict == Unknown {
			all = append(all, fmt.Sprintf("step %d, %s: %s%s", i+1, s.looked, s.found, s.next))
		}
	}
	return append(all, w.ev.Host.Unread...)
}
