package diagnose

import (
	"testing"

	"natd/nat"
)

// possibleCases is what may be a fault of somebody, and is none of the path: each leaves it whole.
func possibleCases() []conclusion {
	return []conclusion{
		{"possible: a filter that depends on a limit", func(_ *Evidence, w *Way) { w.Filters = drops(Forward, false) }, []Code{ForwardDrop}},
		{"possible: a translation that depends on the client", func(_ *Evidence, w *Way) {
			w.Filters = map[Place][]Filter{BeforeDNAT: {{Table: "ip nat", Chain: "PREROUTING", Rule: "dnat", Outcome: "translate"}}}
		}, []Code{NATShadowed}},
		{"possible: another client has its share", func(_ *Evidence, w *Way) {
			w.Relay.MaxPerSource, w.Flows.Crowd = 2, Crowd{addr("10.1.0.9"), 2}
		}, []Code{RelayLimitReached}},
		{"possible: another client has its share, and this one not", func(_ *Evidence, w *Way) {
			w.Client = Client{Addr: addr("10.1.0.100"), How: Asked, Link: "ens5"}
			w.Relay.MaxPerSource, w.Refused.Sources.Grown = 2, 1
		}, []Code{RelayLimitReached}},
		{"possible: somebody is too fast", func(_ *Evidence, w *Way) { w.Relay.Rate.Count, w.Refused.Rate.Grown = 10, 1 }, []Code{RelayLimitReached}},
		{"possible: datagrams that nobody ever answered", func(e *Evidence, w *Way) {
			mute(e)
			w.Protocol, w.Flows.Newest = nat.UDP, seen("UNREPLIED", false, "10.2.0.100:40000", "10.3.0.100:514")
			w.Flows.Unheard = w.Flows.Newest
		}, []Code{TargetNoReply}},
		{"possible: one half open, others well", func(_ *Evidence, w *Way) {
			w.Flows.Newest = seen("SYN_RECV", true, "10.2.0.100:40000", "10.3.0.100:80")
			w.Flows.Stuck, w.Flows.Whole = []Flow{*w.Flows.Newest}, seen("TIME_WAIT", true, "10.2.0.100:40001", "10.3.0.100:80")
			w.Flows.Whole.Client = addrPort("10.1.0.7:40001")
		}, []Code{ReplyNotArrived}},
		{"possible: natd is busy", func(e *Evidence, _ *Way) { stopped(e); e.Daemon.Busy = true }, []Code{DaemonNotRunning}},
		{"possible: strict, and nothing dropped", func(_ *Evidence, w *Way) { w.Entry = &Route{Kind: RouteReversePath} }, []Code{RPFilterDrop}},
	}
}

// TestRemedyInShell wants names that cannot be taken for commands.
func TestRemedyInShell(t *testing.T) {
	t.Parallel()
	ev := well()
	ev.Host.Links[1].Name, ev.Host.Links[1].Up = "a;reboot", false
	ev.Ways[0].Out.Link, ev.Ways[0].Probe = "a;reboot", nil
	if e := foundIn(Conclude(ev))[0]; e.ExplanationCode != EgressDown || e.Remedy[0] != "ip link set 'a;reboot' up" {
		t.Errorf("got %+v", e)
	}
	f := Filter{Table: "ip it's", Chain: "$(reboot)"}
	if got := f.inShell(); got != `ip 'it'\''s' '$(reboot)'` {
		t.Errorf("got %s", got)
	}
}

// TestPossible wants paths that are whole, and a word about what may be.
func TestPossible(t *testing.T) {
	t.Parallel()
	for _, tt := range possibleCases() {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ev := well()
			tt.make(ev, &ev.Ways[0])
			r := Conclude(ev)
			wantFound(t, r, tt.want)
			if !r.NetworkPathFound {
				t.Errorf("the path is broken: %+v", foundIn(r))
			}
		})
	}
}
