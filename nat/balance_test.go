package nat

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestScaled(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ weights, want []int }{
		{[]int{1, 1, 1}, []int{1, 1, 1}},
		{[]int{100, 100}, []int{1, 1}},
		{[]int{6, 4, 2}, []int{3, 2, 1}},
		{[]int{256, 1}, []int{255, 1}},
		{[]int{256, 255}, []int{128, 128}},
		{[]int{256, 256, 3}, []int{127, 127, 2}},
		{[]int{200, 99, 1}, []int{171, 84, 1}},
	} {
		if diff := cmp.Diff(c.want, scaled(c.weights)); diff != "" {
			t.Errorf("scaled(%v) (-want +got):\n%s", c.weights, diff)
		}
	}
}

// However many targets of whatever weights: never more slots than there are, and one at least for each.
func TestScaledNeverRunsOut(t *testing.T) {
	t.Parallel()
	for n := 2; n <= hashSlots; n += 7 {
		for _, first := range []int{1, 2, 17, 256} {
			weights := slices.Repeat([]int{1}, n)
			weights[0], weights[n-1] = first, 255
			shares, sum := scaled(weights), 0
			for _, s := range shares {
				sum += s
			}
			if sum > hashSlots || slices.Min(shares) < 1 {
				t.Errorf("%d targets, the first of weight %d: %d slots, the least %d", n, first, sum, slices.Min(shares))
			}
		}
	}
}

func TestTurns(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		weights []int
		want    string
	}{
		{[]int{1, 1}, "[0 1]"},
		{[]int{1, 1, 1}, "[0 1 2]"},
		{[]int{5, 1, 1}, "[0 0 1 0 2 0 0]"}, // the example in nginx
		{[]int{2, 1}, "[0 1 0]"},
	} {
		if got := fmt.Sprint(turns(c.weights)); got != c.want {
			t.Errorf("turns(%v) = %s, want %s", c.weights, got, c.want)
		}
	}
}

// hashedTargets are so many targets, the n-th of weight n in turns of three.
func hashedTargets(n int) []Target {
	var targets []Target
	for i := range n {
		targets = append(targets, Target{Addr: addr(fmt.Sprintf("10.3.0.%d", i+1)), Ports: ports(80, 80), Weight: 1 + i%3})
	}
	return targets
}

// Whichever target leaves, its slots move and no others; and it gets back the same ones.
func TestRendezvousMovesNoMore(t *testing.T) {
	t.Parallel()
	for n := 2; n <= 12; n++ {
		targets := hashedTargets(n)
		before := rendezvous(targets)
		for gone := range targets {
			left := slices.Delete(slices.Clone(targets), gone, gone+1)
			for slot, at := range rendezvous(left) {
				was, is := targets[before[slot]].Addr, left[at].Addr
				if was != targets[gone].Addr && was != is {
					t.Errorf("%d targets, %d leaves: slot %d goes from %v to %v", n, gone, slot, was, is)
				}
			}
		}
	}
}

// The order of the targets says nothing, and a target whose weight grows takes slots only for itself.
func TestRendezvousIsOfTheTargetsAlone(t *testing.T) {
	t.Parallel()
	targets := hashedTargets(6)
	before := rendezvous(targets)
	turned := slices.Clone(targets)
	slices.Reverse(turned)
	for slot, at := range rendezvous(turned) {
		if turned[at].Addr != targets[before[slot]].Addr {
			t.Errorf("slot %d depends on the order", slot)
		}
	}
	turned = slices.Clone(targets)
	turned[2].Weight *= 4
	for slot, at := range rendezvous(turned) {
		if at != before[slot] && at != 2 {
			t.Errorf("slot %d goes to %d, whose weight did not change", slot, at)
		}
	}
}

// Slots follow the weights: over many sets of targets, to a tenth of a share.
func TestRendezvousFollowsTheWeights(t *testing.T) {
	t.Parallel()
	got, sets := make([]float64, 3), 200
	for set := range sets {
		var targets []Target
		for i := range got {
			targets = append(targets, Target{Addr: addr(fmt.Sprintf("10.%d.%d.%d", i, set, set%7)), Ports: ports(80, 80), Weight: i + 1})
		}
		for _, at := range rendezvous(targets) {
			got[at]++
		}
	}
	for i, n := range got {
		if want := float64(sets*hashSlots) * float64(i+1) / 6; math.Abs(n-want) > want/10 {
			t.Errorf("weight %d got %.0f slots, want %.0f", i+1, n, want)
		}
	}
}
