package probe

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// meter watches jobs: when they began, and how many were under way at the same time.
type meter struct {
	mu     sync.Mutex
	starts []time.Time
	now    int
	most   int
}

// work is a job's work that takes a time or ends with ctx.
func (m *meter) work(ctx context.Context, takes time.Duration) {
	m.mu.Lock()
	m.starts = append(m.starts, time.Now())
	m.now++
	m.most = max(m.most, m.now)
	m.mu.Unlock()
	if takes > 0 { // a timer that is due at once can crash the runtime of Go 1.26 in a bubble with the race detector: maybeRunChan
		select {
		case <-time.After(takes):
		case <-ctx.Done():
		}
	}
	m.mu.Lock()
	m.now--
	m.mu.Unlock()
}

// began returns when jobs began.
func (m *meter) began() []time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.starts)
}

// running runs something until stop is called, or the test ends. In a synctest bubble its goroutines must be gone then, or
// the bubble panics.
func running(t *testing.T, run func(context.Context)) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		run(ctx)
	}()
	stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(stop)
	return stop
}

// peak is how many were under way at the same time, at most.
func (m *meter) peak() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.most
}

func inAnHour() time.Time { return time.Now().Add(time.Hour) }

// TestAgendaKeepsItsBounds has jobs that all are due at once, and take longer than their turn.
func TestAgendaKeepsItsBounds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const jobs, limit, pace, takes = 40, 5, 10 * time.Millisecond, 100 * time.Millisecond
		a := newAgenda(limit, pace)
		var m meter
		for range jobs {
			a.add(time.Now(), func(ctx context.Context) time.Time {
				m.work(ctx, takes)
				return inAnHour()
			})
		}
		running(t, a.run)
		time.Sleep(jobs/limit*takes + time.Second)
		began := m.began()
		if len(began) != jobs || m.peak() != limit {
			t.Errorf("%d jobs done, %d at a time, want %d and %d", len(began), m.peak(), jobs, limit)
		}
		for i := 1; i < len(began); i++ {
			if gap := began[i].Sub(began[i-1]); gap < pace {
				t.Errorf("job %d began %v after the one before, want %v", i, gap, pace)
			}
		}
	})
}

func TestAgendaOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAgenda(1, 0)
		var order []int
		add := func(n int, in time.Duration) *job {
			return a.add(time.Now().Add(in), func(context.Context) time.Time {
				order = append(order, n)
				return inAnHour()
			})
		}
		running(t, a.run)
		add(1, time.Second)
		later := add(2, 10*time.Second)
		dropped := add(3, 2*time.Second)
		hastened := add(4, time.Minute)
		time.Sleep(100 * time.Millisecond)
		a.drop(dropped)
		a.hasten(hastened, time.Now().Add(4*time.Second))
		a.hasten(later, inAnHour()) // it is due before that
		time.Sleep(time.Minute)
		synctest.Wait()
		if want := []int{1, 4, 2}; !slices.Equal(order, want) {
			t.Errorf("done in the order %v, want %v", order, want)
		}
	})
}

// TestAgendaUnderWay changes a job that is under way: it is not done twice at a time, nor again once it was dropped.
func TestAgendaUnderWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAgenda(10, 0)
		var m meter
		j := a.add(time.Now(), func(ctx context.Context) time.Time {
			m.work(ctx, time.Second)
			return time.Now()
		})
		running(t, a.run)
		time.Sleep(500 * time.Millisecond)
		a.hasten(j, time.Now())
		time.Sleep(100 * time.Millisecond)
		if n := len(m.began()); n != 1 {
			t.Errorf("%d starts of a job under way, want 1", n)
		}
		time.Sleep(time.Second)
		a.drop(j)
		time.Sleep(time.Minute)
		if n := len(m.began()); n != 2 || m.peak() != 1 {
			t.Errorf("%d starts, %d at a time, want 2 and 1", n, m.peak())
		}
	})
}

// TestAgendaRenews makes jobs due that rest and that are under way: each is done once more, and only that.
func TestAgendaRenews(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAgenda(10, 0)
		var m meter
		j := a.add(time.Now(), func(ctx context.Context) time.Time {
			m.work(ctx, time.Second)
			return inAnHour()
		})
		running(t, a.run)
		time.Sleep(500 * time.Millisecond)
		a.renew(j)
		time.Sleep(time.Minute)
		if n := len(m.began()); n != 2 || m.peak() != 1 {
			t.Errorf("%d starts of a job that was renewed under way, %d at a time, want 2 and 1", n, m.peak())
		}
		a.renew(j)
		time.Sleep(time.Minute)
		if n := len(m.began()); n != 3 {
			t.Errorf("%d starts after a job that rests was renewed, want 3", n)
		}
	})
}
