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
	relays := func(states ...string) []control.Relay {
		var all []control.Relay
		for i, state := range states {
			all = append(all, control.Relay{Name: fmt.Sprintf("r%d", i), State: state, Reason: "because"})
		}
		return all
	}
	tests := []struct {
		name    string
		relays  []control.Relay
		host    []string
		lost    string // why the kernel is not in sync
		state   string
		reasons []string
	}{
		{"nothing to do", nil, nil, "", control.StateReady, []string{}},
		{"all ready", relays(control.RelayReady, control.RelayReady), nil, "", control.StateReady, []string{}},
		{"disabled is as wanted", relays(control.RelayReady, control.RelayDisabled), nil, "", control.StateReady, []string{}},
		{"one degraded", relays(control.RelayReady, control.RelayDegraded), nil, "", control.StateDegraded, []string{"relay r1: because"}},
		{"one down", relays(control.RelayDown), nil, "", control.StateDegraded, []string{"relay r0: because"}},
		{"host", relays(control.RelayReady), []string{"conntrack_max"}, "", control.StateDegraded, []string{"conntrack_max"}},
		{
			"not in sync comes first", relays(control.RelayDown),
			[]string{"host"},
			"EPERM", control.StateFailed,
			[]string{"the kernel does not hold what natd wants: EPERM", "host", "relay r0: because"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := &Daemon{hostProblems: tt.host, flowlog: &flowLog{}}
			s := &control.Status{Relays: tt.relays, Reasons: []string{}, Ruleset: control.Ruleset{InSync: tt.lost == "", LastError: tt.lost}}
			d.judgeState(s)
			if s.State != tt.state || !slices.Equal(s.Reasons, tt.reasons) {
				t.Errorf("%s %q, want %s %q", s.State, s.Reasons, tt.state, tt.reasons)
			}
		})
	}
}

func TestJudgeStateIsShort(t *testing.T) {
	t.Parallel()
	s := &control.Status{Ruleset: control.Ruleset{InSync: true}, Relays: make([]control.Relay, 100_000)}
	for i := range s.Relays {
		s.Relays[i].State = control.RelayDegraded
	}
	(&Daemon{flowlog: &flowLog{}}).judgeState(s)
	if want := fmt.Sprintf("and %d more relays", 100_000-relaysShown); len(s.Reasons) != relaysShown+1 || s.Reasons[relaysShown] != want {
		t.Errorf("%d reasons, the last is %q, want %q", len(s.Reasons), s.Reasons[len(s.Reasons)-1], want)
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
