package config

import "net/netip"

// box is what an element with two networks in the kernel matches: packets whose one address is in the first, and the other in the second.
type box [2]netip.Prefix

// region is a box that a gateway or a static takes.
type region struct {
	box
	owner   int      // which gateway or static
	holds   []string // where others look for it
	against []string // where it looks for others
}

// scoped is a box in one of the places that regions are held in.
type scoped struct {
	place string
	box
}

// regions finds overlaps without comparing each region with each. Two networks overlap only where one is within the other, so
// all that can overlap a network from above is found by cutting it to the lengths in use.
type regions struct {
	all     []region
	lengths [2][]int       // of the first and the second networks
	whole   map[scoped]int // the first region of each box
	parts   map[scoped]int // the same for boxes with the second network cut to each length
}

// eachOverlap calls found with pairs of regions that overlap and have different owners. It need not tell all pairs, but of any two that
// overlap it tells a pair of at least one.
func eachOverlap(all []region, found func(a, b *region)) {
	x := regions{all: all, whole: make(map[scoped]int, len(all)), parts: make(map[scoped]int)}
	for side := range x.lengths {
		used := make(map[int]bool)
		for i := range all {
			if n := all[i].box[side].Bits(); !used[n] {
				used[n] = true
				x.lengths[side] = append(x.lengths[side], n)
			}
		}
	}
	for i := range all {
		x.add(i)
	}
	for i := range all {
		if other := x.other(&all[i]); other != nil {
			found(&all[i], other)
		}
	}
}

func (x *regions) add(i int) {
	r := &x.all[i]
	for _, place := range r.holds {
		note(x.whole, scoped{place, r.box}, i)
		for _, second := range cuts(r.box[1], x.lengths[1]) {
			note(x.parts, scoped{place, box{r.box[0], second}}, i)
		}
	}
}

// note remembers the first region there.
func note(at map[scoped]int, place scoped, i int) {
	if _, taken := at[place]; !taken {
		at[place] = i
	}
}

// other returns a region that overlaps: one whose first network holds that of r, or is the same. Those whose first network is within
// that of r find r themselves.
func (x *regions) other(r *region) *region {
	for _, place := range r.against {
		for _, first := range cuts(r.box[0], x.lengths[0]) {
			for _, second := range cuts(r.box[1], x.lengths[1]) {
				if i, ok := x.whole[scoped{place, box{first, second}}]; ok && x.all[i].owner != r.owner {
					return &x.all[i]
				}
			}
			if i, ok := x.parts[scoped{place, box{first, r.box[1]}}]; ok && x.all[i].owner != r.owner {
				return &x.all[i]
			}
		}
	}
	return nil
}

// cuts returns the network and those of the lengths that it is within.
func cuts(p netip.Prefix, lengths []int) []netip.Prefix {
	all := make([]netip.Prefix, 0, len(lengths))
	for _, n := range lengths {
		if n <= p.Bits() {
			all = append(all, netip.PrefixFrom(p.Addr(), n).Masked())
		}
	}
	return all
}
