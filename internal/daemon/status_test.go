package daemon

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"natd/internal/config"
	"natd/internal/control"
	"natd/nat"
)

// patience is how long a test waits for what should happen at once.
const patience = 20 * time.Second

func TestJudgeState(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		relays  []string
		host    []string
		lost    string // why the kernel is not in sync
		state   string
		reasons []string
	}{
		{"nothing to do", nil, nil, "", control.StateReady, []string{}},
		{"one degraded", []string{"relay r1: because"}, nil, "", control.StateDegraded, []string{"relay r1: because"}},
		{"one down", []string{"relay r0: because"}, nil, "", control.StateDegraded, []string{"relay r0: because"}},
		{"host", nil, []string{"conntrack_max"}, "", control.StateDegraded, []string{"conntrack_max"}},
		{
			"not in sync comes first",
			[]string{"relay r0: because"},
			[]string{"host"},
			"EPERM", control.StateFailed,
			[]string{"the kernel does not hold what natd wants: EPERM", "host", "relay r0: because"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := &control.Status{Reasons: append([]string{}, tt.host...), Ruleset: control.Ruleset{InSync: tt.lost == "", LastError: tt.lost}}
			judgeState(s, tt.relays)
			if s.State != tt.state || !slices.Equal(s.Reasons, tt.reasons) {
				t.Errorf("%s %q, want %s %q", s.State, s.Reasons, tt.state, tt.reasons)
			}
		})
	}
}

// TestCensus wants every relay to be counted, those that are asked for to be told, and of too many those that are not well.
func TestCensus(t *testing.T) {
	t.Parallel()
	const n = 1000
	spec := nat.Spec{Relays: make([]nat.Relay, n)}
	refused := make(map[string]string)
	for i := range spec.Relays {
		name := fmt.Sprintf("r%d", i)
		spec.Relays[i] = relay(name, fmt.Sprintf("10.2.0.100:%d", 1000+i))
		spec.Relays[i].Enabled = i%2 == 0
		if i < 40 {
			refused[name] = "because"
		}
	}
	d := &Daemon{
		cfg: &config.Config{NAT: spec}, placed: *placeOn(hostFacts(), &spec, refused), sync: syncState{verified: true}, forwarding: true,
	}
	for name, tt := range map[string]struct {
		which      control.StatusArgs
		told, left int
		first      string
	}{
		"all":               {control.StatusArgs{}, n, 0, "r0"},
		"at most":           {control.StatusArgs{Most: 100}, 20, n - 20, "r0"},
		"fewer":             {control.StatusArgs{Most: 5}, 5, n - 5, "r0"},
		"by name":           {control.StatusArgs{Relay: "r99?", Most: 100}, 10, 0, "r990"},
		"by state":          {control.StatusArgs{State: []string{control.RelayDisabled}}, n / 2, 0, "r1"},
		"by two states":     {control.StatusArgs{State: []string{control.RelayDisabled, control.RelayReady}, Most: 10}, 0, n - 20, ""},
		"by name and state": {control.StatusArgs{Relay: "r1*", State: []string{control.RelayDegraded}}, 5, 0, "r10"},
		"none":              {control.StatusArgs{Relay: "s*"}, 0, 0, ""},
	} {
		s := &control.Status{Ruleset: control.Ruleset{InSync: true}}
		c := &counts{accounting: control.Accounting{Exact: true}}
		d.complete(s, c, d.census(c, &tt.which))
		if len(s.Relays) != tt.told || s.Summary.Left != tt.left || tt.first != "" && s.Relays[0].Name != tt.first {
			t.Errorf("%s: %d are told and %d left, want %d, from %q on, and %d", name, len(s.Relays), s.Summary.Left, tt.told, tt.first, tt.left)
		}
		if states := s.Summary.States; s.Summary.Total != n || states[control.RelayReady] != 480 || states[control.RelayDegraded] != 20 || states[control.RelayDisabled] != n/2 {
			t.Errorf("%s: the summary is %+v", name, s.Summary)
		}
		if want := fmt.Sprintf("and %d more relays", 20-relaysShown); s.State != control.StateDegraded || len(s.Reasons) != relaysShown+1 || s.Reasons[relaysShown] != want {
			t.Errorf("%s: %s %q, want %q at the end", name, s.State, s.Reasons, want)
		}
	}
}

func TestRelayState(t *testing.T) {
	t.Parallel()
	good := func() *Daemon {
		spec := nat.Spec{Relays: []nat.Relay{relay("web", "10.2.0.100:80")}}
		return &Daemon{
			cfg: &config.Config{NAT: spec}, placed: *placeOn(hostFacts(), &spec, nil), sync: syncState{verified: true}, forwarding: true,
		}
	}
	tests := []struct {
		name   string
		change func(*Daemon)
		state  string
		reason string // in part
	}{
		{"ready", func(*Daemon) {}, control.RelayReady, ""},
		{"disabled", func(d *Daemon) { d.cfg.NAT.Relays[0].Enabled = false }, control.RelayDisabled, "enabled = false"},
		{"flushed", func(d *Daemon) { d.flushed = true }, control.RelayDown, "natctl reload"},
		{"not read back", func(d *Daemon) { d.sync = syncState{err: "busy"} }, control.RelayDown, "not in the kernel: busy"},
		{"not placed yet", func(d *Daemon) { d.placed = placed{} }, control.RelayDown, "not in the kernel"},
		{"placed with a reason", func(d *Daemon) { d.placed.relays[0].notef("address %d", 1) }, control.RelayDegraded, "address 1"},
		{"held", func(d *Daemon) { d.placed.relays[0].hold("no route") }, control.RelayDegraded, "no route"},
		{"no forwarding", func(d *Daemon) { d.forwarding = false }, control.RelayDegraded, "does not forward"},
		{"a reason, and no forwarding", func(d *Daemon) { d.forwarding = false; d.placed.relays[0].ail("one is down") }, control.RelayDegraded, "one is down; the host does not forward"},
		{"no forwarding needed", func(d *Daemon) { d.forwarding = false; d.placed.relays[0].backends[0].route.Local = true }, control.RelayReady, ""},
	}
	for used, want := range map[int]string{48383: control.RelayReady, 48384: control.RelayDegraded, 64512: control.RelayDegraded} {
		if state, reason, _ := good().relayState(0, &control.PortUse{Used: used, Max: 64512}); state != want {
			t.Errorf("with %d of 64512 ports in use: %s %q, want %s", used, state, reason, want)
		}
	}
	for _, tt := range tests {
		d := good()
		tt.change(d)
		state, reason, faults := d.relayState(0, nil)
		if here := tt.reason != "" && tt.state != control.RelayDisabled; here != (faults.Host != "") || !strings.Contains(reason, faults.Host) || faults.Target != "" {
			t.Errorf("%s: %q has the faults %+v", tt.name, reason, faults)
		}
		if state != tt.state || !strings.Contains(reason, tt.reason) || (reason == "") != (tt.reason == "") {
			t.Errorf("%s: %s %q, want %s %q", tt.name, state, reason, tt.state, tt.reason)
		}
	}
}

func TestRulesetStatus(t *testing.T) {
	t.Parallel()
	d := &Daemon{sync: syncState{verified: true, repaired: control.Repairs{Ruleset: 1, Host: 1, Network: 1}}, hold: nat.Hold{Protect: nat.ProtectGuard}}
	if r := d.rulesetStatus(); !r.InSync || r.Protect != "guard" || r.DriftRepairs != 3 || r.LastError != "" {
		t.Errorf("verified: %+v", r)
	}
	d.flushed = true
	if r := d.rulesetStatus(); r.InSync || !strings.Contains(r.LastError, "natctl reload") {
		t.Errorf("flushed: %+v", r)
	}
}

func TestHeadline(t *testing.T) {
	t.Parallel()
	d := &Daemon{
		flowlog: &flowLog{},
		cfg:     &config.Config{NAT: nat.Spec{Relays: []nat.Relay{relay("web", "10.2.0.100:80"), relay("ssh", "10.2.0.100:22")}}},
	}
	d.placed = *placeOn(hostFacts(), &d.cfg.NAT, nil)
	check := func(err error, want string) {
		t.Helper()
		if got := d.headline(err); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	check(nil, "2 of 2 relays in the kernel")
	d.placed = *placeOn(hostFacts(), &d.cfg.NAT, map[string]string{"ssh": "taken"})
	check(nil, "1 of 2 relays in the kernel; degraded: relay ssh: taken")
	d.hostProblems = []string{"no forwarding"}
	check(nil, "1 of 2 relays in the kernel; degraded: relay ssh: taken; no forwarding")
	check(errors.New("EPERM"), "failed: EPERM")
}
