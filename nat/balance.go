package nat

import (
	"fmt"
	"hash/fnv"
	"math"
	"net/netip"
	"slices"
)

// hashSlots is how many slots there are where a client's address decides, and the most that there are anywhere.
const hashSlots = 256

// lanes is how many chains take turns for each number of slots. Every chain counts for itself, and all the relays that
// share it: two that are always dialled one after the other would each always get the same backend.
const lanes = 8

// chooser is how a slot is chosen out of how many.
type chooser struct {
	balance Balance
	slots   int
}

// lane is the name of the chooser's chain for the relay at that position.
func (c chooser) lane(position int) string {
	if c.balance == RoundRobin {
		return fmt.Sprintf("%s%d_%d", chainTurn, c.slots, position%lanes)
	}
	return c.names()[0]
}

// names is the chooser's chains.
func (c chooser) names() []string {
	switch c.balance {
	case Random:
		return []string{fmt.Sprintf("%s%d", chainRandom, c.slots)}
	case Source:
		return []string{chainHash}
	case RoundRobin:
	}
	names := make([]string, lanes)
	for i := range names {
		names[i] = c.lane(i)
	}
	return names
}

// operand is what chooses.
func (c chooser) operand(f family) operand {
	switch c.balance {
	case Random:
		return numgenRandom(c.slots)
	case Source:
		return f.hashSlot(hashSlots)
	case RoundRobin:
	}
	return numgenInc(c.slots)
}

// slotsOf deals slots to the targets, in proportion to their weights.
func slotsOf(balance Balance, targets []Target) []int {
	if balance == Source {
		return rendezvous(targets)
	}
	weights := make([]int, len(targets))
	for i := range targets {
		weights[i] = targets[i].Weight
	}
	return turns(scaled(weights))
}

// scaled divides the weights by what they have in common, and if their sum is more than hashSlots makes it that: by
// largest remainders, with one at least for each.
func scaled(weights []int) []int {
	divisor, sum := 0, 0
	for _, w := range weights {
		divisor = gcd(divisor, w)
		sum += w
	}
	shares := make([]int, len(weights))
	if sum/divisor <= hashSlots {
		for i, w := range weights {
			shares[i] = w / divisor
		}
		return shares
	}
	left := hashSlots
	order := make([]int, len(weights))
	for i, w := range weights {
		shares[i] = max(1, w*hashSlots/sum)
		left -= shares[i]
		order[i] = i
	}
	remainder := func(i int) int { return weights[i]*hashSlots - shares[i]*sum }
	for ; left > 0; left-- {
		shares[slices.MaxFunc(order, func(a, b int) int { return remainder(a) - remainder(b) })]++
	}
	for ; left < 0 && slices.Max(shares) > 1; left++ {
		most := slices.MinFunc(order, func(a, b int) int {
			if (shares[a] > 1) != (shares[b] > 1) {
				return map[bool]int{true: -1, false: 1}[shares[a] > 1]
			}
			return remainder(a) - remainder(b)
		})
		shares[most]--
	}
	return shares
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// turns is whose turn it is in each slot, as far apart as can be: the smooth weighted round-robin of nginx
// (ngx_http_upstream_get_peer in src/http/ngx_http_upstream_round_robin.c).
func turns(weights []int) []int {
	sum := 0
	for _, w := range weights {
		sum += w
	}
	current := make([]int, len(weights))
	slots := make([]int, sum)
	for slot := range slots {
		best := 0
		for i, w := range weights {
			current[i] += w
			if current[i] > current[best] {
				best = i
			}
		}
		current[best] -= sum
		slots[slot] = best
	}
	return slots
}

// rendezvous deals the slots by weighted rendezvous hashing: each goes to the target with the best score, so that one
// that leaves gives up its own slots and moves no other.
// Source: Schindelhauer and Schomaker, "Weighted Distributed Hash Tables", SPAA 2005.
func rendezvous(targets []Target) []int {
	slots := make([]int, hashSlots)
	for slot := range slots {
		best := math.Inf(-1)
		for i := range targets {
			if s := score(slot, &targets[i]); s > best {
				best, slots[slot] = s, i
			}
		}
	}
	return slots
}

// score is larger the better the target fits the slot.
func score(slot int, t *Target) float64 {
	h := fnv.New64a()
	to, _ := netip.AddrPortFrom(t.Addr, t.Ports.First).MarshalBinary()
	h.Write([]byte{byte(slot)})
	h.Write(to)
	// FNV leaves the high bits of similar inputs similar: mixed by the finalizer of MurmurHash3.
	x := h.Sum64()
	x = (x ^ x>>33) * 0xff51afd7ed558ccd
	x = (x ^ x>>33) * 0xc4ceb9fe1a85ec53
	x ^= x >> 33
	uniform := (float64(x>>11) + 0.5) / (1 << 53)
	return -float64(t.Weight) / math.Log(uniform)
}
