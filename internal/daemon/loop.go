package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"natd/internal/config"
	"natd/internal/control"
	"natd/nat"
	"natd/netconf"
)

// Times between passes that fail.
const (
	firstRetry   = 100 * time.Millisecond
	longestRetry = 10 * time.Second
)

// serve starts what wakes the loop, and loops until ctx ends.
func (d *Daemon) serve(ctx context.Context, reload <-chan os.Signal) error {
	watcher, err := nat.NewWatcher(d.kernel.Port())
	if err != nil {
		return err
	}
	server, err := control.Listen(d.SocketPath, d.cfg.Daemon.SocketGroup, d.Log)
	if err != nil {
		return errors.Join(err, watcher.Close())
	}
	tasks, cancel := context.WithCancelCause(ctx)
	d.start(cancel, "watch the ruleset", func() error {
		return watcher.Run(tasks, func(w nat.Writer) { d.writers.add(w); d.poke() })
	})
	d.start(cancel, "watch the network", func() error {
		return netconf.Watch(tasks, func() { d.network.Store(true); d.poke() })
	})
	d.start(cancel, "serve the control socket", func() error { return server.Serve(tasks, handler{d}) })
	d.start(cancel, "report new connections", func() error { return d.records(tasks) })

	err = d.loop(tasks, reload)
	cancel(nil)
	d.tasks.Wait()
	return errors.Join(err, watcher.Close(), server.Close(), d.stop(ctx))
}

// start runs a task. One that fails ends natd: a daemon that has gone deaf is worse than one that is started anew.
func (d *Daemon) start(cancel context.CancelCauseFunc, name string, task func() error) {
	d.tasks.Go(func() {
		if err := task(); err != nil {
			cancel(fmt.Errorf("%s: %w", name, err))
		}
	})
}

// loop is the goroutine that owns the kernel.
func (d *Daemon) loop(ctx context.Context, reload <-chan os.Signal) error {
	resync := time.NewTicker(d.cfg.Daemon.Resync)
	defer resync.Stop()
	beat, stopBeat := ticker(d.Notify.WatchdogInterval())
	defer stopBeat()
	retry := time.NewTimer(0)
	defer retry.Stop()
	d.poke()
	for pause := firstRetry; ; {
		pass := false
		select {
		case <-ctx.Done():
			return cause(ctx)
		case <-d.wake:
			pass = true
		case <-retry.C:
			pass = true
		case <-resync.C:
			d.network.Store(true)
			d.sync.verified = false
			pass = true
		case <-reload:
			d.reloadLogged(ctx)
			resync.Reset(d.cfg.Daemon.Resync)
		case request := <-d.requests:
			request()
			resync.Reset(d.cfg.Daemon.Resync)
		case <-beat:
		}
		if pass {
			err := d.pass(ctx)
			if errors.Is(err, nat.ErrOwned) && !d.ready {
				return err
			}
			pause = schedule(retry, pause, err)
		}
		d.Notify.Alive()
	}
}

// schedule plans the next try after a pass that failed.
func schedule(retry *time.Timer, pause time.Duration, err error) time.Duration {
	var paced *pacedError
	switch {
	case err == nil:
		retry.Stop()
		return firstRetry
	case errors.As(err, &paced):
		retry.Reset(paced.wait)
		return firstRetry
	}
	retry.Reset(pause)
	return min(2*pause, longestRetry)
}

// cause is why the tasks' context ended: nil for a stop that was asked for.
func cause(ctx context.Context) error {
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

func ticker(interval time.Duration) (<-chan time.Time, func()) {
	if interval <= 0 {
		return nil, func() {}
	}
	t := time.NewTicker(interval)
	return t.C, t.Stop
}

// stop leaves the kernel as the configuration asks for.
func (d *Daemon) stop(ctx context.Context) error {
	d.Notify.Stopping()
	if ctx.Err() == nil || d.cfg.Daemon.OnStop != config.Remove || d.flushed {
		return nil // a failure keeps the rules, as a crash does
	}
	_, err := d.remove()
	return err
}
