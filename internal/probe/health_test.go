package probe

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestTally feeds results, "+" for success and "-" for failure, and wants the states after each.
func TestTally(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name       string
		rise, fall int
		results    string
		want       string // U, D or ? after each result
	}{
		{"one success proves", 2, 3, "+", "U"},
		{"unknown falls", 2, 3, "---", "??D"},
		{"unknown, and a success between", 2, 3, "--+", "??U"},
		{"up falls after failures in a row", 2, 3, "+---", "UUUD"},
		{"a success between starts over", 2, 3, "+--+--+", "UUUUUUU"},
		{"then falls all the same", 2, 3, "+--+---", "UUUUUUD"},
		{"down rises after successes in a row", 2, 3, "---++", "??DDU"},
		{"a failure between starts over", 3, 1, "-++-+++", "DDDDDDU"},
		{"one is enough where one is asked for", 1, 1, "+-+-", "UDUD"},
		{"a streak does not outlive a change", 2, 2, "+--+-++", "UUDDDDU"},
	}
	for _, tt := range tests {
		var tally tally
		var got strings.Builder
		before := Unknown
		for i, r := range tt.results {
			failure := map[rune]string{'-': fmt.Sprintf("failure %d", i)}[r]
			now := time.Unix(int64(i+1), 0)
			changed := tally.record(Check{Rise: tt.rise, Fall: tt.fall}, failure, now)
			got.WriteByte("?UD"[tally.State])
			if changed != (tally.State != before) || changed != tally.Since.Equal(now) {
				t.Errorf("%s: after %d: changed = %v, since %v, from %v to %v", tt.name, i+1, changed, tally.Since, before, tally.State)
			}
			if failure != "" && tally.Error != failure || failure == "" && tally.State == Up && tally.Error != "" {
				t.Errorf("%s: after %d: the error is %q", tt.name, i+1, tally.Error)
			}
			before = tally.State
		}
		if got.String() != tt.want {
			t.Errorf("%s: %s gives %s, want %s", tt.name, tt.results, &got, tt.want)
		}
	}
}

// TestFallTimesInterval lets a backend die at the worst moment, just after a probe, by silence and by refusal, and wants
// it out within fall x interval: but not sooner than failures at nine tenths of the interval allow.
func TestFallTimesInterval(t *testing.T) {
	t.Parallel()
	for _, took := range []time.Duration{0, time.Second} {
		c := Check{Interval: 2 * time.Second, Timeout: time.Second, Rise: 2, Fall: 3}
		for range 1000 {
			died := time.Unix(0, 0)
			tally := tally{Verdict: Verdict{State: Up}}
			now := tally.next(c, died, died)
			for tally.State == Up {
				ended := now.Add(took)
				if tally.record(c, "dead", ended) {
					now = ended
					break
				}
				now = tally.next(c, now, ended)
			}
			bound := time.Duration(c.Fall) * c.Interval
			if out := now.Sub(died); out > bound || out < bound*8/10 {
				t.Fatalf("failures that take %v: out after %v, want %v at most", took, out, bound)
			}
		}
	}
}

func TestNext(t *testing.T) {
	t.Parallel()
	at := func(s float64) time.Time { return time.Unix(0, int64(s*1e9)) }
	tests := []struct {
		name        string
		tally       tally
		fall        int
		took        float64
		least, most float64
	}{
		{"up", tally{Verdict: Verdict{State: Up}}, 3, 0, 1.8, 2},
		{"down and silent", tally{Verdict: Verdict{State: Down}}, 3, 1, 1.8, 2},
		{"rising", tally{Verdict: Verdict{State: Down}, streak: 1}, 3, 0, 1.8, 2},
		{"falling silently", tally{Verdict: Verdict{State: Up}, streak: 1}, 3, 1, 1.35, 1.5},
		{"falling, refused", tally{Verdict: Verdict{State: Up}, streak: 1}, 3, 0, 1.8, 2},
		{"falling with no room to make up", tally{Verdict: Verdict{State: Up}, streak: 1}, 2, 2, 2, 2},
		{"a time-out longer than the interval", tally{Verdict: Verdict{State: Up}, streak: 1}, 2, 5, 5, 5},
		{"unknown, and failing at first", tally{streak: 1}, 1, 1, 1.8, 2},
	}
	for _, tt := range tests {
		c := Check{Interval: 2 * time.Second, Timeout: time.Second, Rise: 2, Fall: tt.fall}
		for range 100 {
			got := tt.tally.next(c, at(10), at(10+tt.took))
			if got.Before(at(10+tt.least)) || got.After(at(10+tt.most)) {
				t.Errorf("%s: %v after the start, want %v to %v s", tt.name, got.Sub(at(10)), tt.least, tt.most)
				break
			}
		}
	}
}
