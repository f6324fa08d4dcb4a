package lab

import (
	"context"
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
	stop context.CancelFunc
	wait sync.WaitGroup
	made atomic.Int64

	mu     sync.Mutex
	failed []error
}

// Load begins to make connections from the host. It ends with the test, if not before.
func (h *Host) Load(t testing.TB, to string) *Load {
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	l := &Load{stop: cancel}
	for range dialers {
		l.wait.Go(func() {
			for ctx.Err() == nil {
				if err := h.SayOnce(ctx, to); err != nil && ctx.Err() == nil {
					l.mu.Lock()
					l.failed = append(l.failed, err)
					l.mu.Unlock()
					return
				}
				l.made.Add(1)
			}
		})
	}
	return l
}

// End ends the load. Every connection that failed counts, and its dialer has given up then.
func (l *Load) End() (made int64, failed []error) {
	l.stop()
	l.wait.Wait()
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
