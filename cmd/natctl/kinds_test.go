package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"natd/internal/control"
	"natd/internal/words"
)

func gateway() control.Gateway {
	return control.Gateway{
		Name: "private", State: control.RelayReady, From: []string{"10.100.20.0/24", "10.100.21.0/24"}, To: []string{"0.0.0.0/0"},
		SNAT: []string{"auto"}, Egress: "auto", Connections: control.Connections{Total: 9, Active: 3}, Bytes: control.Volume{ToTarget: 512},
	}
}

func static() control.Static {
	return control.Static{
		Name: "overlap-c", State: control.RelayDegraded, Reason: "no route", External: "10.2.64.0/24", Internal: "192.168.1.0/24",
		SNAT: []string{"off"}, Connections: control.Connections{Total: 4, Active: 1},
	}
}

// below is what status shows of all that is relayed.
func below(t *testing.T, s control.Status) string {
	t.Helper()
	out := run(t, "status", "--socket", serve(t, &fake{status: s})).stdout
	_, tables, found := strings.Cut(out, "\n\n")
	if !found {
		t.Fatalf("no tables in:\n%s", out)
	}
	return tables
}

func TestStatusOfEveryKind(t *testing.T) {
	t.Parallel()
	s := healthy()
	s.State, s.Host.Forward6 = control.StateDegraded, true
	s.Gateways, s.Statics = []control.Gateway{gateway()}, []control.Static{static()}
	s.Reasons = []string{"static overlap-c: no route", "gateway private: x", "relay web: y", "conntrack_max: z"}
	run(t, "status", "--socket", serve(t, &fake{status: s})).want(t, control.CodeDegraded, `
natd degraded  version 1.2.3, up 3 d, pid 812
  reason    conntrack_max: z
  config    /etc/natd/natd.toml, loaded 2 h ago
  host      ip_forward on, ip6_forward on, conntrack 12/262144
  ruleset   in sync (read 3 s ago), protect own, 0 drift repairs

NAME  STATE  LISTEN         PROTO  BACKEND        SNAT        EGRESS  CONNS  TOTAL   BYTES→   BYTES←
web   ready  10.2.0.100:80  tcp    10.3.0.100:80  10.2.0.100  ens5        2     14  1.5 KiB  3.0 GiB

GATEWAY  STATE  FROM               TO         SNAT  EGRESS  CONNS  TOTAL  BYTES→  BYTES←
private  ready  10.100.20.0/24 +1  0.0.0.0/0  auto  auto        3      9   512 B     0 B

STATIC     STATE     EXTERNAL      INTERNAL        FROM  SNAT  CONNS  TOTAL  BYTES→  BYTES←
overlap-c  degraded  10.2.64.0/24  192.168.1.0/24  any   off       1      4     0 B     0 B
  └ no route
`[1:], "")
}

// What is not there has no table, and what is disabled is said once.
func TestStatusOfIdleKinds(t *testing.T) {
	t.Parallel()
	off, asleep := troubled().Relays[2], gateway()
	asleep.State = control.RelayDisabled
	off.Backends = make([]control.Backend, 2) // none of them has a line: they are not in use
	tests := map[string]struct {
		relays   []control.Relay
		gateways []control.Gateway
		statics  []control.Static
		want     string // at the end
		miss     string
	}{
		"a gateway alone":              {nil, []control.Gateway{gateway()}, nil, "   512 B     0 B\n", "NAME"},
		"a static alone":               {nil, nil, []control.Static{static()}, "\n  └ no route\n", "GATEWAY"},
		"a gateway beside idle relays": {[]control.Relay{off}, []control.Gateway{gateway()}, nil, "   512 B     0 B\n", "note"},
		"relays, all idle":             {[]control.Relay{off}, nil, nil, "     0 B     0 B\nnote: every relay is disabled\n", "active"},
		"gateways, all idle":           {nil, []control.Gateway{asleep}, nil, "   512 B     0 B\nnote: every relay, gateway and static is disabled\n", "NAME"},
		"a static beside what is idle": {[]control.Relay{off}, []control.Gateway{asleep}, []control.Static{static()}, "\n  └ no route\n", "note"},
		"nothing":                      {nil, nil, nil, "no relay, gateway or static is configured\n", "NAME"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := healthy()
			s.Relays, s.Gateways, s.Statics = test.relays, test.gateways, test.statics
			got := below(t, s)
			if !strings.HasSuffix(got, test.want) || strings.Contains(got, test.miss) {
				t.Errorf("got:\n%s\nwant at its end %q, and no %q", got, test.want, test.miss)
			}
		})
	}
}

func backend(n int, state string) control.Backend {
	return control.Backend{
		Address: fmt.Sprintf("10.3.0.%d:80", n), State: state, Since: now().Add(-3 * time.Minute),
		Weight: 1, InUse: state == control.BackendUp, Total: uint64(10 * n), Active: uint64(n),
	}
}

func TestStatusOfBackends(t *testing.T) {
	t.Parallel()
	const up, down, draining, unknown = control.BackendUp, control.BackendDown, control.BackendDraining, control.BackendUnknown
	heavy, failed, reserve := backend(1, up), backend(2, down), backend(3, up)
	heavy.Weight, heavy.Name = 2, "c.test"
	failed.Reason = "connection refused"
	reserve.Backup, reserve.InUse = true, false
	forced, active, lost := failed, reserve, control.Backend{Name: "d.test", State: unknown, Reason: "no such name"}
	forced.InUse, active.InUse = true, true
	drained := backend(3, draining)
	drained.Reason = "by natctl drain"
	said := failed
	said.Reason = "every backend is down"

	tests := map[string]struct {
		backends []control.Backend
		want     string // of the relay, without the head
	}{
		"one":                        {[]control.Backend{backend(1, up)}, "10.3.0.1:80\n  └ because every backend is down\n"},
		"one, down":                  {[]control.Backend{failed}, "10.3.0.2:80 down\n  └ because every backend is down\n  └ connection refused\n"},
		"one, and the relay says so": {[]control.Backend{said}, "10.3.0.2:80 down\n  └ because every backend is down\n"},
		"three that are checked": {[]control.Backend{heavy, failed, reserve}, `2/3 up
  └ because every backend is down
  └ 10.3.0.1:80 (c.test)  up               weight 2          1 active  10 total
    10.3.0.2:80           down  for 3 min                    2 active  20 total  connection refused
    10.3.0.3:80           up                         backup  3 active  30 total
`},
		"nobody else is up": {[]control.Backend{forced, active, lost}, `1/3 up
  └ because every backend is down
  └ 10.3.0.2:80  down     for 3 min  in use          2 active  20 total  connection refused
    10.3.0.3:80  up                  backup, in use  3 active  30 total
    d.test       unknown                             0 active   0 total  no such name
`},
		"nobody checks": {[]control.Backend{backend(1, unknown), backend(2, unknown)}, `2 backends
  └ because every backend is down
  └ 10.3.0.1:80  1 active  10 total
    10.3.0.2:80  2 active  20 total
`},
		"one is drained": {[]control.Backend{backend(1, unknown), drained}, `2 backends
  └ because every backend is down
  └ 10.3.0.1:80                       1 active  10 total
    10.3.0.3:80  draining  for 3 min  3 active  30 total  by natctl drain
`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := healthy()
			s.Relays = []control.Relay{{Name: "web", State: control.RelayReady, Reason: "because every backend is down", Backends: test.backends}}
			_, got, _ := strings.Cut(below(t, s), "\n")
			cell, rest, _ := strings.Cut(test.want, "\n")
			line, lines, _ := strings.Cut(got, "\n")
			if !strings.Contains(line, "  "+cell+"  ") {
				t.Errorf("no %q in the row %q", cell, line)
			}
			if diff := cmp.Diff(rest, lines); diff != "" {
				t.Errorf("below the row (-want +got):\n%s", diff)
			}
		})
	}
}

// Of a hundred backends a person sees those that are not well, and --json has all of them.
func TestStatusOfManyBackends(t *testing.T) {
	t.Parallel()
	s := healthy()
	web := &s.Relays[0]
	web.Backends = nil
	for i := range 100 {
		web.Backends = append(web.Backends, control.Backend{Address: fmt.Sprintf("10.3.0.%d:80", i), State: control.BackendUp, Weight: 1, InUse: true})
	}
	web.Backends[40].State, web.Backends[70].State, web.Backends[99].State = control.BackendDraining, control.BackendDown, control.BackendDown
	web.Backends[50].Reason = "the name server does not answer"

	got := below(t, s)
	if !strings.Contains(got, "  97/100 up  ") {
		t.Errorf("it is not told how many are up:\n%s", got)
	}
	var first []string
	for line := range strings.Lines(got) {
		for word := range strings.FieldsSeq(line) {
			if strings.HasPrefix(word, "10.3.0.") {
				first = append(first, word)
			}
		}
	}
	want := []string{"70", "99", "40", "50", "0", "1", "2", "3", "4", "5"}
	for i := range want {
		want[i] = "10.3.0." + want[i] + ":80"
	}
	if diff := cmp.Diff(want, first); diff != "" {
		t.Errorf("backends (-want +got):\n%s", diff)
	}
	if !strings.HasSuffix(got, "\n    and 90 more (--json lists them)\n") {
		t.Errorf("it is not told that there are more:\n%s", got)
	}
	doc := run(t, "status", "--json", "--socket", serve(t, &fake{status: s})).document(t)
	if last, _ := at(doc, "relays.0.backends.99.address"); last != "10.3.0.99:80" {
		t.Errorf("the last backend in JSON is %v", last)
	}
}

func TestBackendColours(t *testing.T) {
	t.Parallel()
	parts, _ := backendTable([]control.Backend{{State: control.BackendUp}, {State: control.BackendDraining}, {State: control.BackendDown}}, now())
	whole := table{columns: []column{{title: "NAME"}}}
	whole.add(row{cells: []string{"web"}, parts: parts})
	var b strings.Builder
	whole.write(&b, screen{colour: true})
	want := "NAME\nweb\n" +
		"  └ \x1b[32mup\x1b[0m        0 active  0 total\n" +
		"    \x1b[33mdraining\x1b[0m  0 active  0 total\n" +
		"    \x1b[31mdown\x1b[0m      0 active  0 total\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRelayNotes(t *testing.T) {
	t.Parallel()
	full := control.PortUse{Source: "10.2.0.100", Target: "10.3.0.100:80", Used: 48384, Max: 64512}
	near := full
	near.Used--
	tests := map[string]struct {
		relay control.Relay
		want  []string
	}{
		"nothing":      {control.Relay{}, []string{}},
		"one limit":    {control.Relay{Refused: control.Refused{PerSource: 3}}, []string{"refused new connections: 3 over max_per_source"}},
		"all limits":   {control.Relay{Refused: control.Refused{Connections: 12, PerSource: 3, Rate: 5}}, []string{"refused new connections: 12 over max_connections, 3 over max_per_source, 5 over rate"}},
		"ports":        {control.Relay{Ports: &full}, []string{"48384 of 64512 ports (75 %) from 10.2.0.100 to 10.3.0.100:80 are taken: each further address in snat adds as many"}},
		"ports, below": {control.Relay{Ports: &near}, []string{}},
		"no answer": {
			control.Relay{Name: "web", Connections: control.Connections{Total: 7, Unreplied: 3}},
			[]string{"connections without an answer: 3; natctl connections --relay web"},
		},
		"some answers":  {control.Relay{Connections: control.Connections{Active: 1, Unreplied: 3}}, []string{}},
		"ports, no max": {control.Relay{Ports: &control.PortUse{}}, []string{}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(test.want, words.RelayNotes(&test.relay)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
