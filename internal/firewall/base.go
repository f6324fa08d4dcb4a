package firewall

import (
	"cmp"
	"slices"
	"strings"
)

// Priorities at which the kernel itself looks at packets (enum nf_ip_hook_priorities of linux/netfilter_ipv4.h): chains below
// see them before. Chains of type nat are all called at the kernel's own, in the order of theirs.
const (
	priorityConntrack = -200
	priorityDNAT      = -100
	prioritySNAT      = 100
)

// translation is where at a hook the kernel translates, and of which end; false = nowhere.
func (h Hook) translation() (priority int, status uint32, ok bool) {
	switch h {
	case Prerouting, Output:
		return priorityDNAT, StatusDNAT, true
	case Postrouting, Input:
		return prioritySNAT, StatusSNAT, true
	default:
		return 0, 0, false
	}
}

// Walk says what every base chain of the packet's hook does with it, in the order in which the kernel asks them, up to the
// one that drops it for certain. A chain that may do different things has a finding for each of them.
//
// The hooks of a way are walked one by one, with the packet as it comes to each. Behind a finding of Untrack the packet's CTState
// is Untracked, or not known where that is not certain; behind one of Translate its addresses are what the rule says.
func (r *Ruleset) Walk(p Packet) []Finding {
	w := &walker{Ruleset: r, packet: &p}
	w.prepare()
	if slices.ContainsFunc(r.hooked(&p), w.walkBase) {
		return w.findings
	}
	return append(w.findings, r.unseen(&p)...)
}

// prepare writes what is known of the packet before the first chain.
func (w *walker) prepare() {
	p := w.packet
	w.state.setHeaders(p)
	switch {
	case p.Mark != nil:
		w.state.set(markSpan(), known(host32(*p.Mark)))
	case p.Hook == Prerouting || p.Hook == Ingress || p.Hook == Forward && !w.marks:
		w.state.set(markSpan(), known(host32(0)))
	}
	if p.CTState == New && !w.marks {
		w.state.set(ctMarkSpan(), known(host32(0)))
	}
	if p.Hook == Forward {
		w.state.set(pktTypeSpan(), known([]byte{0})) // the kernel forwards only what was sent to its own link address
	}
}

// hooked are the base chains that see the packet, in order. Of two with one priority the kernel asks the later one first
// (nf_hook_entries_grow of net/netfilter/core.c).
func (r *Ruleset) hooked(p *Packet) []*chain {
	var all []*chain
	for _, c := range slices.Backward(r.bases) {
		if c.hook == p.Hook && c.sees(p) {
			all = append(all, c)
		}
	}
	slices.SortStableFunc(all, func(a, b *chain) int {
		return cmp.Or(cmp.Compare(a.called(), b.called()), cmp.Compare(a.priority, b.priority))
	})
	return all
}

// called is the priority at which the kernel calls the chain.
func (c *chain) called() int {
	if at, _, ok := c.hook.translation(); ok && c.kind == "nat" {
		return at
	}
	return c.priority
}

// sees tells whether the chain is asked about such packets.
func (c *chain) sees(p *Packet) bool {
	device := p.InDevice
	switch p.Hook {
	case Egress:
		device = p.OutDevice
	case Ingress:
	default:
		family := c.table.familyName()
		return family == "inet" || family == p.family()
	}
	return slices.ContainsFunc(c.devices, func(d string) bool {
		prefix, wild := strings.CutSuffix(d, "*")
		return d == device || wild && strings.HasPrefix(device, prefix)
	})
}

// walkBase walks a base chain, and tells whether the packet ends there.
func (w *walker) walkBase(c *chain) bool {
	skipped := no
	if c.kind == "nat" {
		if skipped = w.skipsNAT(); skipped == yes {
			return false
		}
	}
	if c.table.own() {
		if c.kind == "nat" && w.packet.After != (Tuple{}) {
			w.translated = yes
		}
		return false
	}
	w.base, w.ends, w.passed, w.open = c, nil, merged{}, skipped == maybe
	w.view(c)
	if skipped == maybe {
		w.record(c, nil, Accept, w.state)
	}
	if s, back := w.run(c, w.state, 0); back {
		o := Accept
		if c.drop {
			o = Drop
		}
		w.record(c, nil, o, s)
	}
	if w.passed.any {
		w.state = w.passed.state
	}
	return w.conclude()
}

// skipsNAT tells whether the kernel leaves out chains of type nat: they see the first packet of a connection only, and the
// first one that translates is the last one (nf_nat_inet_fn of net/netfilter/nf_nat_core.c).
func (w *walker) skipsNAT() tri {
	p := w.packet
	skipped := max(w.translated, w.untracked)
	switch {
	case w.zoned:
		return max(skipped, maybe)
	case p.CTState == Established || p.CTState == Invalid || p.CTState == Untracked || p.Reply:
		return yes
	case p.CTState == "":
		return max(skipped, maybe)
	case p.CTState == Related && p.isICMP():
		return yes
	case p.CTState == Related:
		return max(skipped, maybe)
	}
	return skipped
}

// view shows the packet as the chain sees it: before or behind connection tracking and natd's translation.
func (w *walker) view(c *chain) {
	p := w.packet
	before, behind := Tuple{p.Src, p.Dst}, Tuple{p.Src, p.Dst}
	if p.After != (Tuple{}) {
		behind = p.After
	}
	w.viewConnection(p.CTStatus)
	at, bit, translates := p.Hook.translation()
	switch {
	case w.foreign != no && c.called() >= at:
		w.state.forgetTuple(p.is6())
		w.state.forget(ctStatusSpan())
	case translates && c.called() > at:
		w.state.setTuple(behind)
	case translates && c.called() == at && c.kind != "nat":
		w.state.setTuple(before)
		other := w.state
		other.setTuple(behind)
		w.state.join(&other)
		w.state.forget(ctStatusSpan())
	default:
		w.state.setTuple(before)
		if translates && p.CTState == New {
			w.viewConnection(p.CTStatus &^ bit)
		}
	}
	w.viewTracking(c)
}

// viewConnection shows the connection, unless a rule took the packet out of it.
func (w *walker) viewConnection(status uint32) {
	w.state.setConnection(w.packet.CTState, status)
	if w.untracked == no {
		return
	}
	tracked := w.state
	w.state.setConnection(Untracked, 0)
	if w.untracked == maybe {
		w.state.join(&tracked)
	}
}

// viewTracking takes the connection away from chains before connection tracking.
func (w *walker) viewTracking(c *chain) {
	p := w.packet
	early := p.Hook == Ingress || (p.Hook == Prerouting || p.Hook == Output) && c.priority < priorityConntrack
	switch {
	case w.zoned:
		w.state.setConnection("", 0)
	case w.untracked != no:
	case early:
		w.state.setConnection(Invalid, 0) // what rules read where there is none
	case (p.Hook == Prerouting || p.Hook == Output) && c.priority == priorityConntrack, p.Hook == Egress:
		w.state.setConnection("", 0)
	}
}

// conclude turns the endings of a base chain into findings. Where all are alike it is certain, and the last one has it: the
// ones before are those of rules that could not be decided.
func (w *walker) conclude() bool {
	if len(w.ends) == 0 {
		return false
	}
	last := w.ends[len(w.ends)-1]
	alike := !slices.ContainsFunc(w.ends, func(e ending) bool { return e.outcome != last.outcome })
	if !alike {
		for _, e := range w.ends[:min(len(w.ends), maxFindings)] {
			w.report(e, false)
			w.noteTranslation(e.outcome, maybe)
		}
		return false
	}
	w.report(last, last.outcome != Unknown)
	w.noteTranslation(last.outcome, yes)
	return last.outcome == Drop || last.outcome == Reject
}

func (w *walker) noteTranslation(o Outcome, t tri) {
	if o == Translate {
		w.translated, w.foreign = max(w.translated, t), max(w.foreign, t)
	}
}
