package probe

import (
	"math/rand/v2"
	"net/netip"
	"time"
)

// Check is one backend and how it is checked: by TCP connections. All numbers are positive.
type Check struct {
	Target   netip.AddrPort
	Source   netip.Addr    // the address that connections come from; the zero Addr leaves the choice to the kernel
	Interval time.Duration // from the start of one probe to that of the next
	Timeout  time.Duration // a probe that takes longer has failed
	Rise     int           // successes in a row that bring a backend back
	Fall     int           // failures in a row that take it out
}

// State is what is known of a backend.
type State uint8

// The states of a backend.
const (
	Unknown State = iota // not proven either way: no success yet, and fewer failures than take it out
	Up
	Down
)

// String is the word the status uses.
func (s State) String() string {
	return [...]string{"unknown", "up", "down"}[s]
}

// Verdict is what the probes of a backend say.
type Verdict struct {
	State State
	Since time.Time // when it came to be in that state
	Error string    // why the last probe that failed did, for people; "" while the last probe of a backend that is up succeeded

	Probes   uint64        // that told something of the backend
	Failures uint64        // of those
	Last     time.Time     // when the last of them ended; zero = there was none
	Took     time.Duration // that one
}

// tally is a verdict in the making.
type tally struct {
	Verdict
	streak int // results in a row that speak against the state
}

// record takes the result of a probe, "" for success, and tells whether the state changed.
func (t *tally) record(c Check, failure string, now time.Time) (changed bool) {
	t.Probes++
	if failure != "" {
		t.Failures++
	}
	to, needed := Up, c.Rise
	switch {
	case failure != "":
		to, needed = Down, c.Fall
		t.Error = failure
	case t.State == Unknown:
		needed = 1
	}
	if t.State != to {
		t.streak++
		if changed = t.streak >= needed; changed {
			t.State, t.Since = to, now
		}
	}
	if t.State == to {
		t.streak = 0
	}
	if failure == "" && t.State == Up {
		t.Error = ""
	}
	return changed
}

// jitter is the share of a pause by which a probe may come early, so that checks do not march in step. None comes late:
// fall x interval is a promise.
const jitter = 0.1

// next is when to probe again after a probe. The pauses make up for the time that failures take, so that a backend that
// falls silent is out within fall x interval as much as one that refuses at once: where fall is more than one, and the
// time-outs leave room for it.
func (t *tally) next(c Check, began, ended time.Time) time.Time {
	pause := c.Interval
	if t.State != Down && t.streak > 0 && c.Fall > 1 {
		pause -= ended.Sub(began) / time.Duration(c.Fall-1)
	}
	next := began.Add(pause - time.Duration(rand.Float64()*jitter*float64(pause)))
	if next.Before(ended) {
		return ended
	}
	return next
}
