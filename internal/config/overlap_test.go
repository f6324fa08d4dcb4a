package config

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
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

// TestManyStatics would take minutes if each were compared with each.
func TestManyStatics(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&b, "[[static]]\nname = \"s%d\"\nexternal = \"10.%d.%d.%d\"\ninternal = \"172.16.%d.%d\"\n", i, i>>16, i>>8&255, i&255, i>>8&255, i&255)
		fmt.Fprintf(&b, "[[gateway]]\nname = \"g%d\"\nfrom = [\"fd00::%x\", \"10.128.%d.%d\"]\n", i, i, i>>8&255, i&255)
	}
	b.WriteString("[[static]]\nname = \"last\"\nexternal = \"10.0.0.0/30\"\ninternal = \"172.17.0.0/30\"\n")
	start := time.Now()
	_, err := Parse("natd.toml", []byte(b.String()))
	want := `natd.toml:140003: static "last": external = "10.0.0.0/30": 10.0.0.0/30 for clients from 0.0.0.0/0 overlaps with ` +
		`10.0.0.0/32 from 0.0.0.0/0 of static "s0" (line 1): an address can become one other only; use other addresses, or give each clients of its own in from`
	if err == nil || err.Error() != want {
		t.Errorf("Parse = %v\nwant %s", err, want)
	}
	if took := time.Since(start); took > 30*time.Second {
		t.Errorf("it took %s", took)
	}
}
