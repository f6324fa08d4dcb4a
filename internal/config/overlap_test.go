package config

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

// TestEachOverlapAgainstPairs compares with the plain comparison of each pair.
func TestEachOverlapAgainstPairs(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 4))
	overlapping := 0
	for range 5000 {
		all := randomRegions(rng)
		inAPair := make(map[int]bool)
		eachOverlap(all, func(a, b *region) {
			inAPair[a.owner], inAPair[b.owner] = true, true
			if a.owner == b.owner || !meet(a, b) {
				t.Fatalf("%v and %v are told to overlap", *a, *b)
			}
		})
		overlapping += checkTold(t, all, inAPair)
	}
	if overlapping < 1000 {
		t.Errorf("only %d overlaps were tried", overlapping)
	}
}

// checkTold wants one of any two regions that overlap to be told, and counts them.
func checkTold(t *testing.T, all []region, told map[int]bool) (overlapping int) {
	t.Helper()
	for i := range all {
		for j := range i {
			a, b := &all[i], &all[j]
			if !meet(a, b) {
				continue
			}
			overlapping++
			if !told[a.owner] && !told[b.owner] {
				t.Fatalf("%v and %v overlap, and neither is told, of %v", *a, *b, all)
			}
		}
	}
	return overlapping
}

// randomRegions is gateways with a box each, some with an egress.
func randomRegions(rng *rand.Rand) []region {
	all := make([]region, 2+rng.IntN(5))
	network := func() netip.Prefix {
		bits := 28 + rng.IntN(5)
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(rng.IntN(16))}), bits).Masked()
	}
	for i := range all {
		all[i] = region{box: box{network(), network()}, owner: i, holds: []string{""}, against: []string{"", "*"}}
		if egress := rng.IntN(3); egress > 0 {
			name := fmt.Sprintf("ens%d", egress)
			all[i].holds, all[i].against = []string{name, "*"}, []string{name, ""}
		}
	}
	return all
}

func meet(a, b *region) bool {
	differ := a.holds[0] != "" && b.holds[0] != "" && a.holds[0] != b.holds[0]
	return !differ && a.box[0].Overlaps(b.box[0]) && a.box[1].Overlaps(b.box[1])
}

// TestManyRegions would take minutes if each were compared with each.
func TestManyRegions(t *testing.T) {
	t.Parallel()
	const n = 100_000
	place := []string{""}
	all := make([]region, 0, n+1)
	for i := range n {
		host := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		all = append(all, region{box{netip.PrefixFrom(host, 32), everywhere(ipv4)}, i, place, place})
	}
	all = append(all, region{box{netip.MustParsePrefix("10.0.0.0/32"), netip.MustParsePrefix("10.1.0.0/16")}, n, place, place})
	start, pairs := time.Now(), 0
	eachOverlap(all, func(a, b *region) {
		if pairs++; a.owner != n || b.owner != 0 {
			t.Errorf("%v and %v", a, b)
		}
	})
	if pairs != 1 {
		t.Errorf("%d overlaps, want 1", pairs)
	}
	if took := time.Since(start); took > 30*time.Second {
		t.Errorf("it took %s", took)
	}
}
