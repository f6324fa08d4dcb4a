package diagnose

import (
	"slices"
	"strings"
	"testing"
	"time"

	"natd/internal/firewall"
)

// oldIptables is a chain that no dump shows.
func oldIptables() map[Place][]Filter {
	return map[Place][]Filter{Forward: {{
		Hook: "forward", Table: "ip filter", Chain: "FORWARD", Outcome: "unknown", Owner: firewall.LegacyOwner, Remedy: []string{"iptables-legacy -t filter -S FORWARD"},
	}}}
}

// seenAll is a client that got through, so that no step is left untold.
func seenAll(w *Way) { w.Flows.Newest = seen("TIME_WAIT", true, "10.2.0.100:40000", "10.3.0.100:80") }

// TestStanding wants the heading to claim no more than is known.
func TestStanding(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		make  func(*Evidence, *Way)
		want  Standing
		says  string // in the heading
		sound bool
	}{
		{"whole", func(_ *Evidence, w *Way) { seenAll(w) }, StandsWhole, "", true},
		{"nobody was seen", func(*Evidence, *Way) {}, StandsOpen, "nothing broken was found, and 1 step cannot be told", true},
		{"a chain that cannot be read", func(_ *Evidence, w *Way) { seenAll(w); w.Filters = oldIptables() }, StandsOpen, "1 step cannot be told", true},
		{"what may be", func(_ *Evidence, w *Way) { seenAll(w); w.Filters = drops(Forward, false) }, StandsOpen, "FORWARD_POLICY_DROP (possible): ", true},
		{"natd does not run", func(e *Evidence, w *Way) { stopped(e); seenAll(w) }, StandsAlone, "NATD_NOT_RUNNING (likely): natd does not answer", false},
		{"natd does not run, and a chain cannot be read", func(e *Evidence, w *Way) { stopped(e); seenAll(w); w.Filters = oldIptables() }, StandsOpen, "; NATD_NOT_RUNNING (likely): ", false},
		{"broken", func(_ *Evidence, w *Way) { w.Filters = drops(Forward, true) }, StandsBroken, "FORWARD_POLICY_DROP: chain ip filter FORWARD drops", false},
		{"broken, and natd does not run", func(e *Evidence, w *Way) { stopped(e); w.Probe = refusedBy() }, StandsBroken, "TARGET_REFUSED: ", false},
	} {
		ev := well()
		tt.make(ev, &ev.Ways[0])
		r := Conclude(ev)
		p := r.Paths[0]
		if p.Standing != tt.want || !strings.Contains(p.StatusMessage, tt.says) || (p.StatusMessage == "") != (tt.want == StandsWhole) || r.Sound() != tt.sound {
			t.Errorf("%s: %s, %q, sound %t", tt.name, p.Standing, p.StatusMessage, r.Sound())
		}
		if p.NetworkPathFound != (tt.want != StandsBroken) || r.NetworkPathFound != p.NetworkPathFound {
			t.Errorf("%s: NetworkPathFound is %t, and %t of the path", tt.name, r.NetworkPathFound, p.NetworkPathFound)
		}
		for _, c := range p.ForwardPathComponents {
			if len(c.Explanations) > 0 && c.Explanations[0] == DaemonNotRunning && c.Verdict != Suspect {
				t.Errorf("%s: natd is %s", tt.name, c.Verdict)
			}
		}
	}
}

// TestRefusedShortly wants a word about a limit that was reached a moment ago, and none about one of long ago.
func TestRefusedShortly(t *testing.T) {
	t.Parallel()
	for ago, want := range map[time.Duration]Verdict{time.Second: Suspect, time.Hour: Fine, 0: Fine} {
		ev := well()
		w := &ev.Ways[0]
		w.Relay.Rate.Count, w.Refused.Rate.Total, w.Refused.Ago = 10, 7, ago
		p := Conclude(ev).Paths[0]
		i := slices.IndexFunc(p.ForwardPathComponents, func(c Component) bool { return c.Looked == "the limits of the relay" })
		c := p.ForwardPathComponents[i]
		if c.Verdict != want || !strings.Contains(c.Found, "7 were refused") || len(p.Explanations) > 0 {
			t.Errorf("%v ago: %s, %q, %v", ago, c.Verdict, c.Found, codesOf(p.Explanations))
		}
	}
}

// TestStrictNamed wants the interface in question in the step and the remedy, with the way that would do without the change.
func TestStrictNamed(t *testing.T) {
	t.Parallel()
	ev := well()
	w := &ev.Ways[0]
	ev.Host.ReversePath, w.Entry, w.Client.Link = Growth{Total: 3}, &Route{Kind: RouteReversePath}, "ens6"
	p := Conclude(ev).Paths[0]
	for _, c := range p.ForwardPathComponents {
		if c.Component.ID == "ens5" && strings.Contains(c.Looked, "ens6") {
			t.Errorf("a step about ens5 is headed %q", c.Looked)
		}
	}
	if e := p.Explanations[0]; e.ExplanationCode != RPFilterDrop || !strings.Contains(strings.Join(e.Remedy, "\n"), "ip route replace 10.1.0.0/16 via <gateway on ens5> dev ens5") {
		t.Errorf("got %+v", p.Explanations[0])
	}
}

// TestFlushed wants one cause after a flush, though natd has given back the forwarding that it had turned on.
func TestFlushed(t *testing.T) {
	t.Parallel()
	ev := well()
	ev.Daemon.InSync, ev.Daemon.Flushed, ev.Table.Exists, ev.Host.Forward4, ev.Ways[0].InKernel = false, true, false, false, false
	p := Conclude(ev).Paths[0]
	if len(p.Explanations) != 1 || p.Explanations[0].ExplanationCode != RulesetMissing {
		t.Errorf("got %v", codesOf(p.Explanations))
	}
	for _, c := range p.ForwardPathComponents {
		if c.Component.Name == "forwarding" && c.Verdict != Suspect {
			t.Errorf("forwarding is off, and that is %s", c.Verdict)
		}
	}
}

// TestMessage counts paths by what may be said of them.
func TestMessage(t *testing.T) {
	t.Parallel()
	three := func(standings ...Standing) *Report {
		r := &Report{}
		for _, s := range standings {
			r.Paths = append(r.Paths, Path{Standing: s})
		}
		return r
	}
	for want, r := range map[string]*Report{
		"3 of 3 paths are whole": three(StandsWhole, StandsWhole, StandsWhole),
		"of 3 paths: 1 broken, 1 without a fault that can be seen, 1 whole": three(StandsOpen, StandsWhole, StandsBroken),
		"of 2 paths: 2 working, without natd":                               three(StandsAlone, StandsAlone),
		"there is no relay to look at":                                      {},
		"there is no relay to look at; NATD_NOT_RUNNING (likely): it died":  {Explanations: []Explanation{{ExplanationCode: DaemonNotRunning, Confidence: Likely, Summary: "it died"}}},
	} {
		if got := message(&Evidence{}, r); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// TestHidden concludes what a chain does that cannot be read, from what becomes of clients' packets; and tells where to look.
func TestHidden(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(*Way){
		"nobody tries": func(*Way) {},
		"lost":         func(w *Way) { w.Lost = 2 },
		"watched": func(w *Way) {
			w.Attempt = &Attempt{Transcript: []string{"In IP ..."}, Stage: Arrived, Client: addrPort("10.1.0.100:1")}
		},
	} {
		ev := well()
		w := &ev.Ways[0]
		w.Filters = oldIptables()
		lose(w)
		p := Conclude(ev).Paths[0]
		if name == "nobody tries" {
			if told := strings.Join(p.NotSeen, "\n"); len(p.Explanations) > 0 || !strings.Contains(told, "iptables-legacy -t filter -S FORWARD") {
				t.Errorf("%s: %+v, not seen: %s", name, p.Explanations, told)
			}
			continue
		}
		if e := p.Explanations; len(e) != 1 || e[0].ExplanationCode != ForwardDrop || e[0].Confidence != Likely || e[0].Component.ID != "chain ip filter FORWARD" || len(e[0].Remedy) != 2 {
			t.Errorf("%s: %+v", name, e)
		}
	}
}
