package load

import (
	"math"
	"testing"
	"time"
)

// TestHistogram wants every duration back within 1 %.
func TestHistogram(t *testing.T) {
	t.Parallel()
	last := -1
	for d := time.Duration(0); d < time.Minute; d += d/50 + 1 {
		i := bucket(d)
		if i < last {
			t.Fatalf("%v is in bucket %d, and what is less in %d", d, i, last)
		}
		last = i
		if got := middle(i); math.Abs(float64(got-d)) > 0.01*float64(d) {
			t.Errorf("%v came back as %v", d, got)
		}
	}
}

func TestQuantile(t *testing.T) {
	t.Parallel()
	var h Histogram
	if got := h.Quantile(0.5); got != 0 {
		t.Errorf("the median of nothing is %v", got)
	}
	for i := range 1000 {
		h.Add(time.Duration(i+1) * time.Microsecond)
	}
	var whole Histogram
	whole.Merge(h[:len(h)/2])
	whole.Merge(h)
	if want := h.Count() + h[:len(h)/2].Count(); whole.Count() != want {
		t.Errorf("together they count %d, want %d", whole.Count(), want)
	}
	if h.Count() != 1000 {
		t.Errorf("counts %d of 1000", h.Count())
	}
	for share, want := range map[float64]time.Duration{0: 1, 0.5: 501, 0.99: 991, 0.999: 1000, 1: 1000} {
		want *= time.Microsecond
		if got := h.Quantile(share); math.Abs(float64(got-want)) > 0.01*float64(want) {
			t.Errorf("quantile %v is %v, want %v", share, got, want)
		}
	}
}

// TestGivenRate begins what is due and no more, and counts nothing that began before the time that counts.
func TestGivenRate(t *testing.T) {
	t.Parallel()
	now := time.Now()
	d := &dialer{spec: Spec{Kind: Rate, Rate: 1000}, start: now.Add(time.Second), end: now.Add(2 * time.Second)}
	for begin, want := range map[time.Duration]bool{0: false, 999 * time.Millisecond: false, time.Second: true, 1999 * time.Millisecond: true} {
		if got := d.counts(now.Add(begin), now.Add(time.Minute)); got != want {
			t.Errorf("a connection that began after %v counts: %v", begin, got)
		}
	}
	if d.over(now) || !d.over(d.end) {
		t.Error("the load does not end at its end")
	}
	d.open = map[int]*attempt{3: {began: now}}
	if d.over(d.end) {
		t.Error("the last connection is not waited for")
	}
}

func TestUnknownLoad(t *testing.T) {
	t.Parallel()
	if r := perform(Spec{Kind: "storm"}, nil); r.Error == "" {
		t.Error("made a load of a kind that there is not")
	}
}
