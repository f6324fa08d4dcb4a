package nat

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestStepsUpToALimit(t *testing.T) {
	t.Parallel()
	all := everything("make table inet natd")
	p := Diff(build(web()), &Table{}, Hold{Protect: ProtectOff})
	for _, c := range []struct {
		limit int
		want  []string
	}{
		{0, []string{"and 14 more"}},
		{1, []string{all[0], "and 13 more"}},
		{13, append(all[:13:13], "and 1 more")},
		{14, all},
		{15, all},
	} {
		if diff := cmp.Diff(c.want, p.Steps(c.limit)); diff != "" {
			t.Errorf("Steps(%d) (-want +got):\n%s", c.limit, diff)
		}
	}
}

func TestStepsOfNothing(t *testing.T) {
	t.Parallel()
	if got := new(Plan).Steps(0); got != nil {
		t.Errorf("an empty plan has the steps %q", got)
	}
}

// A plan is a description: encoding it twice says the same twice.
func TestEncodeIsRepeatable(t *testing.T) {
	t.Parallel()
	p := Diff(build(web(from(clientNet), logged)), asTable(build(web())), Hold{ProtectGuard, ours})
	if first, second := encoded(p), encoded(p); !cmp.Equal(first, second) {
		t.Error("the second encoding differs from the first")
	}
}

func TestConnections(t *testing.T) {
	t.Parallel()
	r := build(web(from(clientNet, "10.9.9.9/32"), protocols(TCP, UDP)), relayOf("ssh", 22, "10.3.0.1"))
	for i := range r.Sets {
		for j := range r.Sets[i].Elements {
			r.Sets[i].Elements[j].Count = &Count{Packets: 10}
		}
	}
	if diff := cmp.Diff(map[string]uint64{"web": 40, "ssh": 10}, r.Connections().Relays); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestListens(t *testing.T) {
	t.Parallel()
	want := []Endpoint{endpoint(hostAddr, TCP, 80), endpoint(hostAddr, UDP, 80)}
	if diff := cmp.Diff(want, build(web(protocols(TCP, UDP))).Listens(), cmp.Comparer(func(a, b Endpoint) bool { return a == b })); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := new(Ruleset).Listens(); got != nil {
		t.Errorf("an empty table listens on %v", got)
	}
}

// TestStepsOfChains wants the chains that take turns in one line: there are eight for each number of backends.
func TestStepsOfChains(t *testing.T) {
	t.Parallel()
	turns := []Chain{{Name: "turn3_0", Rules: make([]Rule, 1)}, {Name: "turn3_1", Rules: make([]Rule, 1)}, {Name: "turn3_2", Rules: make([]Rule, 1)}}
	base := Chain{Name: "prerouting", Type: "nat", Rules: make([]Rule, 2)}
	for _, c := range []struct {
		plan Plan
		want []string
	}{
		{Plan{newChains: turns, rewriteRules: append(slices.Clone(turns), base)}, []string{"set up 3 chains, turn3_0 to turn3_2", "write 2 rules of chain prerouting"}},
		{Plan{rewriteRules: turns[:1]}, []string{"write 1 rule of chain turn3_0"}},
		{Plan{oldChains: turns}, []string{"delete 3 chains, turn3_0 to turn3_2"}},
		{Plan{oldChains: turns[:1]}, []string{"delete chain turn3_0"}},
	} {
		if got := c.plan.Steps(10); !slices.Equal(got, c.want) {
			t.Errorf("steps %q, want %q", got, c.want)
		}
	}
}
