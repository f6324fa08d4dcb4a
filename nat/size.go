package nat

import "math/bits"

// sizedFrom is how many elements a set has at least whose size is declared. The kernel's hash table grows by itself, but not within a transaction: what
// is loaded at once goes into a table that is far too small, and takes the longer the more there is. A size makes the
// table as large as that from the begin (nft_rhash_init and nft_hash_init in net/netfilter/nft_set_hash.c). It is a limit, too.
const sizedFrom = 1 << 14

// sizeFor is the size to declare for so many elements; 0 for none. There is room for a quarter more at least, and then for all that the kernel
// makes the same table for: of a power of two, three quarters. A larger table would make dumps slower, which go
// through it from its begin for every message.
func sizeFor(elements int) uint32 {
	if elements < sizedFrom {
		return 0
	}
	const most = 1 << 30
	buckets := uint64(1) << bits.Len64(uint64(min(elements, most))*5/3-1)
	return uint32(buckets / 4 * 3)
}

// declareSize gives the set the size for the elements that it has. That of a State set is another matter, and intervals have none.
func (s *Set) declareSize() {
	if !s.State && !s.Interval {
		s.Size = sizeFor(len(s.Elements))
	}
}

// holds tells whether the set has a size that natd declares, be it for more elements or none, and has room for what is wanted, and for the
// listens that stay in it until they are released.
func (s *Set) holds(want *Set) bool {
	if s.Size == 0 || s.State {
		return true
	}
	if own := s.Size%3 == 0 && bits.OnesCount32(s.Size/3) == 1 && s.Size >= sizeFor(sizedFrom); !own {
		return false // sizeFor makes none like it
	}
	n := len(want.Elements)
	if want.Keep && n+len(s.Elements) > int(s.Size) && !shared(want.Elements, s.Elements) {
		walk(want.Elements, s.Elements, func(w, _ *Element) {
			if w == nil {
				n++
			}
		})
	}
	return n <= int(s.Size)
}
