package config

import "math/bits"

// index finds numbers by the hash of what they stand for, which stays where it is: a map would hold a copy of each key. Of several with
// the same key it finds the first. The methods get the hash, and tell apart those that share it by asking same.
type index []slot

// slot is empty while next is 0.
type slot struct {
	hash uint32
	next int32 // the number, from 1
}

// newIndex makes room for n keys.
func newIndex(n int) index { return make(index, 1<<bits.Len(uint(2*n))) }

// get returns the first number with the key.
func (x index) get(hash uint64, same func(i int) bool) (i int, found bool) {
	s := x.find(hash, same)
	return int(s.next) - 1, s.next != 0
}

// put notes the number, unless there is one with the key, which it returns.
func (x index) put(hash uint64, i int, same func(i int) bool) (first int, found bool) {
	s := x.find(hash, same)
	if s.next != 0 {
		return int(s.next) - 1, true
	}
	*s = slot{uint32(hash), int32(i) + 1}
	return 0, false
}

// find returns the slot of the key, or the empty one where it belongs.
func (x index) find(hash uint64, same func(i int) bool) *slot {
	for at := hash >> 32; ; at++ {
		s := &x[at&uint64(len(x)-1)]
		if s.next == 0 || s.hash == uint32(hash) && same(int(s.next)-1) {
			return s
		}
	}
}
