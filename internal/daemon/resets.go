package daemon

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"sync"

	"natd/internal/flow"
)

// Bounds of telling clients that their connections are over: the sockets at a time, and those that wait. A client that is not
// told learns it when it sends.
const (
	resetsAtATime = 256
	resetsWaiting = 65536
)

// resets tells clients that their connections are over.
type resets struct {
	log  *slog.Logger
	wake chan struct{} // a token: look again

	mu      sync.Mutex
	waiting []flow.Entry
}

func newResets(log *slog.Logger) *resets {
	return &resets{log: log, wake: make(chan struct{}, 1)}
}

// add takes connections whose entries are removed. It does not block.
func (r *resets) add(entries []flow.Entry) {
	r.mu.Lock()
	room := resetsWaiting - len(r.waiting)
	r.waiting = append(r.waiting, entries[:min(len(entries), room)]...)
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *resets) take() []flow.Entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	taken := r.waiting
	r.waiting = nil
	return taken
}

// run tells clients until ctx ends.
func (r *resets) run(ctx context.Context) error {
	slots := make(chan struct{}, resetsAtATime)
	var underWay sync.WaitGroup
	defer underWay.Wait()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.wake:
		}
		var once sync.Once
		for _, e := range r.take() {
			select {
			case <-ctx.Done():
				return nil
			case slots <- struct{}{}:
			}
			underWay.Go(func() {
				defer func() { <-slots }()
				if err := e.Reset(ctx); err != nil {
					once.Do(func() { r.complain(&e, err) })
				}
			})
		}
	}
}

// complain says why clients are not told, once for all that lost their connections together.
func (r *resets) complain(e *flow.Entry, err error) {
	hint := "a local service may have the port"
	if errors.Is(err, fs.ErrPermission) {
		hint = "natd needs CAP_NET_BIND_SERVICE for ports below 1024"
	}
	r.log.Warn("clients of connections that were ended are not told: they learn it when they send",
		"client", e.Orig.Src, "listen", e.Orig.Dst, "error", err, "hint", hint)
}
