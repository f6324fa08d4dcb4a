package daemon

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"time"

	"natd/internal/control"
)

// handler answers requests from the control socket, each in the goroutine that owns the kernel.
type handler struct{ d *Daemon }

// inLoop runs f in the loop's goroutine and waits for it.
func inLoop[T any](ctx context.Context, d *Daemon, f func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	var none T
	select {
	case d.requests <- func() {
		value, err := f()
		done <- result{value, err}
	}:
	case <-ctx.Done():
		return none, fmt.Errorf("natd is busy: %w", ctx.Err())
	}
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		return none, fmt.Errorf("natd is busy: %w", ctx.Err())
	}
}

// Status looks before it answers, so that what it says is what the kernel says. What takes long the loop does not wait for: to count connections
// comes before it looks; to choose what is told, to read the counters of that, and to put all together comes after, from what the loop has left
// behind.
func (h handler) Status(ctx context.Context, which *control.StatusArgs) (*control.Status, error) {
	counts := h.d.counted(ctx)
	counts.uses = counts.portUse()
	type left struct {
		*control.Status
		view *Daemon
	}
	l, err := inLoop(ctx, h.d, func() (left, error) {
		if err := h.d.pass(); err != nil {
			h.d.poke()
		}
		return left{h.d.status(), h.d.view()}, nil
	})
	if err != nil {
		return nil, err
	}
	all := l.view.census(counts, which)
	now := h.d.lookAtCounters(ctx, l.view, all.told, counts.accounting.Exact)
	newer, err := inLoop(ctx, h.d, func() (lasting, error) {
		h.d.takeCounters(now)
		return h.d.lasting.clone(), nil
	})
	if err != nil {
		return nil, err
	}
	maps.Copy(l.view.lasting.counts, newer.counts) // what a reload has taken away meanwhile is still told
	l.view.complete(l.Status, counts, all)
	h.d.tidy.later(max(len(l.Relays), len(l.view.lasting.counts)))
	return l.Status, nil
}

// Reload takes the file anew.
func (h handler) Reload(ctx context.Context) (*control.Outcome, error) {
	return h.d.renew(ctx)
}

// Plan tells what a reload would change.
func (h handler) Plan(ctx context.Context) (*control.Outcome, error) { return h.d.plan(ctx) }

// Known tells what natd goes by, and what there is to know of backends.
func (h handler) Known(ctx context.Context) (*control.Known, error) {
	return inLoop(ctx, h.d, func() (*control.Known, error) { return h.d.known(), nil })
}

// Flush removes everything that natd made and leaves it so until the next reload.
func (h handler) Flush(ctx context.Context) (*control.Outcome, error) {
	return inLoop(ctx, h.d, func() (*control.Outcome, error) {
		changes, err := h.d.remove()
		if err != nil {
			return nil, err
		}
		h.d.flushed = true
		h.d.tenure.forfeit() // the ports are anybody's now
		h.d.lastStatus = "flushed: natctl reload programs the relays again"
		h.d.Notify.Status(h.d.lastStatus)
		return &control.Outcome{
			SchemaVersion: control.SchemaVersion, Changes: changes,
			Notes: append(unrestoredNotes(h.d.sysctls), "natd runs on and repairs nothing until \"natctl reload\""),
		}, nil
	})
}

// Drain keeps new connections away from a backend, or from every one of a relay.
func (h handler) Drain(ctx context.Context, relay, backend string) (*control.Outcome, error) {
	return inLoop(ctx, h.d, func() (*control.Outcome, error) { return h.d.setDrained(relay, backend, true) })
}

// Enable undoes Drain.
func (h handler) Enable(ctx context.Context, relay, backend string) (*control.Outcome, error) {
	return inLoop(ctx, h.d, func() (*control.Outcome, error) { return h.d.setDrained(relay, backend, false) })
}

// remove takes everything back that natd made: connections of relays, tables and sysctls.
func (d *Daemon) remove() ([]string, error) {
	began := time.Now()
	changes, err := teardown(d.kernel, d.conntrack, d.sysctls)
	d.sync.verified, d.sync.settled, d.sync.mirror, d.forwarding, d.forwarding6 = false, false, nil, false, false
	if err != nil {
		return changes, err
	}
	if left := unrestored(d.sysctls); left != "" {
		d.Log.Warn("sysctls that were changed in another boot or network namespace are not restored", "sysctls", left)
	}
	d.Log.Info("removed everything that natd made", "changes", strings.Join(changes, "; "), "took", time.Since(began).Round(time.Microsecond))
	return changes, nil
}
