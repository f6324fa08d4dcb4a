package diagnose

import (
	"fmt"
	"net/netip"
	"slices"

	"natd/internal/flow"
	"natd/nat"
)

// source is what becomes of the client's address.
func source(w *walk) step {
	way := w.way
	if !way.Target.IsValid() || way.Out.Local {
		return step{}
	}
	s := step{leg: LegHost, ref: ComponentRef{"chain inet natd postrouting", "source"}, looked: "the translation of the source"}
	if way.Relay.SNAT.Mode == nat.SNATOff {
		s.found = "the client's address stays: snat = \"off\""
		s.header = headerOf(way.clientText(), nil, addrText(way.Target), portText(way.Target), way.Protocol)
		s.causes = append(s.causes, outside(w)...)
		return s
	}
	s.found = "it becomes " + orElse(join(way.Sources), "nothing")
	s.header = headerOf(texts(way.Sources), nil, addrText(way.Target), portText(way.Target), way.Protocol)
	s.causes = append(s.causes, lacking(w)...)
	if p := way.Ports; p != nil {
		s.found += fmt.Sprintf("; %d of %d source ports towards %s are taken", p.Used, p.Max, p.Target)
	}
	s.causes = append(s.causes, exhausted(w)...)
	if w.has(RulesetMissing, RulesetDrift) {
		return s // what the table lacks is said
	}
	if len(way.Flows.Unmasked) > 0 {
		s.causes = append(s.causes, unmasked(flowLines(way.Flows.Unmasked)))
	} else if a := way.Attempt; a != nil && a.Stage >= SentOn && !way.strayed(a) && a.SentFrom.Addr() == a.Client.Addr() {
		s.causes = append(s.causes, unmasked(a.Transcript))
	}
	s.causes = append(s.causes, notOwned(w)...)
	return s
}

func lacking(w *walk) []Explanation {
	way := w.way
	if len(way.Sources) > 0 || way.Out.Kind != RouteFine {
		return nil
	}
	e := Explanation{
		ExplanationCode: SNATNotLocal, Direction: Egress, Leg: LegHost, Confidence: Certain, Component: relayRef(way),
		Summary:  "there is no source address to send from: " + wayText(way.Out) + " has none",
		Evidence: []string{way.Out.Link + " has no address that works beyond its link"},
		Remedy:   []string{"ip address add <address>/<length> dev " + device(way.Out.Link)},
	}
	if len(way.Missing) > 0 {
		e.Summary = fmt.Sprintf("the source address %s of relay %s is on no interface, so answers to it would be lost", way.Missing[0], way.Relay.Name)
		e.Evidence = []string{"snat = " + quoted(way.Missing) + ", and ip address has none of them"}
		e.Remedy = append([]string{
			fmt.Sprintf("ip address add %s/<length> dev %s", way.Missing[0], device(way.Out.Link)), `# or snat = "auto", then natctl reload`,
		}, assign(w.ev, way.Missing[0], way.Out.Link)...)
	}
	return []Explanation{e}
}

// portsGone is the share of the source ports towards one target, in percent, from which on a new connection may find none: the kernel
// tries a part of them only (nf_nat_l4proto_unique_tuple in net/netfilter/nf_nat_core.c).
const portsGone = 98

func exhausted(w *walk) []Explanation {
	p, failed := w.way.Ports, w.ev.Host.Conntrack.InsertFailed
	if p == nil || p.Max == 0 || p.Used*100 < p.Max*portsGone && (failed.Grown == 0 || p.Used*100 < p.Max*75) {
		return nil
	}
	return []Explanation{{
		ExplanationCode: SNATPortExhausted, Direction: Egress, Leg: LegHost, Confidence: Certain, Component: ComponentRef{p.Source, p.Source},
		Summary: fmt.Sprintf("the source ports of %s towards %s are used up, so new connections are dropped without a word", p.Source, p.Target),
		Evidence: []string{
			fmt.Sprintf("%d of %d source ports are taken", p.Used, p.Max),
			fmt.Sprintf("insert_failed = %d, %d of them now", failed.Total, failed.Grown),
		},
		Remedy: []string{
			fmt.Sprintf(`# snat = ["%s", "<another address of this host>"]   # of relay %s: %d connections more for each`, p.Source, w.way.Relay.Name, flow.SourcePorts),
			"# or more backends, or clients that keep their connections open and use them again", "natctl reload",
		},
	}}
}

func unmasked(evidence []string) Explanation {
	return Explanation{
		ExplanationCode: SNATMissing, Direction: Egress, Leg: LegHost, Confidence: Certain, Component: ComponentRef{"chain inet natd postrouting", "source"},
		Summary:  "packets are sent on with the client's own address, so the target's answers do not come back to this host",
		Evidence: evidence,
		Remedy:   []string{"natctl plan   # is natd's postrouting chain whole?", "nft list hooks   # does a chain before it end the translation?", "natctl reload"},
	}
}

// outside is what AWS thinks of a source that is not of the VPC of this host.
func outside(w *walk) []Explanation {
	if !carriesAWS(w.ev, w.way.Out.Link) || w.way.lives() {
		return nil
	}
	return []Explanation{{
		ExplanationCode: SNATOutsideVPC, Direction: Egress, Leg: LegHost, Confidence: Possible, Component: relayRef(w.way),
		Summary:  "the client's address stays, and a peering connection carries only packets whose source or destination is in the VPC that they come from",
		Evidence: []string{`snat = "off"`, "this host is " + w.ev.Host.Instance.ID},
		Remedy:   []string{`# snat = "auto" for relay ` + w.way.Relay.Name, "natctl reload"},
	}}
}

// notOwned is about source addresses that AWS does not take from this host.
func notOwned(w *walk) []Explanation {
	i := slices.IndexFunc(w.way.Sources, func(a netip.Addr) bool { return deliveredTo(w.ev, a) == "" })
	if i < 0 || !carriesAWS(w.ev, w.way.Out.Link) || w.way.Sources[i] == w.way.Listen.Addr() || w.way.lives() {
		return nil
	}
	a := w.way.Sources[i]
	return []Explanation{{
		ExplanationCode: ENIAddress, Direction: Egress, Leg: LegHost, Confidence: Likely, Component: ComponentRef{a.String(), a.String()},
		Summary:  fmt.Sprintf("no network interface of this instance owns the source address %s in AWS, so AWS drops what is sent from it", a),
		Evidence: []string{fmt.Sprintf("the instance metadata of %s do not list it", w.ev.Host.Instance.ID)}, Remedy: assign(w.ev, a, w.way.Out.Link),
	}}
}

// egress is the interface that packets leave by.
func egress(w *walk) step {
	way := w.way
	if way.Out.Kind != RouteFine || way.Out.Local {
		return step{}
	}
	s := step{leg: LegTarget, ref: ComponentRef{way.Out.Link, way.Out.Link}, looked: "the interface towards the target"}
	for i := range w.ev.Host.Links {
		if l := &w.ev.Host.Links[i]; l.Name == way.Out.Link {
			s.found = fmt.Sprintf("%s is up, its MTU is %d", l.Name, l.MTU)
		}
	}
	if n := way.Neighbour; n.Addr.IsValid() {
		s.found += fmt.Sprintf("; the next hop %s is %s", n.Addr, orElse(n.State, "not known yet"))
	}
	return s
}
