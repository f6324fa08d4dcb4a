package nat

import (
	"maps"
	"runtime"
	"sync"
)

// partFrom is how many relays are worth a part of their own.
const partFrom = 1 << 13

// partsOf is how many parts so many relays are built in.
func partsOf(relays int) int { return max(1, min(runtime.GOMAXPROCS(0), relays/partFrom)) }

// relays adds all relays, so many parts of them at the same time.
func (b *builder) relays(parts int, spec *Spec, places *Placements) {
	if parts == 1 {
		b.relaysOf(spec, places, 0, len(spec.Relays))
		return
	}
	builders := make([]*builder, parts)
	var all sync.WaitGroup
	for k := range builders {
		builders[k] = newBuilder()
		builders[k].fastPath = b.fastPath
		all.Go(func() {
			builders[k].relaysOf(spec, places, len(spec.Relays)*k/parts, len(spec.Relays)*(k+1)/parts)
		})
	}
	all.Wait()
	for _, part := range builders {
		b.take(part)
	}
}

// relaysOf adds the relays from one position up to another. It goes through them twice, so that the elements of many get memory once, and
// exactly as much as they need.
func (b *builder) relaysOf(spec *Spec, places *Placements, from, to int) {
	for _, do := range []func(*relayWork){(*relayWork).reserve, (*relayWork).fill} {
		for i := from; i < to; i++ {
			if r, p := &spec.Relays[i], &places.Relays[i]; r.Enabled && !p.Held {
				b.relay(r, p, i, do)
			}
		}
	}
}

// take adds what a builder of a part of the relays has collected.
func (b *builder) take(part *builder) {
	for i, f := range b.families {
		other := part.families[i]
		if other.targets != nil {
			b.common(f)
		}
		maps.Copy(f.lengths, other.lengths)
		maps.Copy(f.protocols, other.protocols)
		for l, protocols := range other.limits {
			if f.limits[l] == nil {
				f.limits[l] = make(map[Protocol]bool)
			}
			maps.Copy(f.limits[l], protocols)
		}
	}
	maps.Copy(b.chosen, part.chosen)
	for name, s := range part.sets {
		mine := b.sets[name]
		if mine == nil {
			mine = new(Set)
			*mine = *s
			mine.Elements, mine.room = nil, 0
			b.sets[name] = mine
		}
		if len(s.Elements) > 0 {
			mine.parts = append(mine.parts, s.Elements)
		}
	}
}
