package daemon

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"natd/nat"
)

func TestSchedule(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	paced := fmt.Errorf("pass: %w", &pacedError{wait: 250 * time.Millisecond})
	tests := []struct {
		name  string
		pause time.Duration
		err   error
		wakes bool
		next  time.Duration
	}{
		{"success starts over", 4 * time.Second, nil, true, firstRetry},
		{"failures get rarer", firstRetry, broken, true, 2 * firstRetry},
		{"but not for ever", longestRetry, broken, true, longestRetry},
		{"a paced repair is not woken by the fight", time.Second, paced, false, firstRetry},
	}
	for _, tt := range tests {
		retry, gap := time.NewTimer(time.Hour), time.NewTimer(time.Hour)
		next := schedule(retry, gap, tt.pause, tt.err)
		if wakes := gap.Stop(); wakes != tt.wakes || next != tt.next {
			t.Errorf("%s: woken %v and then %v, want %v and %v", tt.name, wakes, next, tt.wakes, tt.next)
		}
		if armed := retry.Stop(); armed != (tt.err != nil) {
			t.Errorf("%s: the retry is armed: %v", tt.name, armed)
		}
	}
}

// TestScheduleWaitsAsTold lets the timer of a paced repair run out.
func TestScheduleWaitsAsTold(t *testing.T) {
	t.Parallel()
	retry, gap := time.NewTimer(time.Hour), time.NewTimer(time.Hour)
	began := time.Now()
	schedule(retry, gap, firstRetry, &pacedError{wait: 50 * time.Millisecond})
	select {
	case <-retry.C:
		if took := time.Since(began); took < 50*time.Millisecond {
			t.Errorf("the retry came after %v", took)
		}
	case <-time.After(patience):
		t.Error("the retry did not come")
	}
}

func TestPacedErrorNamesWho(t *testing.T) {
	t.Parallel()
	for by, want := range map[string]string{"": "another program keeps", "nft (pid 7)": "nft (pid 7) keeps"} {
		err := &pacedError{wait: 1234567 * time.Microsecond, by: by}
		if got := err.Error(); !strings.HasPrefix(got, want) || !strings.HasSuffix(got, "1.235s") {
			t.Errorf("got %q, want %q and the time", got, want)
		}
	}
}

// TestRepairsArePaced spends the burst: from then on a repair has to wait for its turn.
func TestRepairsArePaced(t *testing.T) {
	t.Parallel()
	limit, now := rate.NewLimiter(repairRate, repairBurst), time.Now()
	for i := range repairBurst {
		if r := limit.ReserveN(now, 1); r.DelayFrom(now) > 0 {
			t.Fatalf("repair %d of the burst has to wait", i)
		}
	}
	if wait := limit.ReserveN(now, 1).DelayFrom(now); wait != time.Second/repairRate {
		t.Errorf("after the burst a repair waits %v, want %v", wait, time.Second/repairRate)
	}
}

func TestWriters(t *testing.T) {
	t.Parallel()
	var o others
	if o.String() != "" {
		t.Errorf("nobody is %q", o.String())
	}
	nft := nat.Writer{PID: 7, Name: "nft"}
	for range 3 {
		o.note(nat.Change{Writer: nft, Generation: 7})
		o.note(nat.Change{}) // notifications were lost: nobody to name
		o.note(nat.Change{Writer: nat.Writer{PID: 8, Name: "kube-proxy"}, Generation: 8, Elsewhere: true})
	}
	if got := o.String(); got != nft.String() {
		t.Errorf("got %q, want %q once", got, nft)
	}
	for pid := range 100 {
		o.note(nat.Change{Writer: nat.Writer{PID: 100 + pid, Name: "dockerd"}, Generation: 9})
	}
	if n := strings.Count(o.String(), "pid"); n != maxWriters {
		t.Errorf("%d are named, want %d", n, maxWriters)
	}
	o.forget()
	if o.String() != "" {
		t.Errorf("forgotten ones are %q", o.String())
	}
}

// TestSpared wants nothing to be taken for harmless of which that is not known change by change.
func TestSpared(t *testing.T) {
	t.Parallel()
	var o others
	elsewhere := func(generations ...uint32) {
		for _, g := range generations {
			if o.note(nat.Change{Generation: g, Elsewhere: true}) {
				t.Errorf("a change elsewhere, %d, calls for a look", g)
			}
		}
	}
	want := func(from, to uint32, spared bool) {
		t.Helper()
		if got := o.spared(from, to); got != spared {
			t.Errorf("from %d to %d spared is %t", from, to, got)
		}
	}
	want(6, 7, false)
	elsewhere(7, 8, 9)
	want(6, 9, true)
	want(7, 8, true)
	want(5, 9, false)
	want(6, 10, false)
	elsewhere(11) // the one before was natd's own, or was missed
	want(9, 11, false)
	want(10, 11, true)
	if !o.note(nat.Change{Generation: 12}) {
		t.Error("a change of natd's table calls for no look")
	}
	elsewhere(13)
	want(10, 13, false)
	want(11, 12, false)
	want(12, 13, true)
	if !o.note(nat.Change{}) {
		t.Error("a loss calls for no look")
	}
	want(12, 13, false)
	elsewhere(15)
	want(13, 15, false)
	want(14, 15, true)
	elsewhere(math.MaxUint32, 1) // numbers begin anew
	want(math.MaxUint32-1, 1, false)
}

func TestPokeNeverBlocks(t *testing.T) {
	t.Parallel()
	d := &Daemon{wake: make(chan struct{}, 1)}
	for range 10 {
		d.poke()
	}
	if len(d.wake) != 1 {
		t.Errorf("%d tokens, want one for any number of reasons", len(d.wake))
	}
}
