package diagnose

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Conclude draws the conclusions. It is a function of the evidence alone.
func Conclude(ev *Evidence) *Report {
	r := &Report{
		SchemaVersion: SchemaVersion, Status: "succeeded", StartDate: ev.At.UTC().Truncate(time.Second),
		Paths: []Path{}, Explanations: []Explanation{},
	}
	host := follow(&walk{ev: ev}, hostStations())
	r.Explanations = append(r.Explanations, host.ranked()...)
	for i := range ev.Ways {
		w := follow(&walk{ev: ev, way: &ev.Ways[i]}, stations())
		r.Paths = append(r.Paths, w.path())
		r.Explanations = addShared(r.Explanations, w.ranked())
	}
	r.Explanations = append(r.Explanations, unconfigured(ev)...)
	rank(r.Explanations)
	r.NetworkPathFound = passes(r.Explanations) && !slices.ContainsFunc(r.Paths, func(p Path) bool { return !p.NetworkPathFound })
	r.StatusMessage = message(ev, r)
	return r
}

// station is a part of the way: it looks at the evidence for it and says what follows. What it says may depend on what was found
// before, in the walk, so that a cause silences its consequences.
type station func(*walk) step

// stations is the way in the order of a packet.
func stations() []station {
	return []station{
		client, address, filteredBefore, daemon, ruleset, conntrackRoom, port, limits, translation, backend, route, reversePath, forwarding,
		filteredForward, source, egress, target, filteredReply, tracked, back, size, ready, allowances,
	}
}

// hostStations is what can be said without a relay.
func hostStations() []station { return []station{daemon, ruleset, conntrackRoom, allowances} }

// step is what a station found.
type step struct {
	leg     Leg
	back    bool // it is on the way back
	ref     ComponentRef
	looked  string // "" = there is nothing to look at here
	found   string
	unknown bool   // it could not be told
	next    string // what to look at to tell it, with what leads up to it
	warned  bool   // it is not as it should be, and that is no cause
	header  *Header
	causes  []Explanation
	last    bool // what is behind it does not matter
}

// walk is one way, as far as it has been followed.
type walk struct {
	ev     *Evidence
	way    *Way
	steps  []step
	causes []Explanation
}

func follow(w *walk, stations []station) *walk {
	for _, look := range stations {
		s := look(w)
		if s.looked == "" {
			continue
		}
		w.steps = append(w.steps, s)
		w.causes = append(w.causes, s.causes...)
		if s.last {
			break
		}
	}
	return w
}

// explained tells whether what was found so far is reason enough for connections to fail.
func (w *walk) explained() bool {
	return !passes(w.causes)
}

// aside tells whether packets get through all the same: a natd that does not run is worth a word, and no cause.
func aside(e Explanation) bool { return e.ExplanationCode == DaemonNotRunning }

// has tells whether the code was found already.
func (w *walk) has(codes ...Code) bool {
	return slices.ContainsFunc(w.causes, func(e Explanation) bool { return slices.Contains(codes, e.ExplanationCode) })
}

// passes tells whether packets get through in spite of all that.
func passes(causes []Explanation) bool {
	return !slices.ContainsFunc(causes, func(e Explanation) bool { return e.Confidence != Possible && !aside(e) })
}

// ranked is the explanations with the cause first.
func (w *walk) ranked() []Explanation {
	all := slices.Clone(w.causes)
	rank(all)
	return all
}

// rank puts certain before likely before possible. Among equals the one that a packet meets first stays first, but what is no cause.
func rank(all []Explanation) {
	order := []Confidence{Certain, Likely, Possible}
	place := func(e Explanation) int {
		at := 2 * slices.Index(order, e.Confidence)
		if aside(e) {
			at++
		}
		return at
	}
	slices.SortStableFunc(all, func(a, b Explanation) int { return cmp.Compare(place(a), place(b)) })
}

// addShared adds the explanations that have to do with no single relay, each once.
func addShared(all, found []Explanation) []Explanation {
	shared := []Code{DaemonNotRunning, RulesetMissing, RulesetDrift, IPForwardDisabled, ConntrackFull, ENAConntrack, ENAThroughput}
	for _, e := range found {
		known := slices.ContainsFunc(all, func(o Explanation) bool {
			return o.ExplanationCode == e.ExplanationCode && o.Component == e.Component
		})
		if slices.Contains(shared, e.ExplanationCode) && !known {
			all = append(all, e)
		}
	}
	return all
}

// path is the walk as the report has it.
func (w *walk) path() Path {
	p := Path{
		Relay: w.way.Relay.Name, Protocol: w.way.Protocol.String(), Listen: w.way.listen(), Target: w.way.target(),
		ForwardPathComponents: []Component{}, ReturnPathComponents: []Component{},
		Explanations: append([]Explanation{}, w.ranked()...), NotSeen: notSeen(w),
	}
	if w.way.Client.How >= Tracked {
		p.Source = w.way.Client.Addr.String()
	}
	p.NetworkPathFound = passes(p.Explanations)
	for i, s := range w.steps {
		c := s.component(i + 1)
		if s.back {
			p.ReturnPathComponents = append(p.ReturnPathComponents, c)
		} else {
			p.ForwardPathComponents = append(p.ForwardPathComponents, c)
		}
	}
	p.stand(untold(w.steps))
	return p
}

func (s *step) component(number int) Component {
	c := Component{
		SequenceNumber: number, Leg: s.leg, Component: s.ref, Looked: s.looked, Found: s.found, Verdict: Fine, OutboundHeader: s.header,
	}
	for _, e := range s.causes {
		c.Explanations = append(c.Explanations, e.ExplanationCode)
	}
	switch {
	case len(s.causes) > 0 && !passes(s.causes):
		c.Verdict = Broken
	case len(s.causes) > 0 || s.warned:
		c.Verdict = Suspect
	case s.unknown:
		c.Verdict = Unknown
	}
	return c
}

// listen is what clients dial.
func (w *Way) listen() string {
	if !w.Listen.IsValid() {
		return w.Relay.Listen.String()
	}
	return w.Listen.String()
}

// target is where the way ends.
func (w *Way) target() string {
	switch {
	case !w.Target.IsValid() && w.Name != "":
		return w.Name
	case !w.Target.IsValid():
		return ""
	}
	return w.Target.String()
}

// unconfigured is the answer to an address and port that no relay has.
func unconfigured(ev *Evidence) []Explanation {
	dialled, err := netip.ParseAddrPort(ev.Asked.Relay)
	if err != nil || len(ev.Ways) > 0 {
		return nil
	}
	e := Explanation{
		ExplanationCode: RelayNotConfigured, Direction: Ingress, Leg: LegClient, Confidence: Certain,
		Component: ComponentRef{ID: dialled.String(), Name: dialled.String()},
		Summary:   fmt.Sprintf("no relay listens on %s, so the host itself refuses or drops what clients send there", dialled),
		Evidence:  []string{fmt.Sprintf("%s has no relay with this address and port", ev.Daemon.Config)},
		Remedy: []string{
			"# correct the port that clients dial, or add a relay to " + ev.Daemon.Config + ":",
			"[[relay]]", `name = "<name>"`, fmt.Sprintf("listen = %q", dialled), `to = ["<address of the server>:<port>"]`, "natctl reload",
		},
	}
	return []Explanation{e}
}
