package lab

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// dialers is how many dial at the same time.
const dialers = 2

// Load is connections to an echo server that are made, used once and closed, as fast as they can be.
type Load struct {
	stop atomic.Bool
	wait sync.WaitGroup
	made atomic.Int64

	mu      sync.Mutex
	failed  []error
	longest time.Duration
}

// Load begins to make connections from the host. It ends with the test, if not before.
func (h *Host) Load(t testing.TB, to string) *Load {
	l := new(Load)
	t.Cleanup(func() { l.stop.Store(true) })
	for range dialers {
		l.wait.Go(func() {
			for !l.stop.Load() && l.record(h.timed(t.Context(), to)) {
				l.made.Add(1)
			}
		})
	}
	return l
}

// timed is SayOnce within patience, and how long it took.
func (h *Host) timed(ctx context.Context, to string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	began := time.Now()
	err := h.SayOnce(ctx, to)
	return time.Since(began), err
}

// record keeps how a connection went, and tells whether it worked.
func (l *Load) record(took time.Duration, err error) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.longest = max(l.longest, took)
	if err != nil {
		l.failed = append(l.failed, err)
	}
	return err == nil
}

// Made is how many connections there were so far.
func (l *Load) Made() int64 { return l.made.Load() }

// End ends the load when the connections of this moment are done. Every connection that failed counts, and its dialer has
// given up then. One that took so long that a packet of it must have been lost counts as failed.
func (l *Load) End() (made int64, failed []error) {
	l.stop.Store(true)
	l.wait.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.longest > hiccup {
		l.failed = append(l.failed, fmt.Errorf("the longest connection took %v", l.longest))
	}
	return l.made.Load(), l.failed
}

// SayOnce makes a connection to an echo server, says one thing, and hears it.
func (h *Host) SayOnce(ctx context.Context, to string) error {
	conn, err := h.Dial(ctx, "tcp", to)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, "natd"); err != nil {
		return err
	}
	_, err = io.ReadFull(conn, make([]byte, 4))
	return err
}
