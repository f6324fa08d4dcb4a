package probe

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// zone stands in for a resolver: it answers at once with what the test says.
type zone struct {
	mu   sync.Mutex
	says map[Name]reply
	meter
	takes time.Duration
}

type reply struct {
	found
	err error
}

func (z *zone) lookup(ctx context.Context, host string, f Family) (found, error) {
	z.work(ctx, z.takes)
	z.mu.Lock()
	defer z.mu.Unlock()
	r, ok := z.says[Name{host, f}]
	if !ok {
		return found{}, errNoName
	}
	return r.found, r.err
}

func (z *zone) set(n Name, set string, ttl time.Duration) {
	z.put(n, reply{found: found{addrs(set), ttl}})
}

func (z *zone) put(n Name, r reply) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.says == nil {
		z.says = map[Name]reply{}
	}
	z.says[n] = r
}

// standInNames is Names with a zone, and how often it called back.
func standInNames(t *testing.T, z *zone, store string) (*Names, *atomic.Int64) {
	t.Helper()
	var calls atomic.Int64
	n := NewNames(Options{Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Store: store, Changed: func() { calls.Add(1) }})
	n.lookup = z.lookup
	return n, &calls
}

func runNames(t *testing.T, n *Names) (stop func()) {
	t.Helper()
	return running(t, func(ctx context.Context) {
		if err := n.Run(ctx); err != nil {
			t.Error(err)
		}
	})
}

// wantAddrs looks at a name's addresses, and whether the last question was answered.
func wantAddrs(t *testing.T, n *Names, name Name, set string, answered bool) {
	t.Helper()
	if a := n.Answer(name); letters(a.Addrs) != set || (a.Error == "") != answered {
		t.Errorf("%v has %q, error %q, want %q, answered: %v", name, letters(a.Addrs), a.Error, set, answered)
	}
}

func dbLab() Name { return Name{"db.lab", IPv4} }

// TestTTL wants each time to live heeded: no question sooner, a change followed within it and a second.
func TestTTL(t *testing.T) {
	t.Parallel()
	tests := []struct{ ttl, heeded time.Duration }{
		{0, time.Second},
		{time.Second, time.Second},
		{5 * time.Second, 5 * time.Second},
		{time.Minute, time.Minute},
		{24 * time.Hour, 5 * time.Minute},
		{2147483647 * time.Second, 5 * time.Minute},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			var z zone
			z.set(dbLab(), "a", tt.ttl)
			n, calls := standInNames(t, &z, "")
			n.Set([]Name{dbLab()})
			runNames(t, n)
			synctest.Wait()
			wantAddrs(t, n, dbLab(), "a", true)
			z.set(dbLab(), "b", tt.ttl)
			time.Sleep(tt.heeded - time.Millisecond)
			wantAddrs(t, n, dbLab(), "a", true)
			time.Sleep(time.Second)
			wantAddrs(t, n, dbLab(), "b", true)
			if got := calls.Load(); got != 2 {
				t.Errorf("%d calls, want 2", got)
			}
			if a := n.Answer(dbLab()); a.Asked.IsZero() || a.Changed.Before(a.Asked) {
				t.Errorf("asked at %v, changed at %v", a.Asked, a.Changed)
			}
		})
	}
}

// TestFailuresChangeNothing has each way to get no answer, for a day, and then a good one.
func TestFailuresChangeNothing(t *testing.T) {
	t.Parallel()
	for _, err := range []error{errNoName, errNoAddress, errors.New("no answer within 5s")} {
		synctest.Test(t, func(t *testing.T) {
			var z zone
			z.set(dbLab(), "a b", time.Second)
			n, calls := standInNames(t, &z, "")
			n.Set([]Name{dbLab()})
			runNames(t, n)
			time.Sleep(time.Minute)
			z.put(dbLab(), reply{err: err})
			before := len(z.began())
			time.Sleep(24 * time.Hour)
			wantAddrs(t, n, dbLab(), "a b", false)
			if asked := len(z.began()) - before; asked > 24*3600/20 || asked < 24*3600/31 {
				t.Errorf("%d questions in a day of failures, want one each 22 to 30 s", asked)
			}
			z.set(dbLab(), "a b", time.Second)
			time.Sleep(longestRetry)
			wantAddrs(t, n, dbLab(), "a b", true)
			if got := calls.Load(); got != 3 {
				t.Errorf("%d calls, want 3: answered, failing, answered again", got)
			}
		})
	}
}

func TestBackOff(t *testing.T) {
	t.Parallel()
	for failures, want := range []time.Duration{1, 2, 4, 8, 16, 30, 30, 30} {
		want *= time.Second
		for range 100 {
			if got := backOff(failures); got > want || got <= want*3/4-1 {
				t.Errorf("after %d failures %v, want %v or up to a quarter less", failures, got, want)
			}
		}
	}
	if got := backOff(1 << 40); got > longestRetry || got < longestRetry*3/4 {
		t.Errorf("after many failures %v", got)
	}
}

// followDB follows the one name that the zone knows, with answers of its own.
func followDB(t *testing.T, z *zone) *Names {
	t.Helper()
	n, _ := standInNames(t, z, "")
	n.Set([]Name{dbLab()})
	runNames(t, n)
	return n
}

// TestReturnIsAskedForInTime has a failback under a long time to live: it is not waited for.
func TestReturnIsAskedForInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var z zone
		z.set(dbLab(), "a", time.Second)
		n := followDB(t, &z)
		time.Sleep(time.Minute)
		z.set(dbLab(), "b", time.Second)
		time.Sleep(2 * time.Second)
		wantAddrs(t, n, dbLab(), "b", true)
		z.set(dbLab(), "a", time.Hour)
		time.Sleep(2 * time.Second)
		wantAddrs(t, n, dbLab(), "b", true)
		time.Sleep(steadyAfter)
		wantAddrs(t, n, dbLab(), "a", true)
	})
}

// TestRecheck asks at once, and not more than once a second whoever insists.
func TestRecheck(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var z zone
		z.set(dbLab(), "a", time.Hour)
		n, _ := standInNames(t, &z, "")
		n.Set([]Name{dbLab()})
		n.Recheck(Name{"other.lab", IPv4}) // nobody follows it
		runNames(t, n)
		time.Sleep(time.Minute)
		z.set(dbLab(), "b", time.Hour)
		n.Recheck(dbLab())
		synctest.Wait()
		wantAddrs(t, n, dbLab(), "b", true)
		before := len(z.began())
		for range 1000 {
			n.Recheck(dbLab())
			time.Sleep(10 * time.Millisecond)
		}
		if asked := len(z.began()) - before; asked < 9 || asked > 10 {
			t.Errorf("%d questions in 10 s, want one a second", asked)
		}
	})
}

// TestNewResolver is asked at once, and the old one not again because it is set once more.
func TestNewResolver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var z zone
		z.set(dbLab(), "a", time.Hour)
		n := followDB(t, &z)
		time.Sleep(time.Minute)
		before := len(z.began())
		for range 2 {
			n.SetResolver(netip.MustParseAddrPort("10.0.0.2:53"))
			synctest.Wait()
			time.Sleep(questionPace)
			synctest.Wait()
		}
		if asked := len(z.began()) - before; asked != 1 {
			t.Errorf("%d questions for a new resolver, want 1", asked)
		}
	})
}

// TestThousandNames begins with 1,000 names of two families, of a resolver that takes its time.
func TestThousandNames(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		z := zone{takes: 10 * time.Millisecond}
		var names []Name
		for i := range 1000 {
			for _, f := range []Family{IPv4, IPv6} {
				names = append(names, Name{fmt.Sprintf("db-%d.lab", i), f})
				z.set(names[len(names)-1], "a", 5*time.Second)
			}
		}
		n, calls := standInNames(t, &z, "")
		n.Set(names)
		start := time.Now()
		runNames(t, n)
		time.Sleep(5 * time.Second)
		if got := calls.Load(); got != 2000 {
			t.Errorf("%d names answered within 5 s, want all 2000", got)
		}
		time.Sleep(55 * time.Second)
		perSecond := make([]int, 61)
		for _, at := range z.began() {
			perSecond[at.Sub(start)/time.Second]++
		}
		for s, asked := range perSecond {
			if asked > 500 {
				t.Errorf("%d questions in second %d, want 500 at most", asked, s)
			}
		}
		if got := z.peak(); got > questionsAtATime {
			t.Errorf("%d questions at a time", got)
		}
	})
}

// TestSlowResolver has more names than may be asked for at a time, and a resolver that does not answer.
func TestSlowResolver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		z := zone{takes: 10 * time.Second}
		var names []Name
		for i := range 500 {
			names = append(names, Name{fmt.Sprintf("db-%d.lab", i), IPv4})
		}
		n, _ := standInNames(t, &z, "")
		n.Set(names)
		stop := runNames(t, n)
		time.Sleep(9 * time.Second)
		if got := z.peak(); got != questionsAtATime {
			t.Errorf("%d questions at a time, want %d", got, questionsAtATime)
		}
		stop()
		for _, name := range names {
			if a := n.Answer(name); a.Error != "" {
				t.Fatalf("%v: %q, though nothing failed but the end came", name, a.Error)
			}
		}
	})
}

// TestAnswersOutliveRestart is a restart while the resolver is away, and another a week after a name was given up.
func TestAnswersOutliveRestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "names.json")
		six := Name{"db.lab", IPv6}
		var z, dead zone
		z.set(dbLab(), "a b", time.Second)
		z.put(six, reply{found: found{[]netip.Addr{netip.MustParseAddr("fd00::1")}, time.Second}})
		n, _ := standInNames(t, &z, path)
		n.Set([]Name{dbLab(), six})
		stop := runNames(t, n)
		time.Sleep(time.Minute)
		changed := n.Answer(dbLab()).Changed
		stop()

		time.Sleep(time.Hour)
		n, _ = standInNames(t, &dead, path)
		n.Set([]Name{dbLab()})
		wantAddrs(t, n, dbLab(), "a b", true)
		stop = runNames(t, n)
		time.Sleep(time.Minute)
		wantAddrs(t, n, dbLab(), "a b", false)
		if a := n.Answer(dbLab()); !a.Changed.Equal(changed) {
			t.Errorf("changed at %v, want what it was before the restart, %v", a.Changed, changed)
		}
		n.Set(nil)
		time.Sleep(time.Minute)
		n.Set([]Name{dbLab()})
		if a := n.Answer(dbLab()); letters(a.Addrs) != "a b" { // it may have been asked for since, in vain
			t.Errorf("a name that is wanted again has %q, want %q", letters(a.Addrs), "a b")
		}
		n.Set(nil)
		stop()

		time.Sleep(keepFor - 30*time.Minute) // the IPv6 name was given up an hour before the other
		n, _ = standInNames(t, &dead, path)
		n.Set([]Name{dbLab(), six})
		wantAddrs(t, n, dbLab(), "a b", true)
		wantAddrs(t, n, six, "", true)
	})
}

// TestRestoredAnswerYields to the first good one, at once.
func TestRestoredAnswerYields(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "names.json")
		var z zone
		z.set(dbLab(), "a", time.Second)
		n, _ := standInNames(t, &z, path)
		n.Set([]Name{dbLab()})
		stop := runNames(t, n)
		time.Sleep(time.Minute)
		stop()
		z.set(dbLab(), "b", time.Second)
		n, _ = standInNames(t, &z, path)
		n.Set([]Name{dbLab()})
		runNames(t, n)
		synctest.Wait()
		wantAddrs(t, n, dbLab(), "b", true)
	})
}
