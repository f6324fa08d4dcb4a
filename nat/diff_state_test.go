package nat

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// count gives the first element of a set a counter.
func count(have *Table, set string, packets, bytes uint64) {
	find(have.Sets, set).Elements[0].Count = &Count{packets, bytes}
}

func TestCountersAreCarriedOver(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		want  *Ruleset
		spoil func(*Table)
		count *Count
	}{
		"when a value changes":       {build(web(backendPort(8080))), func(*Table) {}, &Count{12, 720}},
		"when the table is replaced": {build(web()), func(have *Table) { have.Flags = 1 }, &Count{12, 720}},
		"but not to another relay":   {build(relayOf("www", 80, "10.3.0.100")), func(*Table) {}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			have := asTable(build(web()))
			count(have, "relays4", 12, 720)
			c.spoil(have)
			p := Diff(c.want, have, Hold{Protect: ProtectOff})
			added := slices.Concat(elementsAdded(p, "relays4"), elementsMade(p, "relays4"))
			if len(added) != 1 || !reflect.DeepEqual(added[0].Count, c.count) {
				t.Errorf("%s is given %+v, want the count %v", "relays4", added, c.count)
			}
			if made := c.want.set(t, "relays4").Elements[0].Packets(); made != 0 {
				t.Errorf("the wanted ruleset was changed: it counts %d packets", made)
			}
		})
	}
}

func TestCountersOfAnotherKindAreNotCarriedOver(t *testing.T) {
	t.Parallel()
	have := asTable(build(web()))
	count(have, "relays4", 12, 720)
	find(have.Sets, "relays4").Data = nil
	p := Diff(build(web()), have, Hold{Protect: ProtectOff})
	if made := elementsMade(p, "relays4"); made[0].Packets() != 0 {
		t.Errorf("%d packets were taken from a set that is none of natd's", made[0].Packets())
	}
}

func elementsAdded(p *Plan, set string) []Element {
	for _, c := range p.elements {
		if c.set.Name == set {
			return c.add
		}
	}
	return nil
}

func elementsMade(p *Plan, set string) []Element {
	s := find(p.newSets, set)
	if s == nil {
		return nil
	}
	return s.Elements
}

func retired(p *Plan) []string {
	var texts []string
	for i := range p.Retired {
		texts = append(texts, p.Retired[i].Text())
	}
	return texts
}

// Listens that nothing serves stay in the kernel and are handed out, so that their connections can be found.
func TestRetiredListens(t *testing.T) {
	t.Parallel()
	gone := []string{"10.2.0.100:80/tcp (relay web)"}
	for name, c := range map[string]struct {
		want  *Ruleset
		spoil func(*Table)
		gone  []string
	}{
		"none":                        {build(web()), func(*Table) {}, nil},
		"a relay left":                {build(), func(*Table) {}, gone},
		"it left and others came":     {build(relayOf("a", 22, "10.3.0.1"), relayOf("z", 443, "10.3.0.1")), func(*Table) {}, gone},
		"while the table is replaced": {build(relayOf("z", 443, "10.3.0.1")), func(have *Table) { have.Flags = 1 }, gone},
		"the table goes":              {nil, func(*Table) {}, nil},
		"a set of that name that natd did not make": {
			build(relayOf("z", 443, "10.3.0.1")), func(have *Table) { have.Sets[0].Key = []Field{addr4Field()} }, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			have := asTable(build(web()))
			c.spoil(have)
			p := Diff(c.want, have, Hold{Protect: ProtectOff})
			if diff := cmp.Diff(c.gone, retired(p)); diff != "" {
				t.Errorf("retired (-want +got):\n%s", diff)
			}
			made := elementsMade(p, "listens4")
			if p.create && len(made) != len(c.gone)+len(c.want.set(t, "listens4").Elements) {
				t.Errorf("the new set listens on %d endpoints", len(made))
			}
			if !slices.IsSortedFunc(made, func(a, b Element) int { return strings.Compare(string(a.Key), string(b.Key)) }) {
				t.Error("the listens of the new set are not in order")
			}
		})
	}
}

// A plan that only waits for a retired listen to be released changes nothing.
func TestRetiredListensAreNoSteps(t *testing.T) {
	t.Parallel()
	have := asTable(build())
	have.Sets[0].Elements = build(web()).Sets[0].Elements
	p := Diff(build(), have, Hold{Protect: ProtectOff})
	if !p.Empty() || len(p.Retired) != 1 {
		t.Errorf("plan %q with %d retired, want none with 1", p.Steps(5), len(p.Retired))
	}
}

func TestWalk(t *testing.T) {
	t.Parallel()
	list := func(keys string) []Element {
		var elements []Element
		for _, k := range []byte(keys) {
			elements = append(elements, Element{Key: Key(string(rune(k)))})
		}
		return elements
	}
	name := func(e *Element) string {
		if e == nil {
			return "-"
		}
		return string(e.Key[:1])
	}
	for _, c := range []struct{ want, have, pairs string }{
		{"", "", ""},
		{"abc", "", "a- b- c- "},
		{"", "abc", "-a -b -c "},
		{"abc", "abc", "aa bb cc "},
		{"ace", "bdf", "a- -b c- -d e- -f "},
		{"abx", "bcx", "a- bb -c xx "},
		{"b", "abc", "-a bb -c "},
	} {
		pairs := ""
		walk(list(c.want), list(c.have), func(w, h *Element) { pairs += name(w) + name(h) + " " })
		if pairs != c.pairs {
			t.Errorf("walk(%q, %q) = %q, want %q", c.want, c.have, pairs, c.pairs)
		}
	}
}
