package nat

import (
	"fmt"
	"reflect"
	"testing"
	"time"
)

// A ruleset is the same in however many parts its relays are built.
func TestBuildInParts(t *testing.T) {
	t.Parallel()
	all := scenarios()
	many := scenario{}
	for i := range 50 {
		r := relayOf(fmt.Sprintf("r%d", i), uint16(1000+i), fmt.Sprintf("10.3.0.%d", 1+i%7), limitsOfTest(i))
		if i%3 == 0 {
			r.Backends = append(r.Backends, Backend{Addr: addr("10.3.1.1"), Ports: r.Backends[0].Ports, Weight: 2})
		}
		if i%4 == 0 {
			r.From = prefixes(fmt.Sprintf("10.%d.0.0/%d", i, 16+i%8))
		}
		many.relays = append(many.relays, r)
	}
	all["many"] = many
	for name, s := range all {
		spec, places := s.placed()
		want := buildIn(1, spec, places)
		for _, parts := range []int{2, 3, 7} {
			got := buildIn(parts, spec, places)
			if a, b := text(t, want), text(t, got); a != b {
				t.Fatalf("%s in %d parts is\n%s, want\n%s", name, parts, b, a)
			}
			if !reflect.DeepEqual(want, got) {
				t.Errorf("%s in %d parts differs", name, parts)
			}
		}
	}
}

func limitsOfTest(i int) func(*Relay) {
	return func(r *Relay) {
		if i%5 == 0 {
			r.MaxConnections = i + 1
		}
		if i%11 == 0 {
			r.Rate = Rate{i + 1, time.Second}
		}
	}
}
