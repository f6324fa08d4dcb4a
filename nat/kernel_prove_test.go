package nat

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"natd/internal/lab"
)

// pass is what natd does with a table that it knows: it computes, applies and proves a plan without reading the whole. before is done by
// another between the two.
func (m *machine) pass(want *Ruleset, have *Table, before func()) (*Plan, *Table, error) {
	m.t.Helper()
	p := Diff(want, have, m.hold)
	if !p.ByKey() {
		m.t.Fatalf("the plan is not by key: %q", p.Steps(10))
	}
	lab.Check(m.t, m.Counts(p))
	lab.Check(m.t, m.Apply(p, have.Generation, m.hold))
	if before != nil {
		before()
	}
	known, err := m.Prove(p, have.Generation, m.hold)
	return p, known, err
}

// known brings the ruleset into the kernel and returns the table as it was proved.
func (m *machine) known(want *Ruleset) *Table {
	m.t.Helper()
	have := m.read()
	p := Diff(want, have, m.hold)
	lab.Check(m.t, m.Apply(p, have.Generation, m.hold))
	known, err := m.Prove(p, have.Generation, m.hold)
	lab.Check(m.t, err)
	return known
}

// agrees asserts that the table that is known is the one that the kernel has.
func (m *machine) agrees(known *Table) {
	m.t.Helper()
	have := m.read()
	if p := Diff(&known.Ruleset, have, m.hold); !p.Empty() || len(p.Retired) > 0 {
		m.t.Errorf("what is known differs from what is there by %q and %d listens", p.Steps(10), len(p.Retired))
	}
	if p := Diff(&have.Ruleset, known, m.hold); !p.Empty() || len(p.Retired) > 0 {
		m.t.Errorf("what is there differs from what is known by %q and %d listens", p.Steps(10), len(p.Retired))
	}
	if known.Generation != have.Generation || known.Flags != have.Flags || known.Owner != have.Owner || known.Guard != have.Guard {
		m.t.Errorf("known is %+v, there is %+v", header{known.Exists, known.Flags, known.Owner}, header{have.Exists, have.Flags, have.Owner})
	}
}

// Change follows change without the whole being read, from each scenario to each other one that has the same table.
func TestProveByKey(t *testing.T) {
	t.Parallel()
	for _, protect := range []Protect{ProtectOff, ProtectGuard, ProtectOwn} {
		t.Run(protect.String(), func(t *testing.T) {
			t.Parallel()
			m := newMachine(t, protect)
			known := m.known(build(web()))
			for name, s := range m.scenarios() {
				want := s.build()
				p, next, err := m.pass(want, known, nil)
				if err != nil {
					t.Fatalf("to %s: %v", name, err)
				}
				m.agrees(next)
				if release := p.Release(); !release.Empty() {
					lab.Check(t, m.Apply(release, next.Generation, m.hold))
					generation := next.Generation
					next, err = m.Prove(release, generation, m.hold)
					lab.Check(t, err)
					m.agrees(next)
				}
				if p := Diff(want, next, m.hold); !p.Empty() || len(p.Retired) > 0 {
					t.Errorf("after %s it still takes %q", name, p.Steps(10))
				}
				known = next
			}
		})
	}
}

// What another does between a change and its proof is never taken for natd's work.
func TestProveSeesOthers(t *testing.T) {
	t.Parallel()
	m := newMachine(t, ProtectOff)
	ssh := relayOf("ssh", 22, "10.3.0.1")
	for name, script := range map[string]string{
		"another table":          "add table inet other",
		"the new element":        "delete element inet natd listens4 { 10.2.0.100 . tcp . 22 }",
		"an element that stands": "delete element inet natd listens4 { 10.2.0.100 . tcp . 80 }",
		"everything":             "flush ruleset",
	} {
		known := m.known(build(web()))
		_, next, err := m.pass(build(web(), ssh), known, func() { m.nft(script) })
		if !errors.Is(err, ErrStale) {
			t.Errorf("%s: %v, want %v", name, err, ErrStale)
		}
		if name == "another table" {
			if !errors.Is(err, ErrLater) {
				t.Errorf("%s: %v, want %v", name, err, ErrLater)
			}
			m.agrees(next) // with those who know that it was another table
		}
		known = m.known(build())
		lab.Check(t, m.Release(Diff(build(), known, m.hold).Retired))
	}
}

// What the others do beside a table that natd owns does not matter to its proof.
func TestProveOfAnOwnedTable(t *testing.T) {
	t.Parallel()
	m := newMachine(t, ProtectOwn)
	known := m.known(build(web()))
	_, next, err := m.pass(build(web(), relayOf("ssh", 22, "10.3.0.1")), known, func() { m.nft("add table inet other") })
	lab.Check(t, err)
	m.agrees(next)
}

// A change that the kernel did not make as it was meant is found, whatever the generation says.
func TestProveFindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	m := newMachine(t, ProtectOff)
	one, other := build(web()), build(relayOf("web", 80, "10.3.0.9"), relayOf("ssh", 22, "10.3.0.1"))
	for want, spoil := range map[string]func(*Plan){
		"lacks":     func(p *Plan) { c := p.change("snat4"); c.add = c.add[1:] },
		"still has": func(p *Plan) { c := p.change("targets4"); c.del = nil },
		"relays4 has 10.2.0.100 . tcp . 22 comment \"ssh\" : 192.0.2.1 . 1": func(p *Plan) {
			p.change("relays4").add[0].Value = Value(appendTarget(nil, netip.MustParseAddrPort("192.0.2.1:1")))
		},
	} {
		known := m.known(one)
		lab.Check(t, m.Release(Diff(one, known, m.hold).Retired))
		known = m.read()
		spoiled := Diff(other, known, m.hold)
		spoil(spoiled)
		lab.Check(t, m.Apply(spoiled, known.Generation, m.hold))
		_, err := m.Prove(Diff(other, known, m.hold), known.Generation, m.hold)
		if !errors.Is(err, ErrStale) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want that it %s", err, want)
		}
	}
}

// The counters of elements that go are read when they are needed, and the new ones count on.
func TestCountsByKey(t *testing.T) {
	t.Parallel()
	m := newMachine(t, ProtectOff)
	want := build(web())
	m.bring(want)
	m.nft("delete element inet natd relays4 { 10.2.0.100 . tcp . 80 }\n" +
		`add element inet natd relays4 { 10.2.0.100 . tcp . 80 counter packets 12 bytes 720 comment "web" : 10.3.0.100 . 80 }`)
	known := m.known(want)
	for i := range known.Sets { // as Prove of a small plan leaves it
		known.Sets[i].Elements = want.set(t, known.Sets[i].Name).Elements
	}
	moved := build(relayOf("web", 80, "10.3.0.9"))
	_, next, err := m.pass(moved, known, nil)
	lab.Check(t, err)
	if n := m.read().Connections().Relays["web"]; n != 12 {
		t.Errorf("with another backend the relay counts %d connections, want 12", n)
	}
	several := build(relayOf("web", 80, "10.3.0.9", also(1, "10.3.0.8")))
	if _, _, err = m.pass(several, next, nil); err != nil {
		t.Fatal(err)
	}
	if n := m.read().Connections().Relays["web"]; n != 12 {
		t.Errorf("with several backends the relay counts %d connections, want 12", n)
	}
}

// The counters of some relays, and of all that is no relay, are what nft says; those of others are not asked for.
func TestCountedByKey(t *testing.T) {
	t.Parallel()
	m := newMachine(t, ProtectOff)
	want := scenario{
		relays: []Relay{
			relayOf("web", 80, "10.3.0.100", func(r *Relay) { r.MaxConnections = 9 }), relayOf("two", 81, "10.3.0.100", also(1, "10.3.0.101")), relayOf("ssh", 22, "10.3.0.1"),
		},
		gateways: []Gateway{{Name: "private", From: prefixes("10.100.20.0/24"), To: prefixes("0.0.0.0/0"), Enabled: true}},
		statics:  []Static{{Name: "one", External: prefixes("10.2.65.1/32")[0], Internal: prefixes("10.3.0.9/32")[0], From: prefixes("0.0.0.0/0"), Enabled: true}},
	}.build()
	m.bring(want)
	for i, replace := range []string{
		`relays4 { 10.2.0.100 . tcp . 80 %s : 10.3.0.100 . 80 }`, `relays4 { 10.2.0.100 . tcp . 22 %s : 10.3.0.1 . 22 }`,
		`refused4_connections { 10.2.0.100 . tcp . 80 %s }`,
	} {
		key, _, _ := strings.Cut(replace, " %s")
		m.nft(fmt.Sprintf("delete element inet natd %s }\nadd element inet natd %s", key, fmt.Sprintf(replace, fmt.Sprintf("counter packets %d bytes 60", 12+i))))
	}
	have, err := m.Counted(want, func(relay string) bool { return relay == "web" || relay == "two" })
	lab.Check(t, err)
	if got := have.Connections(); got.Relays["web"] != 12 || len(got.Relays) != 1 {
		t.Errorf("counted are %+v, want 12 of web alone", got)
	}
	if got := have.Refused(); got["web"] != (Refusals{Connections: 14}) {
		t.Errorf("refused are %+v, want 14 of web", got)
	}
	names := make(map[string]bool)
	have.counted(func(_ string, e *Element) { names[e.Comment] = true })
	if !names["two"] || names["ssh"] || !names["gateway private"] || !names["static one"] {
		t.Errorf("asked was for %v", names)
	}
	if generation, err := m.Generation(); err != nil || have.Generation != generation {
		t.Errorf("they are of generation %d, it is %d (%v)", have.Generation, generation, err)
	}
	m.nft("delete table inet natd")
	if have, err = m.Counted(want, func(string) bool { return true }); err != nil || len(have.Connections().Relays) > 0 {
		t.Errorf("of no table are counted %+v (%v)", have.Connections(), err)
	}
}
