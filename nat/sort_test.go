package nat

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
)

// Keys of any length, alike in any number of bytes at their begin, come in order, each with its element.
func TestSortElements(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for _, length := range []int{2, 4, 12, 16, 17, 24, 40} {
		for _, same := range []int{0, 1, length - 2} {
			elements := make([]Element, 300)
			for i := range elements {
				k := make([]byte, length)
				for j := min(same, length-1); j < length; j++ {
					k[j] = byte(r.IntN(3))
				}
				binary.BigEndian.PutUint16(k[length-2:], uint16(r.IntN(1<<12)))
				elements[i] = Element{Key: Key(k), Comment: string(k)}
			}
			want := slices.Clone(elements)
			slices.SortFunc(want, byKey)
			sortElements(elements)
			for i := range elements {
				if elements[i].Key != want[i].Key || elements[i].Comment != string(elements[i].Key) {
					t.Fatalf("length %d, %d alike: at %d is %x of %x, want %x", length, same, i, elements[i].Key, elements[i].Comment, want[i].Key)
				}
			}
		}
	}
}
