package probe

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// backends stand in for the network: they are silent, refuse, or answer.
type backends struct {
	mu   sync.Mutex
	fail map[netip.AddrPort]error // nil or absent: it answers
	meter

	told map[Check]int // how often the prober told of a failure
}

func (b *backends) connect(ctx context.Context, c Check) error {
	b.mu.Lock()
	err := b.fail[c.Target]
	b.mu.Unlock()
	if errors.Is(err, context.DeadlineExceeded) {
		b.work(ctx, c.Timeout)
		return err
	}
	b.work(ctx, time.Millisecond)
	return err
}

func (b *backends) set(to netip.AddrPort, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail == nil {
		b.fail = map[netip.AddrPort]error{}
	}
	b.fail[to] = err
}

func (b *backends) tell(c Check) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.told == nil {
		b.told = map[Check]int{}
	}
	b.told[c]++
}

// failures is how often the prober told of a failure of this check.
func (b *backends) failures(c Check) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.told[c]
}

// silence is what a probe gets of a host that is not there.
var silence = context.DeadlineExceeded //nolint:gochecknoglobals // an error value under a telling name

// standIn is a prober of stand-ins, and how often it called back.
func standIn(b *backends) (*Prober, *atomic.Int64) {
	var calls atomic.Int64
	p := NewProber(func() { calls.Add(1) }, b.tell)
	p.connect = b.connect
	return p, &calls
}

func runProber(t *testing.T, p *Prober) (stop func()) {
	t.Helper()
	return running(t, func(ctx context.Context) {
		if err := p.Run(ctx); err != nil {
			t.Error(err)
		}
	})
}

// target is the n-th target.
func target(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 3, byte(n >> 8), byte(n)}), 80)
}

// usual is the n-th target, checked as the defaults have it.
func usual(n int) Check {
	return Check{Target: target(n), Interval: 2 * time.Second, Timeout: time.Second, Rise: 2, Fall: 3}
}

// TestProberFollows takes a backend through its life: in time, and with one call for each change.
func TestProberFollows(t *testing.T) {
	t.Parallel()
	for name, dead := range map[string]error{"silent": silence, "refused": syscall.ECONNREFUSED} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var b backends
				p, calls := standIn(&b)
				c := usual(1)
				p.Set([]Check{c})
				runProber(t, p)
				want := func(state State, count int64) {
					t.Helper()
					if v := p.Verdict(c); v.State != state || calls.Load() != count {
						t.Errorf("%+v after %d calls, want %v after %d", v, calls.Load(), state, count)
					}
				}
				want(Unknown, 0)
				time.Sleep(10 * time.Millisecond) // a single check begins at once
				want(Up, 1)
				b.set(c.Target, dead)
				died := time.Now()
				time.Sleep(time.Duration(c.Fall) * c.Interval)
				want(Down, 2)
				if n := b.failures(c); n != c.Fall {
					t.Errorf("told of %d failures, want %d", n, c.Fall)
				}
				if v := p.Verdict(c); v.Error == "" || v.Since.Sub(died) < 4*time.Second {
					t.Errorf("%+v, want a reason, and no hurry", v)
				}
				b.set(c.Target, nil)
				time.Sleep(time.Duration(c.Rise)*c.Interval + c.Timeout)
				want(Up, 3)
				if v := p.Verdict(c); v.Error != "" {
					t.Errorf("up with the error %q", v.Error)
				}
			})
		})
	}
}

// TestProberBlames only the backend for what the backend does.
func TestProberBlames(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var b backends
		p, calls := standIn(&b)
		c := usual(1)
		c.Source = netip.MustParseAddr("10.2.0.100")
		p.Set([]Check{c})
		runProber(t, p)
		time.Sleep(time.Minute)
		b.set(c.Target, syscall.EADDRNOTAVAIL)
		time.Sleep(time.Minute)
		want := "cannot probe from 10.2.0.100: it is no address of this host, or has no free port"
		if v := p.Verdict(c); v.State != Up || v.Error != want || calls.Load() != 1 {
			t.Errorf("%+v after %d calls, want it up, with the error %q", v, calls.Load(), want)
		}
		if n := b.failures(c); n > 0 {
			t.Errorf("told of %d failures of the backend", n)
		}
	})
}

// TestProberKeepsVerdicts changes what is checked.
func TestProberKeepsVerdicts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var b backends
		b.set(target(2), syscall.ECONNREFUSED)
		p, calls := standIn(&b)
		p.Set([]Check{usual(1), usual(2), usual(2)})
		stop := runProber(t, p)
		time.Sleep(time.Minute)
		stop() // so that verdicts are those handed down
		moved, slower, other := usual(1), usual(2), usual(1)
		moved.Source = netip.MustParseAddr("10.2.0.7")
		slower.Interval = time.Minute
		other.Target = target(3)
		before := map[Check]Verdict{moved: p.Verdict(usual(1)), slower: p.Verdict(usual(2))}
		p.Set([]Check{moved, slower, other})
		for c, want := range before {
			if got := p.Verdict(c); got != want || got.State == Unknown {
				t.Errorf("%+v: %+v, want %+v", c, got, want)
			}
		}
		if v := p.Verdict(other); v.State != Unknown || v.Since.IsZero() {
			t.Errorf("a new target: %+v, want it unknown since now", v)
		}
		if v := p.Verdict(usual(1)); v != (Verdict{}) {
			t.Errorf("what is not checked any more: %+v, want nothing", v)
		}
		if n := calls.Load(); n != 2 {
			t.Errorf("%d calls, want 2", n)
		}
	})
}

// many is so many usual checks.
func many(count int) []Check {
	checks := make([]Check, count)
	for n := range checks {
		checks[n] = usual(n)
	}
	return checks
}

// TestProberSpreads measures when 1,000 new checks are made: no herd at the start, and none later.
func TestProberSpreads(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var b backends
		p, _ := standIn(&b)
		p.Set(many(1000))
		start := time.Now()
		runProber(t, p)
		time.Sleep(time.Minute)
		const slot = 100 * time.Millisecond
		perSlot := make([]int, time.Minute/slot+1)
		for _, at := range b.began() {
			perSlot[at.Sub(start)/slot]++
		}
		for i, n := range perSlot[:len(perSlot)-1] { // 1,000 each 1.8 to 2 s
			if n < 20 || n > 100 {
				t.Errorf("%d probes in the %v from %v, want about 53", n, slot, slot*time.Duration(i))
			}
		}
	})
}

// TestProberAllSilent has 1,000 backends that die at the same time.
func TestProberAllSilent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var b backends
		p, calls := standIn(&b)
		checks := many(1000)
		p.Set(checks)
		runProber(t, p)
		time.Sleep(time.Minute)
		for _, c := range checks {
			b.set(c.Target, silence)
		}
		time.Sleep(6*time.Second + 10*time.Millisecond) // a probe takes a millisecond even here
		for _, c := range checks {
			if v := p.Verdict(c); v.State != Down {
				t.Fatalf("%v: %+v, want all down within fall x interval", c.Target, v)
			}
		}
		if n := calls.Load(); n != 2000 {
			t.Errorf("%d calls, want one for each change: 2000", n)
		}
		if n := b.peak(); n > 900 {
			t.Errorf("%d probes at a time, which leaves too little of %d", n, probesAtATime)
		}
	})
}

// TestProberEndIsNoFailure ends a prober while probes are under way.
func TestProberEndIsNoFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var b backends
		b.set(target(1), silence)
		p, _ := standIn(&b)
		c := usual(1)
		c.Fall = 1
		p.Set([]Check{c})
		stop := runProber(t, p)
		time.Sleep(100 * time.Millisecond)
		stop()
		if v := p.Verdict(c); v.State != Unknown || v.Error != "" {
			t.Errorf("%+v, want no verdict", v)
		}
	})
}
