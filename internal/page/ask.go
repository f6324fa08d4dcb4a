package page

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"natd/internal/control"
)

const (
	// fresh is how long a status serves everyone who asks.
	fresh = time.Second
	// comparable is how old the counts may be that a rate is worked out from: what was an hour ago is not "now".
	comparable = time.Minute
)

// answer is a status, and what it is compared with.
type answer struct {
	status *control.Status
	at     time.Time
	before *sample // nil when there is nothing to compare with
}

// asker asks for statuses, one at a time.
type asker struct {
	source func(context.Context) (*control.Status, error)
	turn   chan struct{} // holds a token while somebody asks

	mu     sync.Mutex      // of what follows, so that it can be read while somebody asks
	last   *control.Status // while it is fresh: of 100,000 relays it is too large to be kept for nobody
	now    *sample
	before *sample
	since  time.Time // of the first failure in a row; zero while natd answers
}

func newAsker(source func(context.Context) (*control.Status, error)) *asker {
	return &asker{source: source, turn: make(chan struct{}, 1)}
}

// ask returns a status that is at most a second old.
func (a *asker) ask(ctx context.Context) (*answer, error) {
	select {
	case a.turn <- struct{}{}:
		defer func() { <-a.turn }()
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for others who ask natd: %w", ctx.Err())
	}
	if known := a.known(); known != nil {
		return known, nil
	}
	status, err := a.source(ctx)
	if err == nil && status == nil {
		err = errors.New("it has no status yet")
	}
	switch {
	case err == nil:
	case errors.Is(ctx.Err(), context.Canceled): // the reader has gone away, and natd is not to blame
		return nil, err
	default:
		a.fail()
		return nil, err
	}
	return a.keep(status), nil
}

// known is the last answer while it is fresh.
func (a *asker) known() *answer {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.last == nil || time.Since(a.now.at) >= fresh {
		return nil
	}
	return &answer{status: a.last, at: a.now.at, before: a.before}
}

// keep makes the status the last one, and what was the last one the one before.
func (a *asker) keep(status *control.Status) *answer {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.before, a.now = a.now, newSample(status, time.Now())
	if a.before != nil && !a.before.comparableTo(a.now) {
		a.before = nil
	}
	a.last, a.since = status, time.Time{}
	time.AfterFunc(fresh, func() { a.forget(status) })
	return &answer{status: status, at: a.now.at, before: a.before}
}

// forget lets go of a status, unless there is a newer one.
func (a *asker) forget(status *control.Status) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.last == status && time.Since(a.now.at) >= fresh {
		a.last = nil
	}
}

func (a *asker) fail() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.since.IsZero() {
		a.since = time.Now()
	}
}

// silence is that natd does not answer.
type silence struct {
	Since  time.Time // the first question without an answer
	Reason string
}

func (a *asker) silence(err error) *silence {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := &silence{Since: a.since, Reason: err.Error()}
	if s.Since.IsZero() { // the turn never came
		s.Since = time.Now()
	}
	return s
}
