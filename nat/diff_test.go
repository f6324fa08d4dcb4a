package nat

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// diffCase is what is in the kernel, what is wanted, and the steps between them.
type diffCase struct {
	want  *Ruleset
	have  func(*Table) // changes the table that holds build(web)
	hold  Hold
	steps []string
}

func web(edits ...func(*Relay)) Relay { return relayOf("web", 80, "10.3.0.100", edits...) }

func (c diffCase) run(t *testing.T) {
	t.Helper()
	have := asTable(build(web()))
	if c.have != nil {
		c.have(have)
	}
	if c.hold.Protect == ProtectAuto {
		c.hold.Protect = ProtectOff
	}
	p := Diff(c.want, have, c.hold)
	if diff := cmp.Diff(c.steps, p.Steps(50)); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
	if p.Empty() != (len(c.steps) == 0) {
		t.Errorf("Empty() = %v with the steps %q", p.Empty(), p.Steps(50))
	}
}

func runDiffCases(t *testing.T, cases map[string]diffCase) {
	t.Helper()
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.run(t)
		})
	}
}

func TestDiffOfElements(t *testing.T) {
	t.Parallel()
	runDiffCases(t, map[string]diffCase{
		"the same": {want: build(web())},
		"a relay more": {want: build(web(), relayOf("ssh", 22, "10.3.0.101")), steps: []string{
			`add to listens4 { 10.2.0.100 . tcp . 22 comment "ssh" }`,
			`add to relays4 { 10.2.0.100 . tcp . 22 comment "ssh" : 10.3.0.101 . 22 }`,
			`add to snat4 { 10.2.0.100 . tcp . 22 . 10.3.0.101 comment "ssh" : 10.2.0.100 }`,
			`add to targets4 { 10.3.0.101 . tcp . 22 comment "ssh" }`,
		}},
		"a relay less": {want: build(), steps: []string{
			`delete from relays4 { 10.2.0.100 . tcp . 80 comment "web" : 10.3.0.100 . 80 }`,
			`delete from snat4 { 10.2.0.100 . tcp . 80 . 10.3.0.100 comment "web" : 10.2.0.100 }`,
			`delete from targets4 { 10.3.0.100 . tcp . 80 comment "web" }`,
		}},
		"another backend: the kernel changes no value in place": {want: build(web(backendPort(8080))), steps: []string{
			`delete from relays4 { 10.2.0.100 . tcp . 80 comment "web" : 10.3.0.100 . 80 }`,
			`add to relays4 { 10.2.0.100 . tcp . 80 comment "web" : 10.3.0.100 . 8080 }`,
			`delete from targets4 { 10.3.0.100 . tcp . 80 comment "web" }`,
			`add to targets4 { 10.3.0.100 . tcp . 8080 comment "web" }`,
		}},
		"another name": {want: build(relayOf("www", 80, "10.3.0.100")), steps: []string{
			`delete from listens4 { 10.2.0.100 . tcp . 80 comment "web" }`,
			`add to listens4 { 10.2.0.100 . tcp . 80 comment "www" }`,
			`delete from relays4 { 10.2.0.100 . tcp . 80 comment "web" : 10.3.0.100 . 80 }`,
			`add to relays4 { 10.2.0.100 . tcp . 80 comment "www" : 10.3.0.100 . 80 }`,
			`delete from snat4 { 10.2.0.100 . tcp . 80 . 10.3.0.100 comment "web" : 10.2.0.100 }`,
			`add to snat4 { 10.2.0.100 . tcp . 80 . 10.3.0.100 comment "www" : 10.2.0.100 }`,
			`delete from targets4 { 10.3.0.100 . tcp . 80 comment "web" }`,
			`add to targets4 { 10.3.0.100 . tcp . 80 comment "www" }`,
		}},
		"narrowed to a source": {want: build(web(from(clientNet))), steps: []string{
			"make set relays4_from16 with 1 element",
			`delete from relays4 { 10.2.0.100 . tcp . 80 comment "web" : 10.3.0.100 . 80 }`,
			"write 2 rules of chain prerouting",
		}},
		"logged": {want: build(web(logged)), steps: []string{
			"make set logged4 with 1 element",
			"write 2 rules of chain prerouting",
		}},
	})
}

func TestDiffOfSetsNoLongerNeeded(t *testing.T) {
	t.Parallel()
	had := func(edit func(*Relay)) func(*Table) {
		return func(have *Table) { *have = *asTable(build(web(edit))) }
	}
	runDiffCases(t, map[string]diffCase{
		"the last source of a prefix length": {want: build(web(from("10.1.2.0/24"))), have: had(from(clientNet)), steps: []string{
			"make set relays4_from24 with 1 element",
			"write 2 rules of chain prerouting",
			"delete set relays4_from16",
		}},
		"the last logged relay": {want: build(web()), have: had(logged), steps: []string{
			"write 1 rule of chain prerouting",
			"delete set logged4",
		}},
	})
}

func TestDiffOfChains(t *testing.T) {
	t.Parallel()
	runDiffCases(t, map[string]diffCase{
		"a chain is missing": {
			want: build(web()), have: func(have *Table) { have.Chains = have.Chains[:3] },
			steps: []string{"set up chain input", "write 3 rules of chain input"},
		},
		"another policy": {
			want:  scenario{policy: ForwardOpen, relays: []Relay{web()}}.build(),
			steps: []string{"set the policy of chain forward to accept (was drop)"},
		},
		"a rule is missing": {
			want: build(web()), have: func(have *Table) { have.Chains[1].Rules = have.Chains[1].Rules[1:] },
			steps: []string{"write 2 rules of chain postrouting"},
		},
		"a rule more": {
			want:  build(web()),
			have:  func(have *Table) { have.Chains[0].Rules = append(have.Chains[0].Rules, have.Chains[0].Rules[0]) },
			steps: []string{"write 1 rule of chain prerouting"},
		},
		"rules in another order": {
			want: build(web()), have: func(have *Table) { slices.Reverse(have.Chains[2].Rules) },
			steps: []string{"write 4 rules of chain forward"},
		},
		"a rule with another comment": {
			want: build(web()), have: func(have *Table) { have.Chains[3].Rules[0].Comment = "mine" },
			steps: []string{"write 3 rules of chain input"},
		},
		"a rule that does something else": {
			want: build(web()), have: func(have *Table) { have.Chains[3].Rules[1].canon = "[immediate 1=00000001]" },
			steps: []string{"write 3 rules of chain input"},
		},
		"two chains at once": {
			want:  build(web()),
			have:  func(have *Table) { have.Chains[0].Rules, have.Chains[3].Rules = nil, nil },
			steps: []string{"write 1 rule of chain prerouting", "write 3 rules of chain input"},
		},
	})
}

// everything is the steps that make the table of build(web) with nothing to begin from.
func everything(first string) []string {
	return []string{
		first,
		"make set listens4 with 1 element", "make set listens6 with 0 elements", "make set relays4 with 1 element",
		"make set snat4 with 1 element", "make set targets4 with 1 element",
		"set up chain prerouting", "set up chain postrouting", "set up chain forward", "set up chain input",
		"write 1 rule of chain prerouting", "write 2 rules of chain postrouting",
		"write 4 rules of chain forward", "write 3 rules of chain input",
	}
}

// What cannot be mended piece by piece is made anew, with the cause in the step.
func TestDiffOfTables(t *testing.T) {
	t.Parallel()
	cases := map[string]diffCase{
		"no table wanted":             {steps: []string{"delete table inet natd"}},
		"no table wanted, none there": {have: func(have *Table) { *have = Table{} }},
	}
	for reason, have := range map[string]func(*Table){
		"": func(have *Table) { *have = Table{} },
		"it has 2 objects or flowtables that are not natd's": func(have *Table) { have.Others = 2 },
		"its flags are 0x1 and should be 0x0":                func(have *Table) { have.Flags = 1 },
		"its flags are 0x6 and should be 0x0":                func(have *Table) { have.Flags = flagOwner | flagPersist },
		"it has a chain mine that is not natd's":             func(have *Table) { have.Chains = append(have.Chains, Chain{Name: "mine"}) },
		"its chain forward hangs at another hook":            func(have *Table) { have.Chains[2].Priority = 10 },
		"its chain prerouting hangs at another hook":         func(have *Table) { have.Chains[0].Hook = 3 },
		"its chain input hangs at another hook":              func(have *Table) { have.Chains[3].Type = "nat" },
		"it has a set mine that is not natd's":               func(have *Table) { have.Sets = slices.Insert(have.Sets, 1, Set{Name: "mine"}) },
		"its set relays4 has another type":                   func(have *Table) { find(have.Sets, "relays4").Counter = false },
		"its set snat4 has another type":                     func(have *Table) { find(have.Sets, "snat4").Data = nil },
		"its set targets4 has another type":                  func(have *Table) { find(have.Sets, "targets4").Key = []Field{addr4Field()} },
	} {
		first := "make table inet natd anew: " + reason
		if reason == "" {
			first = "make table inet natd"
		}
		cases[first] = diffCase{want: build(web()), have: have, steps: everything(first)}
	}
	runDiffCases(t, cases)
}
