package daemon

import (
	"context"
	"os"
	"time"

	"natd/internal/config"
	"natd/internal/control"
	"natd/nat"
)

// reloadBySignal reloads for every signal, until ctx ends. There is nobody to answer.
func (d *Daemon) reloadBySignal(ctx context.Context, signals <-chan os.Signal) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-signals:
		}
		told, _ := inLoop(ctx, d, func() (bool, error) {
			if d.ready {
				d.Notify.Reloading()
			}
			return d.ready, nil
		})
		if _, err := d.renew(ctx); err != nil && ctx.Err() == nil {
			d.Log.Error("the configuration was not reloaded, the old one goes on", "error", err)
		}
		if told {
			_, _ = inLoop(ctx, d, func() (any, error) { d.Notify.Ready(d.lastStatus); return nil, nil }) // fails when natd ends
		}
	}
}

// renew reads the file and asks for the names that are new in it. Meanwhile the loop goes on; what was learned is then brought
// into force there.
func (d *Daemon) renew(ctx context.Context) (*control.Outcome, error) {
	d.reloads.Lock()
	defer d.reloads.Unlock()
	cfg, err := d.files.Load(d.ConfigPath)
	if err != nil {
		err = control.Errorf(control.CodeConfig, "%w", err)
	} else {
		d.probes.learn(ctx, cfg)
	}
	return inLoop(ctx, d, func() (*control.Outcome, error) { return d.reload(cfg, err) })
}

// reload takes the configuration, if it was read without an error and the kernel accepts what it asks for. Else the old one goes on.
func (d *Daemon) reload(cfg *config.Config, err error) (*control.Outcome, error) {
	if err == nil && d.runs(cfg) {
		return d.reloadSame()
	}
	var protect nat.Protect
	var next *placed
	if err == nil {
		protect, next, err = d.examine(cfg)
	}
	if err != nil {
		d.configErr = err.Error()
		d.poke() // the service manager's status line says so
		return nil, err
	}
	old, oldHold, loadedAt, wasFlushed, held := d.cfg, d.hold, d.loadedAt, d.flushed, d.tenure.clone()
	notes := d.reloadNotes(cfg)
	d.use(cfg, protect)
	d.facts, d.former = next.facts, *next
	d.sync.steps = nil
	if err := d.pass(); err != nil {
		d.use(old, oldHold.Protect)
		d.loadedAt, d.flushed, d.configErr, d.tenure = loadedAt, wasFlushed, err.Error(), held
		d.network.Store(true) // of the host may be known only what the refused one needs
		d.poke()
		return nil, control.Errorf(control.CodeFailed, "the kernel refused the new configuration, the old one goes on: %w", err)
	}
	d.tidy.later(len(cfg.NAT.Relays))
	d.web.follow(cfg.Metrics.Listen)
	d.forgetDrains() // not before: the old configuration may have to go on
	d.lasting.forget(meteringOf(cfg).keep)
	d.Log.Info("configuration reloaded", "path", cfg.Path, "sha256", cfg.SHA256, "relays", len(cfg.NAT.Relays))
	changes := append([]string{}, d.sync.steps...)
	return &control.Outcome{SchemaVersion: control.SchemaVersion, Changes: changes, Notes: append(notes, d.shortfalls()...)}, nil
}

// runs tells whether the configuration is the one that runs, of which nothing was refused, by natd or the kernel. The parser knows it by its
// text.
func (d *Daemon) runs(cfg *config.Config) bool {
	return cfg == d.cfg && d.want != nil && !d.flushed && len(d.refused) == 0 && d.placed.fast.why == ""
}

// reloadSame is reload of the configuration that runs already. All that can have changed is
// what is around it.
func (d *Daemon) reloadSame() (*control.Outcome, error) {
	d.loadedAt, d.configErr, d.sync.steps = time.Now(), "", nil
	d.network.Store(true)
	if d.probes.ask(d.cfg) {
		d.live.Store(true) // there may be an answer that was found for this reload
	}
	d.flowlog.enable(d.cfg) // its file may have been moved away
	d.sync.due = true       // as after any reload, connections are held against the configuration
	if err := d.pass(); err != nil {
		d.poke()
		return nil, control.Errorf(control.CodeFailed, "the kernel could not be brought in line: %w", err)
	}
	d.web.follow(d.cfg.Metrics.Listen)
	d.Log.Info("configuration reloaded", "path", d.cfg.Path, "sha256", d.cfg.SHA256, "relays", len(d.cfg.NAT.Relays))
	return &control.Outcome{
		SchemaVersion: control.SchemaVersion, Changes: append([]string{}, d.sync.steps...),
		Notes: append(disabledNotes(&d.cfg.NAT), d.shortfalls()...),
	}, nil
}

// plan is what a reload of the file would change now. Of many relays natd knows most of that without reading the kernel or all of the file.
func (d *Daemon) plan(ctx context.Context) (*control.Outcome, error) {
	d.reloads.Lock()
	defer d.reloads.Unlock()
	cfg, err := d.files.Load(d.ConfigPath)
	if err != nil {
		return nil, control.Errorf(control.CodeConfig, "%w", err)
	}
	d.probes.learn(ctx, cfg)
	return inLoop(ctx, d, func() (*control.Outcome, error) {
		if err := d.pass(); err != nil {
			d.poke()
		}
		fast := d.fast
		protect, next, err := d.examine(cfg)
		d.fast = fast // which interfaces it was refused for is a matter of the configuration that runs
		if err != nil {
			return nil, err
		}
		d.tidy.later(len(cfg.NAT.Relays))
		have, err := d.held()
		if err != nil {
			return nil, err
		}
		return prospect(cfg, have, protect, next, d.sysctls), nil
	})
}

// examine holds a configuration against this host: a relay that is new may not take the port of a local service. What it places, the next
// pass takes over.
func (d *Daemon) examine(cfg *config.Config) (nat.Protect, *placed, error) {
	protect, err := protection(d.kernel, cfg)
	if err != nil {
		return 0, nil, err
	}
	f, err := d.factsNow(&cfg.NAT)
	if err != nil {
		return 0, nil, err
	}
	refused := make(map[string]string)
	next, err := d.placeAll(cfg, refused, f)
	if err != nil {
		return 0, nil, err
	}
	return protect, next, refusal(cfg, refused)
}

// factsNow is what a new configuration depends on. The addresses and settings of the host are read; the ways are those that are known,
// for as long as no change of the network was heard of.
func (d *Daemon) factsNow(spec *nat.Spec) (*facts, error) {
	if d.facts == nil || d.network.Load() {
		return d.factsFor(spec, true)
	}
	host, err := d.hostFacts(spec, d.facts.live)
	if err != nil {
		return nil, err
	}
	return d.factsFor(spec, !host.sameHost(d.facts))
}

func (d *Daemon) reloadNotes(cfg *config.Config) []string {
	notes := disabledNotes(&cfg.NAT)
	if cfg.Daemon.SocketGroup != d.cfg.Daemon.SocketGroup {
		notes = append(notes, "socket_group takes effect when natd is restarted")
	}
	return notes
}
