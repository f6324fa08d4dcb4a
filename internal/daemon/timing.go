package daemon

import (
	"slices"
	"time"

	"natd/internal/control"
)

// timingBounds is how many bounds there are.
const timingBounds = 13

// bounds are those of the durations that are counted: from a look at a few relays to 100,000 of them on a small instance.
func bounds() [timingBounds]time.Duration {
	const ms, half = time.Millisecond, 500 * time.Microsecond
	return [...]time.Duration{
		ms, 5 * half, 5 * ms, 10 * ms, 25 * ms, 50 * ms, 100 * ms, 250 * ms, 500 * ms, 1000 * ms, 2500 * ms, 5000 * ms, 10000 * ms,
	}
}

// timing counts durations. The zero value is ready for use.
type timing struct {
	within [timingBounds]uint64 // how many were not longer than each bound
	count  uint64
	sum    time.Duration
}

func (t *timing) add(took time.Duration) {
	t.count++
	t.sum += took
	limits := bounds()
	first, _ := slices.BinarySearch(limits[:], took)
	for i := first; i < len(limits); i++ {
		t.within[i]++
	}
}

// histogram is the counts as status has them.
func (t *timing) histogram() control.Histogram {
	h := control.Histogram{Count: t.count, Sum: t.sum.Seconds(), Buckets: make([]control.Bucket, 0, timingBounds)}
	for i, bound := range bounds() {
		h.Buckets = append(h.Buckets, control.Bucket{Most: bound.Seconds(), Count: t.within[i]})
	}
	return h
}
