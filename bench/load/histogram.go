package load

import (
	"math/bits"
	"slices"
	"time"
)

// fine is how many bits of a duration after its first one its bucket tells: 64 buckets for each doubling, 0.8 % each side.
const fine = 6

// Histogram counts durations in buckets of equal relative width. Its index is the bucket.
type Histogram []int64

// bucket is where a duration counts.
func bucket(d time.Duration) int {
	n := uint64(max(d, 0))
	shift := max(bits.Len64(n)-1-fine, 0)
	return shift<<fine + int(n>>shift)
}

// middle is the duration that a bucket stands for.
func middle(i int) time.Duration {
	shift := max(i>>fine-1, 0)
	low := uint64(i-shift<<fine) << shift
	return time.Duration(low + 1<<shift/2)
}

// Add counts a duration.
func (h *Histogram) Add(d time.Duration) {
	i := bucket(d)
	if i >= len(*h) {
		*h = slices.Grow(*h, i+1-len(*h))[:i+1]
	}
	(*h)[i]++
}

// Merge counts all that another has counted.
func (h *Histogram) Merge(other Histogram) {
	if more := len(other) - len(*h); more > 0 {
		*h = append(*h, make(Histogram, more)...)
	}
	for i, n := range other {
		(*h)[i] += n
	}
}

// Count is how many durations there are.
func (h Histogram) Count() (n int64) {
	for _, c := range h {
		n += c
	}
	return n
}

// Quantile is the duration that a share of all do not exceed; 0 of none.
func (h Histogram) Quantile(share float64) time.Duration {
	left := int64(share*float64(h.Count())) + 1
	left = min(left, h.Count())
	for i, c := range h {
		if left -= c; c > 0 && left <= 0 {
			return middle(i)
		}
	}
	return 0
}
