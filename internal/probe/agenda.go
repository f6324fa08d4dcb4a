package probe

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// agenda does jobs when they are due: a bounded number at a time, and each at most once at a time. It has one goroutine,
// and one for each job under way, so that thousands of jobs that wait cost next to nothing.
type agenda struct {
	limit int           // jobs under way at a time
	pace  time.Duration // the least from the start of one job to that of the next
	wake  chan struct{} // a token: look again

	mu      sync.Mutex
	waiting jobs
	running int
	started time.Time // when the last job began
}

// job is work that comes up again and again.
type job struct {
	do      func(ctx context.Context) (next time.Time)
	due     time.Time
	index   int // in the heap; notWaiting while it is not there
	dropped bool
	again   bool // it is to be done anew as soon as it ends
}

const notWaiting = -1

// longWait is how long the loop sleeps when nothing waits. A token ends it.
const longWait = time.Hour

func newAgenda(limit int, pace time.Duration) *agenda {
	return &agenda{limit: limit, pace: pace, wake: make(chan struct{}, 1)}
}

// add takes a job on.
func (a *agenda) add(due time.Time, do func(context.Context) time.Time) *job {
	j := &job{do: do, due: due}
	a.mu.Lock()
	heap.Push(&a.waiting, j)
	a.mu.Unlock()
	a.poke()
	return j
}

// drop takes a job off. When it is under way it is not done again.
func (a *agenda) drop(j *job) {
	a.mu.Lock()
	defer a.mu.Unlock()
	j.dropped = true
	if j.index != notWaiting {
		heap.Remove(&a.waiting, j.index)
	}
}

// hasten makes a job that waits due at this time, unless it is due before.
func (a *agenda) hasten(j *job, due time.Time) {
	a.mu.Lock()
	if j.index != notWaiting && due.Before(j.due) {
		j.due = due
		heap.Fix(&a.waiting, j.index)
	}
	a.mu.Unlock()
	a.poke()
}

// renew makes a job due now. One that is under way is done again: it began with what is no longer true.
func (a *agenda) renew(j *job) {
	a.mu.Lock()
	j.again = j.index == notWaiting
	a.mu.Unlock()
	a.hasten(j, time.Now())
}

func (a *agenda) poke() {
	select {
	case a.wake <- struct{}{}:
	default: // there is a token already
	}
}

// run does the jobs until ctx ends, and returns when none is under way any more.
func (a *agenda) run(ctx context.Context) {
	var underWay sync.WaitGroup
	defer underWay.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.wake:
		case <-timer.C:
		}
		for {
			j, wait := a.next()
			if j == nil {
				timer.Reset(wait)
				break
			}
			underWay.Go(func() { a.done(j, j.do(ctx)) })
		}
	}
}

// next takes the job that may begin now. When there is none it tells how long to wait for one.
func (a *agenda) next() (j *job, wait time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.waiting) == 0 || a.running >= a.limit {
		return nil, longWait
	}
	now := time.Now()
	first := a.waiting[0]
	if wait := max(first.due.Sub(now), a.started.Add(a.pace).Sub(now)); wait > 0 {
		return nil, wait
	}
	heap.Pop(&a.waiting)
	a.running++
	a.started = now
	return first, 0
}

func (a *agenda) done(j *job, next time.Time) {
	a.mu.Lock()
	a.running--
	if !j.dropped {
		if j.again {
			j.again, next = false, time.Now()
		}
		j.due = next
		heap.Push(&a.waiting, j)
	}
	a.mu.Unlock()
	a.poke()
}

// jobs is a heap, the job that is due first on top.
type jobs []*job

func (q jobs) Len() int           { return len(q) }
func (q jobs) Less(i, k int) bool { return q[i].due.Before(q[k].due) }

func (q jobs) Swap(i, k int) {
	q[i], q[k] = q[k], q[i]
	q[i].index, q[k].index = i, k
}

// Push is for container/heap.
func (q *jobs) Push(x any) {
	j := x.(*job) // nothing else is pushed
	j.index = len(*q)
	*q = append(*q, j)
}

// Pop is for container/heap.
func (q *jobs) Pop() any {
	last := len(*q) - 1
	j := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	j.index = notWaiting
	return j
}
