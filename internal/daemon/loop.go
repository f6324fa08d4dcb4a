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

// Times between passes: the least, and those after passes that fail.
const (
	minGap       = 20 * time.Millisecond
	firstRetry   = 100 * time.Millisecond
	longestRetry = 10 * time.Second
)

// serve starts what wakes the loop, and loops until ctx ends.
func (d *Daemon) serve(ctx context.Context, reload <-chan os.Signal) error {
	watcher, err := nat.NewWatcher(d.kernel.Port())
	if err != nil {
		return err
	}
	d.watcher = watcher
	server, err := control.Listen(d.SocketPath, d.cfg.Daemon.SocketGroup, d.Log)
	if err != nil {
		return errors.Join(err, watcher.Close())
	}
	tasks, cancel := context.WithCancelCause(ctx)
	d.start(cancel, "watch the ruleset", func() error {
		return watcher.Run(tasks, func(c nat.Change) {
			if d.others.note(c) {
				d.poke()
			}
		})
	})
	d.start(cancel, "watch the network", func() error {
		return netconf.Watch(tasks, func() { d.network.Store(true); d.poke() })
	})
	d.start(cancel, "ask for the instance's metadata", func() error { return d.metadata.run(tasks) })
	d.start(cancel, "check the health of backends", func() error { return d.probes.health.Run(tasks) })
	d.start(cancel, "resolve the names of backends", func() error { return d.probes.names.Run(tasks) })
	d.start(cancel, "tell clients that their connections are over", func() error { return d.resets.run(tasks) })
	d.start(cancel, "serve the control socket", func() error { return server.Serve(tasks, handler{d}) })
	d.start(cancel, "hear of refused packets", func() error { return d.refusals(tasks) })
	d.start(cancel, "write the flow log", func() error { return d.flowlog.run(tasks) })
	d.start(cancel, "count connections", func() error { return d.meter.run(tasks) })
	d.start(cancel, "report new connections", func() error { return d.records(tasks) })
	d.web.follow(d.cfg.Metrics.Listen)
	d.start(cancel, "serve metrics", func() error { return d.web.run(tasks) })
	d.start(cancel, "reload by signal", func() error { d.reloadBySignal(tasks, reload); return nil })

	err = d.loop(tasks)
	cancel(nil)
	d.tasks.Wait()
	d.flowlog.finish()
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
func (d *Daemon) loop(ctx context.Context) error {
	interval := d.cfg.Daemon.Resync
	resync := time.NewTicker(interval)
	defer resync.Stop()
	beat := time.NewTicker(d.beatInterval())
	defer beat.Stop()
	retry := time.NewTimer(longestRetry)
	defer retry.Stop()
	gap := time.NewTimer(minGap)
	defer gap.Stop()
	wake, pause := d.wake, firstRetry
	for d.poke(); ; {
		pass := false
		select {
		case <-ctx.Done():
			return cause(ctx)
		case <-wake:
			pass = true
		case <-gap.C:
			wake = d.wake
		case <-retry.C:
			pass = true
		case <-resync.C:
			if d.gathered.idle() {
				d.network.Store(true)
			}
			d.sync.overdue = true
			pass = true
		case request := <-d.requests:
			request()
		case <-beat.C:
		}
		if d.cfg.Daemon.Resync != interval {
			interval = d.cfg.Daemon.Resync
			resync.Reset(interval)
		}
		if pass {
			d.sync.steps = nil
			read := d.sync.read
			err := d.pass()
			if d.sync.read != read {
				d.tidy.later(len(d.cfg.NAT.Relays))
			}
			if errors.Is(err, nat.ErrOwned) && !d.ready {
				return err
			}
			wake = nil
			pause = schedule(retry, gap, pause, err)
		}
		d.alive()
	}
}

// beatInterval is how often the service manager hears of natd at least: for the watchdog, and while natd starts, before
// the manager's patience ends.
func (d *Daemon) beatInterval() time.Duration {
	const starting = startPatience / 3
	if watchdog := d.Notify.WatchdogInterval(); watchdog > 0 {
		return min(watchdog, starting)
	}
	return starting
}

// alive feeds the watchdog and what /healthz says, and asks for more time for a natd that has nothing to show yet.
func (d *Daemon) alive() {
	if !d.ready {
		d.Notify.Extend(startPatience)
	}
	d.Notify.Alive()
	d.pulse.beat()
}

// schedule plans what may come after a pass: after a success the next event, though not at once, so that a stream of
// events does not become a stream of passes; after a failure another try, too. While repairs are put off, the
// events of whoever makes them necessary are not worth a look.
func schedule(retry, gap *time.Timer, pause time.Duration, err error) (next time.Duration) {
	if paced, ok := errors.AsType[*pacedError](err); ok {
		gap.Stop()
		retry.Reset(paced.wait)
		return firstRetry
	}
	gap.Reset(minGap)
	if err == nil {
		retry.Stop()
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

// stop leaves the kernel as the configuration asks for.
func (d *Daemon) stop(ctx context.Context) error {
	d.Notify.Stopping()
	d.Log.Info("stopping", "on_stop", d.cfg.Daemon.OnStop.String())
	if ctx.Err() == nil || d.cfg.Daemon.OnStop != config.Remove || d.flushed {
		return nil // a failure keeps the rules, as a crash does
	}
	_, err := d.remove()
	return err
}
