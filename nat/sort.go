package nat

import (
	"cmp"
	"encoding/binary"
	"slices"
	"strings"
)

// sortElements puts elements in the order of their keys, which makes comparing two sets one walk.
func sortElements(elements []Element) {
	if slices.IsSortedFunc(elements, byKey) {
		return
	}
	// Keys lie anywhere in memory, and elements are large: what is compared and moved is the begin of the keys and a position.
	ranks := make([]rank, len(elements))
	same := commonPrefix(elements)
	for i := range elements {
		var begin [16]byte
		copy(begin[:], elements[i].Key[same:])
		ranks[i] = rank{binary.BigEndian.Uint64(begin[:]), binary.BigEndian.Uint64(begin[8:]), i}
	}
	slices.SortFunc(ranks, func(a, b rank) int {
		switch {
		case a.high != b.high:
			return cmp.Compare(a.high, b.high)
		case a.low != b.low:
			return cmp.Compare(a.low, b.low)
		}
		return byKey(elements[a.at], elements[b.at])
	})
	arrange(elements, ranks)
}

func byKey(a, b Element) int { return strings.Compare(string(a.Key), string(b.Key)) }

// rank is the first bytes of an element's key that differ from those of others, and where the element is.
type rank struct {
	high, low uint64
	at        int
}

// commonPrefix is how many bytes all keys begin with alike.
func commonPrefix(elements []Element) int {
	first := elements[0].Key
	same := len(first)
	for i := range elements {
		k := elements[i].Key
		same = min(same, len(k))
		for k[:same] != first[:same] {
			same--
		}
	}
	return same
}

// arrange moves the elements to where the ranks have them, each once: along the cycles of the permutation.
func arrange(elements []Element, ranks []rank) {
	for start := range ranks {
		moved := elements[start]
		for to := start; ranks[to].at != to; {
			from := ranks[to].at
			ranks[to].at = to
			if from == start {
				elements[to] = moved
				break
			}
			elements[to] = elements[from]
			to = from
		}
	}
}
