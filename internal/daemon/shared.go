package daemon

import (
	"context"
	"fmt"
	"sync"
	"time"

	"natd/internal/control"
)

const (
	// statusAge is how old a status may be that metrics and the page show. Many who ask, or one who asks in a loop, cost the goroutine
	// that owns the kernel one status a second.
	statusAge = time.Second
	// statusPatience is how long natd may take for a status, whoever still waits for it.
	statusPatience = time.Minute
)

// shared asks for the status once for all who want it at the same time, and gives the answer to those who come soon after. What it
// hands out is read by several goroutines, and never changed.
type shared struct {
	ask func(context.Context) (*control.Status, error)

	mu    sync.Mutex
	last  *control.Status
	at    time.Time // when the question for last was asked
	under *asking   // nil while nobody waits
}

// asking is a question that is under way.
type asking struct {
	done   chan struct{} // closed with the answer
	status *control.Status
	err    error
}

// status is natd's status, at most statusAge old. It waits as long as ctx lets it; the answer to a question that nobody waited for to
// the end is for those who come later.
func (s *shared) status(ctx context.Context) (*control.Status, error) {
	q := s.join(time.Now())
	select {
	case <-q.done:
		return q.status, q.err
	case <-ctx.Done():
		return nil, fmt.Errorf("natd has not told its status in time: %w", ctx.Err())
	}
}

// join takes part in the question that is under way, or begins one if the last answer is too old.
func (s *shared) join(now time.Time) *asking {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.under != nil {
		return s.under
	}
	q := &asking{done: make(chan struct{})}
	if s.last != nil && now.Sub(s.at) < statusAge {
		q.status = s.last
		close(q.done)
		return q
	}
	s.under = q
	go s.answer(q, now)
	return q
}

func (s *shared) answer(q *asking, asked time.Time) {
	ctx, cancel := context.WithTimeout(context.Background(), statusPatience)
	defer cancel()
	q.status, q.err = s.ask(ctx)
	s.mu.Lock()
	s.last, s.at, s.under = q.status, asked, nil
	s.mu.Unlock()
	close(q.done)
	time.AfterFunc(statusAge, func() { s.forget(q.status) })
}

// forget lets go of a status that is too old: with 100,000 relays it is large.
func (s *shared) forget(status *control.Status) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == status {
		s.last = nil
	}
}
