package flow

import (
	"net/netip"
	"testing"
	"time"

	"natd/nat"
)

// TestJudgeOfManyBoxes wants the look at a connection not to grow with the statics and gateways that there are: each connection of
// a full table is looked at by the goroutine that owns the kernel.
func TestJudgeOfManyBoxes(t *testing.T) {
	t.Parallel()
	const many, connections = 10_000, 20_000
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
	last := masqueraded(nat.UDP, "12.39.15.1:4000", "10.9.0.1:53")
	began := time.Now()
	for range connections {
		if s, g, why := j.Static(outside), j.Gateway(outside), j.Condemned(outside); s != nil || g != nil || why != "" {
			t.Fatalf("a connection of nobody belongs to %v and %v, %q", s, g, why)
		}
		if g := j.Gateway(last); g != &spec.Gateways[many-1] {
			t.Fatalf("a connection of the last gateway belongs to %v", g)
		}
	}
	// Gone through one by one, that is ten times as long.
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("%d connections took %v", connections, took)
	}
}
