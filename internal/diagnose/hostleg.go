package diagnose

import (
	"fmt"
	"strings"

	"natd/internal/control"
	"natd/internal/words"
)

// The stations within the host that have to do with natd and the kernel's tables.

// daemon is natd itself.
func daemon(w *walk) step {
	d := w.ev.Daemon
	s := step{leg: LegHost, ref: ComponentRef{"natd.service", "natd"}, looked: "is natd at work?", found: "it answers"}
	if d.Stale != "" {
		s.found += "; the last reload was refused, so the file is newer than what runs: " + firstLine(d.Stale)
	}
	if d.Running {
		return s
	}
	s.found = firstLine(d.Silence)
	e := Explanation{
		ExplanationCode: DaemonNotRunning, Direction: Ingress, Leg: LegHost, Confidence: Likely, Component: s.ref,
		Summary:  "natd does not answer: what stands in the kernel goes on, but nothing repairs it, follows names or takes dead backends out",
		Evidence: []string{d.Silence},
		Remedy:   []string{"systemctl start natd", "journalctl -u natd -e   # says why it stopped"},
	}
	if d.Busy {
		e.Confidence, e.Summary = Possible, "natd runs, and did not answer in time: it is busy, as when it starts with very many relays, or it hangs"
		e.Remedy = []string{"systemctl status natd", "journalctl -u natd -e", "natctl status   # waits longer"}
	}
	s.causes = append(s.causes, e)
	return s
}

// ruleset is natd's table.
func ruleset(w *walk) step {
	d, t := w.ev.Daemon, w.ev.Table
	s := step{leg: LegHost, ref: ComponentRef{"table inet natd", "natd's table"}, looked: "natd's table, as the kernel holds it"}
	missing := Explanation{
		ExplanationCode: RulesetMissing, Direction: Ingress, Leg: LegHost, Confidence: Certain, Component: s.ref,
		Summary:  "natd's table is not in the kernel, so nothing is translated",
		Evidence: []string{"the kernel has no table inet natd"}, Remedy: []string{"natctl reload"},
	}
	if !d.Running {
		missing.Remedy = []string{"systemctl restart natd"}
	}
	drift := Explanation{
		ExplanationCode: RulesetDrift, Direction: Ingress, Leg: LegHost, Confidence: Certain, Component: s.ref,
		Summary: "natd's table in the kernel is not as the configuration wants it", Remedy: []string{"systemctl restart natd", "natctl plan   # what would change"},
	}
	switch {
	case t.Unreadable != "":
		s.found, s.unknown = t.Unreadable, true
	case d.Flushed:
		missing.Evidence = append(missing.Evidence, "it was removed by natctl flush")
		s.found, s.causes = "it was removed by natctl flush", []Explanation{missing}
	case !t.Exists && (!d.Running || d.LastError == ""):
		s.found, s.causes = "it is not there", []Explanation{missing}
	case !t.Exists:
		missing.Evidence = append(missing.Evidence, d.LastError)
		s.found, s.causes = "it is not there: "+d.LastError, []Explanation{missing}
	case d.Running && !d.InSync:
		drift.Evidence = []string{d.LastError}
		s.found, s.causes = "natd cannot bring it in line: "+d.LastError, []Explanation{drift}
	case len(t.Changes) > 0:
		drift.Evidence = few(t.Changes, shownChanges)
		s.found, s.causes = words.Count(len(t.Changes), "difference")+" from what the configuration wants", []Explanation{drift}
	default:
		s.found = "it is as the configuration wants it"
	}
	return s
}

// shownChanges is how many steps of a plan are enough to see what is wrong.
const shownChanges = 5

func few(all []string, most int) []string {
	if len(all) <= most {
		return all
	}
	return append(append([]string{}, all[:most]...), fmt.Sprintf("and %d more", len(all)-most))
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

// conntrackRoom is the room of the connection tracking table.
func conntrackRoom(w *walk) step {
	c := w.ev.Host.Conntrack
	s := step{
		leg: LegHost, ref: ComponentRef{"nf_conntrack", "connection tracking"}, looked: "room in the connection tracking table",
		found: fmt.Sprintf("%d of %d entries are taken", c.Entries, c.Max),
	}
	full := c.Max > 0 && c.Entries >= c.Max-c.Max/100 // entries that end leave some room for a moment
	nearly := c.Entries >= c.Max-c.Max/10             // packets are dropped for want of a source port, too
	if !full && (!nearly || c.Dropped.Grown+c.EarlyDropped.Grown == 0) {
		return s
	}
	s.found += fmt.Sprintf("; %d packets found no room while this was looked at", c.Dropped.Grown)
	e := Explanation{
		ExplanationCode: ConntrackFull, Direction: Ingress, Leg: LegHost, Confidence: Certain, Component: s.ref,
		Summary: "the connection tracking table is full, so the first packets of new connections are dropped",
		Evidence: []string{
			fmt.Sprintf("nf_conntrack_count = %d, nf_conntrack_max = %d", c.Entries, c.Max),
			fmt.Sprintf("dropped for want of room: %d, %d of them now; entries that were not assured made room: %d, %d of them now",
				c.Dropped.Total, c.Dropped.Grown, c.EarlyDropped.Total, c.EarlyDropped.Grown),
		},
		Remedy: []string{
			fmt.Sprintf("sysctl -w net.netfilter.nf_conntrack_max=%d   # or conntrack_max in [host], which lasts", 2*max(c.Max, 1)),
			"natctl connections   # who has so many?",
		},
	}
	switch {
	case !full:
		e.Confidence = Likely
	case c.Entries < c.Max && c.Dropped.Grown+c.EarlyDropped.Grown == 0:
		e.Confidence, e.Summary = Possible, "the connection tracking table is nearly full: when it is, the first packets of new connections are dropped"
	}
	s.causes = append(s.causes, e)
	return s
}

// translation is what becomes of the address that clients dial.
func translation(w *walk) step {
	way := w.way
	s := step{
		leg: LegHost, ref: ComponentRef{"chain inet natd prerouting", "destination"}, looked: "the translation of the destination",
		found:  fmt.Sprintf("%s becomes %s", way.listen(), orElse(way.target(), "nothing")),
		header: headerOf(way.clientText(), nil, addrText(way.Target), portText(way.Target), way.Protocol),
	}
	if f := first(way.Filters[BeforeDNAT], func(f *Filter) bool { return f.Outcome == "translate" || f.Outcome == "untrack" }); f != nil {
		s.causes = append(s.causes, shadowed(w, f))
	} else if a := way.Attempt; a != nil && a.Stage >= SentOn && way.strayed(a) && !w.has(RelaySourceDenied) {
		s.causes = append(s.causes, shadowedUnseen(w, fmt.Sprintf("%s was sent on to %s", a.Client, a.SentTo)))
	} else if len(way.Flows.Misled) > 0 {
		s.causes = append(s.causes, stale(w, way.Flows.Misled, "they lead to a target that is none of the relay's"))
	}
	if len(way.Flows.Bypassing) > 0 {
		s.causes = append(s.causes, stale(w, way.Flows.Bypassing, "they began before the relay's rules stood, and are not translated"))
	}
	return s
}

// strayed tells whether the attempt was sent elsewhere than to a backend of the relay.
func (w *Way) strayed(a *Attempt) bool {
	if a.SentTo == w.Target {
		return false
	}
	if w.Status == nil {
		return true
	}
	for _, b := range w.Status.Backends {
		if to, _, ok := splitPorts(b.Address); ok && to == a.SentTo.Addr() {
			return false
		}
	}
	return true
}

func shadowed(w *walk, f *Filter) Explanation {
	a := w.way.Attempt
	e := Explanation{
		ExplanationCode: NATShadowed, Direction: Ingress, Leg: LegHost, Confidence: w.chance(f), Component: f.ref(),
		Summary: fmt.Sprintf("%s translates %s before natd does: the first translation of a connection is the one that counts",
			f.ref().ID, w.way.listen()),
		Evidence: append([]string{f.text()}, flowLines(w.way.Flows.Misled)...),
		Remedy:   f.Remedy,
	}
	if f.Outcome == "untrack" {
		e.Summary = fmt.Sprintf("%s takes packets to %s out of connection tracking, and what is not tracked is not translated", f.ref().ID, w.way.listen())
	}
	if e.Confidence == Possible && (len(w.way.Flows.Misled) > 0 || a != nil && a.Stage >= SentOn && w.way.strayed(a)) {
		e.Confidence = Likely
	}
	if f.Rule != "" {
		e.Remedy = append([]string{fmt.Sprintf("nft delete rule %s handle %d   # or let it leave %s alone", f.inShell(), f.Handle, w.way.listen())}, e.Remedy...)
	}
	return e
}

// shadowedUnseen is for a translation by a rule that was not found: a table of the old iptables, or a program that looks at packets.
func shadowedUnseen(w *walk, seen string) Explanation {
	return Explanation{
		ExplanationCode: NATShadowed, Direction: Ingress, Leg: LegHost, Confidence: Certain, Component: ComponentRef{"hook prerouting", "prerouting"},
		Summary:  fmt.Sprintf("something on this host translates %s before natd does", w.way.listen()),
		Evidence: []string{seen}, Remedy: []string{"nft list ruleset | grep -e dnat -e redirect", "iptables-legacy -t nat -S"},
	}
}

func stale(w *walk, flows []Flow, why string) Explanation {
	way := w.way
	e := Explanation{
		ExplanationCode: StaleFlows, Direction: Ingress, Leg: LegHost, Confidence: Certain, Component: ComponentRef{"nf_conntrack", "connection tracking"},
		Summary:  fmt.Sprintf("connections of clients to %s go by an old entry of connection tracking: %s", way.listen(), why),
		Evidence: flowLines(flows),
		Remedy:   []string{"systemctl start natd   # it removes exactly these"},
	}
	if w.ev.Daemon.Running {
		e.Remedy[0] = "natctl reload   # it removes exactly these"
	}
	for i := range flows {
		if i == shownFlows {
			break
		}
		f := &flows[i]
		e.Remedy = append(e.Remedy, fmt.Sprintf("conntrack -D -p %s --orig-src %s --sport %d --orig-dst %s --dport %d", way.Protocol,
			f.Client.Addr(), f.Client.Port(), f.Listen.Addr(), f.Listen.Port()))
	}
	return e
}

// shownFlows is how many connections stand for all.
const shownFlows = 3

// flowLines is connections for people, the first of them.
func flowLines(flows []Flow) []string {
	lines := make([]string, 0, shownFlows+1)
	for i := range flows {
		if i == shownFlows {
			lines = append(lines, fmt.Sprintf("and %d more", len(flows)-shownFlows))
			break
		}
		lines = append(lines, flows[i].String())
	}
	return lines
}

// String is the connection with both of its legs.
func (f *Flow) String() string {
	text := fmt.Sprintf("%s > %s becomes %s > %s, %s", f.Client, f.Listen, f.Source, f.Target, f.State)
	if !f.Replied {
		text += ", no reply"
	}
	return fmt.Sprintf("%s, %d packets there and %d back, the last %d s ago", text, f.ToTarget, f.ToClient, int(f.Idle.Seconds()))
}

// ready is what natd says of the way that no station found by itself.
func ready(w *walk) step {
	way := w.way
	if w.explained() || way.Status == nil {
		return step{}
	}
	why := ""
	switch {
	case !way.InKernel && way.Target.IsValid():
		why = orElse(way.Status.Reason, "its rules are not in the kernel")
	case way.Backend != nil && way.Backend.State == control.BackendDown:
		why = fmt.Sprintf("backend %s is down: %s", way.Backend.Address, way.Backend.Reason)
	default:
		return step{}
	}
	s := step{leg: LegHost, ref: relayRef(way), looked: "what natd says of the relay", found: way.Status.State + ": " + why}
	s.causes = append(s.causes, Explanation{
		ExplanationCode: RelayNotReady, Direction: Ingress, Leg: LegHost, Confidence: Likely, Component: s.ref,
		Summary: fmt.Sprintf("natd does not send new connections of relay %s there: %s", way.Relay.Name, why), Evidence: []string{"natctl status: " + why},
		Remedy: []string{"natctl status", "# docs/operate.md, troubleshooting by code, has this reason and what to do"},
	})
	return s
}

// allowances is what AWS dropped for this instance.
func allowances(w *walk) step {
	if len(w.ev.Host.Allowances) == 0 {
		return step{}
	}
	s := step{leg: LegHost, ref: ComponentRef{"ena", "instance limits"}, looked: "the limits of the instance, as the ENA driver counts them", found: "none is exceeded"}
	for _, a := range w.ev.Host.Allowances {
		if a.Packets.Total == 0 {
			continue
		}
		s.found = fmt.Sprintf("%s of %s: %d packets, %d of them now", a.Name, a.Link, a.Packets.Total, a.Packets.Grown)
		if a.Packets.Grown == 0 {
			continue
		}
		e := Explanation{
			ExplanationCode: ENAThroughput, Direction: Ingress, Leg: LegHost, Confidence: Likely, Component: ComponentRef{a.Link, a.Link},
			Summary: "AWS drops packets of this instance, because it sends or receives more than its type allows", Evidence: []string{s.found},
			Remedy: []string{"ethtool -S " + device(a.Link) + " | grep allowance", "# a larger instance type, or more instances"},
		}
		if strings.Contains(a.Name, "conntrack") {
			e.ExplanationCode = ENAConntrack
			e.Summary = "AWS drops packets of this instance, because its security groups track more connections than its type allows"
		}
		s.causes = append(s.causes, e)
	}
	return s
}
