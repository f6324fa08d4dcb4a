package diagnose

import (
	"fmt"
	"slices"
	"strings"

	"natd/internal/firewall"
)

// The stations at which other programs' chains see the packets. An accept ends one chain only, and one drop is final.

// filteredBefore is what happens to a client's packet before natd's translation sees it.
func filteredBefore(w *walk) step {
	return w.filtered(LegClient, "the chains that see a client's packet before it is translated", InputDrop, Ingress, BeforeDNAT)
}

// filteredForward is what happens on the way to the target.
func filteredForward(w *walk) step {
	s := w.filtered(LegHost, "the other programs' chains on the way to the target", ForwardDrop, Ingress, onward()...)
	if f := w.way.hidden(onward()); f != nil && w.way.Lost > 0 && len(s.causes) == 0 && !w.explained() {
		s.ref = f.ref()
		s.causes = append(s.causes, hiddenDrop(w, f,
			fmt.Sprintf("while this was looked at, natd's table sent %d connections of clients on to %s, and none of them is tracked", w.way.Lost, w.way.target())))
	}
	return s
}

// onward is where a client's packets meet filters behind natd's translation.
func onward() []Place { return []Place{AfterDNAT, Forward, BeforeSNAT} }

// homeward is where the answers do.
func homeward() []Place { return []Place{ReplyIn, ReplyForward, ReplyOut} }

// filteredReply is what happens to the answer.
func filteredReply(w *walk) step {
	s := w.filtered(LegReturn, "the other programs' chains on the way back", ForwardDrop, Egress, homeward()...)
	s.back = true
	return s
}

// filtered looks at what filters do at some places.
func (w *walk) filtered(leg Leg, looked string, code Code, direction Direction, places ...Place) step {
	s := step{leg: leg, looked: looked, ref: ComponentRef{"nftables", "packet filter"}}
	seen := 0
	var unknown []*Filter
	for _, place := range places {
		for i := range w.way.Filters[place] {
			f := &w.way.Filters[place][i]
			seen++
			switch {
			case f.ends() && !w.blames(f):
				s.causes = append(s.causes, dropped(w, f, code, leg, direction, place))
				s.ref = f.ref()
			case f.Outcome == "unknown":
				unknown = append(unknown, f)
			}
		}
	}
	s.unknown = len(unknown) > 0
	switch {
	case len(s.causes) > 0:
		s.found = s.causes[0].Evidence[0]
	case seen == 0:
		s.found = "there are none"
	case seen > len(unknown):
		s.found = fmt.Sprintf("%d chains let it pass", seen-len(unknown))
	}
	for _, f := range unknown {
		s.found = strings.TrimPrefix(s.found+"; ", "; ") + f.unseen()
	}
	return s
}

// blames tells whether a chain is named already: one that drops the first packet drops the answer, too.
func (w *walk) blames(f *Filter) bool {
	for _, e := range w.causes {
		if e.Component == f.ref() {
			return true
		}
	}
	return false
}

func dropped(w *walk, f *Filter, code Code, leg Leg, direction Direction, place Place) Explanation {
	e := Explanation{
		ExplanationCode: code, Direction: direction, Leg: leg, Confidence: w.chance(f), Component: f.ref(),
		Evidence: []string{f.text(), "at " + string(place)},
		Remedy:   f.Remedy,
	}
	verb := map[bool]string{true: "rejects", false: "drops"}[f.Outcome == "reject"]
	if e.Confidence == Possible {
		verb = "may, by a rule that depends on more than is known here, " + f.Outcome
	}
	e.Summary = fmt.Sprintf("%s %s the packets of relay %s", f.ref().ID, verb, w.way.Relay.Name)
	if f.Owner != "" {
		e.Summary += "; it is made by " + f.Owner
	}
	if len(e.Remedy) == 0 {
		e.Remedy = []string{fmt.Sprintf("nft insert rule %s ct status dnat accept", f.inShell())}
		if place == BeforeDNAT {
			e.Remedy = []string{fmt.Sprintf("nft insert rule %s %s daddr %s %s dport %d accept", f.inShell(), family(w.way.Listen.Addr()), addrText(w.way.Listen),
				w.way.Protocol, w.way.Listen.Port())}
		}
	}
	return e
}

func (f *Filter) ref() ComponentRef {
	return ComponentRef{ID: "chain " + f.Table + " " + f.Chain, Name: f.Chain}
}

// inShell is the chain as nft's command line takes it.
func (f *Filter) inShell() string {
	family, table, _ := strings.Cut(f.Table, " ")
	return family + " " + firewall.Quoted(table) + " " + firewall.Quoted(f.Chain)
}

// unseen is a chain of which it is not known what it does, and how to look.
func (f *Filter) unseen() string {
	if f.legacy() {
		return fmt.Sprintf("table %s of the old iptables cannot be read: %s", f.Table, strings.Join(f.Remedy, "; "))
	}
	return "it cannot be told what this one does: " + f.text()
}

// legacy tells whether it is of the old iptables, whose rules no dump has.
func (f *Filter) legacy() bool { return f.Owner == firewall.LegacyOwner }

// hidden is the first chain of the old iptables at these places, nil where there is none. Those that filter come first.
func (w *Way) hidden(places []Place) *Filter {
	var found *Filter
	for _, place := range places {
		if f := first(w.Filters[place], (*Filter).legacy); f != nil && (found == nil || place == Forward || place == ReplyForward) {
			found = f
		}
	}
	return found
}

// hiddenDrop is packets that get lost where a chain stands that cannot be read.
func hiddenDrop(w *walk, f *Filter, evidence ...string) Explanation {
	program := firewall.LegacyOwner
	if w.way.Target.Addr().Is6() {
		program = "ip6tables-legacy"
	}
	return Explanation{
		ExplanationCode: ForwardDrop, Direction: Ingress, Leg: LegHost, Confidence: Likely, Component: f.ref(),
		Summary: fmt.Sprintf("clients' packets reach this host and are not sent on, and no chain that can be read explains it: %s of %s likely drops them, which no dump shows",
			f.ref().ID, program),
		Evidence: append(evidence, f.unseen()),
		Remedy:   append(slices.Clone(f.Remedy), program+" -I FORWARD -m conntrack --ctstate DNAT -j ACCEPT"),
	}
}

// text is what the chain does, with the rule that does it.
func (f *Filter) text() string {
	text := fmt.Sprintf("table %s, chain %s, hook %s, priority %d: ", f.Table, f.Chain, f.Hook, f.Priority)
	if f.Policy || f.Rule == "" {
		return text + "policy " + f.Outcome
	}
	return text + f.Rule
}

// chance is how sure it is that a filter does that to the packets in question. What could not be decided, because it depends on a
// limit, on who the client is or on what natd cannot read, is likely where an attempt was seen to get lost on this host.
func (w *walk) chance(f *Filter) Confidence {
	a := w.way.Attempt
	switch {
	case f.Certain:
		return Certain
	case a != nil && (a.Stage == Arrived || a.Stage == TargetAnswered && !a.Refused):
		return Likely
	}
	return Possible
}

// first is the first that is so, nil when none is.
func first(all []Filter, is func(*Filter) bool) *Filter {
	for i := range all {
		if is(&all[i]) {
			return &all[i]
		}
	}
	return nil
}
