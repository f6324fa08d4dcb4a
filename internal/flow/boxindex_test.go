package flow

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"natd/nat"
)

// TestJudgeOfManyBoxes wants the look at a connection not to grow with the statics and gateways that there are: each connection of
// a full table is looked at by the goroutine that owns the kernel.
func TestJudgeOfManyBoxes(t *testing.T) {
	t.Parallel()
	few, many := judging(t, 10), judging(t, 10_000)
	for range 4 {
		few, many = min(few, judging(t, 10)), min(many, judging(t, 10_000))
	}
	// Gone through one by one, that is a thousand times as long.
	if many > 20*few {
		t.Errorf("with 10,000 of each it takes %v, with 10 %v", many, few)
	}
}

// judging is how long it takes to judge some connections with many statics and gateways.
func judging(t *testing.T, many int) time.Duration {
	t.Helper()
	const connections = 2000
	spec := new(nat.Spec)
	for i := range many {
		at := func(first byte) netip.Prefix {
			return netip.PrefixFrom(netip.AddrFrom4([4]byte{first, byte(i >> 8), byte(i), 1}), 32)
		}
		spec.Statics = append(spec.Statics, nat.Static{External: at(10), Internal: at(11), Enabled: true})
		spec.Gateways = append(spec.Gateways, nat.Gateway{From: []netip.Prefix{at(12)}, To: prefixes("0.0.0.0/0"), Enabled: true})
	}
	j := &Judge{Spec: spec, Places: new(nat.Placements), Index: nat.NewIndex(spec, nil), Gone: Boxes(spec)}
	outside := masqueraded(nat.UDP, "10.1.0.100:4000", "10.9.0.1:53")
	last := masqueraded(nat.UDP, fmt.Sprintf("12.%d.%d.1:4000", (many-1)>>8, (many-1)&255), "10.9.0.1:53")
	j.Gateway(last) // the first look makes the index
	j.Condemned(outside)
	began := time.Now()
	for range connections {
		if s, g, why := j.Static(outside), j.Gateway(outside), j.Condemned(outside); s != nil || g != nil || why != "" {
			t.Fatalf("a connection of nobody belongs to %v and %v, %q", s, g, why)
		}
		if g := j.Gateway(last); g != &spec.Gateways[many-1] {
			t.Fatalf("a connection of the last gateway belongs to %v", g)
		}
	}
	return time.Since(began)
}
