package daemon

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"time"

	"natd/internal/config"
	"natd/internal/control"
	"natd/nat"
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

// Status looks before it answers, so that what it says is what the kernel says.
func (h handler) Status(ctx context.Context) (*control.Status, error) {
	return inLoop(ctx, h.d, func() (*control.Status, error) {
		if err := h.d.pass(); err != nil {
			h.d.poke()
		}
		return h.d.status(), nil
	})
}

// Reload takes the file anew.
func (h handler) Reload(ctx context.Context) (*control.Outcome, error) {
	return inLoop(ctx, h.d, func() (*control.Outcome, error) { return h.d.reload() })
}

// Flush removes everything that natd made and leaves it so until the next reload.
func (h handler) Flush(ctx context.Context) (*control.Outcome, error) {
	return inLoop(ctx, h.d, func() (*control.Outcome, error) {
		changes, err := h.d.remove()
		if err != nil {
			return nil, err
		}
		h.d.flushed = true
		clear(h.d.had) // the ports are anybody's now
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

// reloadLogged is a reload by signal: there is nobody to answer.
func (d *Daemon) reloadLogged() {
	if d.ready {
		d.Notify.Reloading()
		defer func() { d.Notify.Ready(d.lastStatus) }()
	}
	if _, err := d.reload(); err != nil {
		d.Log.Error("the configuration was not reloaded, the old one goes on", "error", err)
	}
}

// reload takes the file, if it is free of errors and the kernel accepts what it asks for. Else the old one goes on.
func (d *Daemon) reload() (*control.Outcome, error) {
	cfg, protect, err := d.load()
	if err != nil {
		d.configErr = err.Error()
		d.poke() // the service manager's status line says so
		return nil, err
	}
	old, oldHold, loadedAt, wasFlushed, had := d.cfg, d.hold, d.loadedAt, d.flushed, maps.Clone(d.had)
	notes := d.reloadNotes(cfg)
	d.use(cfg, protect)
	d.sync.steps = nil
	if err := d.pass(); err != nil {
		d.use(old, oldHold.Protect)
		d.loadedAt, d.flushed, d.configErr, d.had = loadedAt, wasFlushed, err.Error(), had
		d.poke()
		return nil, control.Errorf(control.CodeFailed, "the kernel refused the new configuration, the old one goes on: %w", err)
	}
	d.Log.Info("configuration reloaded", "path", cfg.Path, "sha256", cfg.SHA256, "relays", len(cfg.NAT.Relays))
	changes := append([]string{}, d.sync.steps...)
	return &control.Outcome{SchemaVersion: control.SchemaVersion, Changes: changes, Notes: append(notes, d.shortfalls()...)}, nil
}

// load reads the file and holds it against this host: a relay that is new may not take the port of a local service.
func (d *Daemon) load() (*config.Config, nat.Protect, error) {
	cfg, err := config.Load(d.ConfigPath)
	if err != nil {
		return nil, 0, control.Errorf(control.CodeConfig, "%w", err)
	}
	protect, err := protection(d.kernel, cfg)
	if err != nil {
		return nil, 0, err
	}
	refused := make(map[string]string)
	if _, err := d.placeAll(cfg, refused, true); err != nil {
		return nil, 0, err
	}
	if err := refusal(cfg, refused); err != nil {
		return nil, 0, err
	}
	return cfg, protect, nil
}

func (d *Daemon) reloadNotes(cfg *config.Config) []string {
	notes := disabledNotes(&cfg.NAT)
	if cfg.Daemon.SocketGroup != d.cfg.Daemon.SocketGroup {
		notes = append(notes, "socket_group takes effect when natd is restarted")
	}
	return notes
}

// remove takes everything back that natd made: connections of relays, tables and sysctls.
func (d *Daemon) remove() ([]string, error) {
	began := time.Now()
	changes, err := teardown(d.kernel, d.conntrack, d.sysctls)
	d.sync.verified, d.sync.settled, d.forwarding, d.forwarding6 = false, false, false, false
	if err != nil {
		return changes, err
	}
	if left := unrestored(d.sysctls); left != "" {
		d.Log.Warn("sysctls that were changed in another boot or network namespace are not restored", "sysctls", left)
	}
	d.Log.Info("removed everything that natd made", "changes", strings.Join(changes, "; "), "took", time.Since(began).Round(time.Microsecond))
	return changes, nil
}
