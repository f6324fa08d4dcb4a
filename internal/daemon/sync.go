package daemon

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"natd/internal/control"
	"natd/internal/flow"
	"natd/nat"
)

// syncTries is how often a pass begins again because another program changed the ruleset under it.
const syncTries = 10

// stepsShown is how many steps of a plan the log and the status name.
const stepsShown = 5

// syncState is how the kernel compares with what is wanted.
type syncState struct {
	verified  bool       // want was read back from the kernel, and no change since then is known to have touched it
	mirror    *nat.Table // what is known of the table, see Daemon.current; nil for nothing
	fast      []string   // the interfaces of the flowtable as it was last read and right
	read      reading
	overdue   bool // the table should be read again, whatever is known of it
	settled   bool // the current want has been in the kernel, so what differs now is somebody's doing
	due       bool // connections may contradict the configuration
	at        time.Time
	repaired  control.Repairs
	drift     *control.Drift
	err       string
	failures  uint64   // passes that failed
	durations timing   // of looks at the tables, with what came of them
	ended     uint64   // connections
	steps     []string // what was done in the kernel since the last reload began, or since the last pass
}

// repairs is how many there were of all kinds.
func (s *syncState) repairs() uint64 {
	return s.repaired.Ruleset + s.repaired.Host + s.repaired.Network
}

// pacedError puts a repair off.
type pacedError struct {
	wait time.Duration
	by   string
}

func (e *pacedError) Error() string {
	by := e.by
	if by == "" {
		by = "another program"
	}
	return fmt.Sprintf("%s keeps changing natd's table: the next repair is in %v", by, e.wait.Round(time.Millisecond))
}

// reach brings the kernel to what is wanted and reads back that it is there.
func (d *Daemon) reach() error {
	unchanged, err := d.unchanged()
	if err == nil && !unchanged {
		began := time.Now()
		err = d.reachAnew()
		d.sync.durations.add(time.Since(began))
	}
	if err != nil {
		d.sync.verified, d.sync.mirror, d.sync.err = false, nil, err.Error()
		return err
	}
	d.sync.verified, d.sync.settled, d.sync.err = true, true, ""
	d.others.forget()
	return nil
}

// reachAnew is reach for tables that may not be as they should be.
func (d *Daemon) reachAnew() (err error) {
	for range syncTries {
		if err = d.reachOnce(); !errors.Is(err, nat.ErrStale) {
			break
		}
		d.doubt()
	}
	return err
}

// doubt forgets the table that a refused change was made for, unless the change of another was the reason: then nothing has become of it, and
// what that was is told behind it.
func (d *Daemon) doubt() {
	if d.sync.mirror == nil {
		return
	}
	if now, err := d.kernel.Generation(); err != nil || now == d.sync.mirror.Generation {
		d.sync.mirror = nil
	}
}

func (d *Daemon) reachOnce() error {
	have, plan, err := d.compare()
	if err != nil {
		return err
	}
	drifted := d.sync.settled && plan.Heals()
	if drifted {
		if r := d.repairs.Reserve(); r.Delay() > 0 {
			r.Cancel()
			return &pacedError{wait: r.Delay(), by: d.others.String()}
		}
	}
	if have, err = d.carryOut(plan, have, drifted); err != nil {
		return err
	}
	d.remember(have)
	return nil
}

// carryOut applies the plan, then removes the connections that contradict it, and only then forgets the listens they
// were made through: until that is done the kernel's own set remembers them, whatever becomes of natd, and a file what gateways and
// statics translated. It returns the table as it was read after that: what the kernel says after a change is what was wanted. A change
// of a few elements is proven at once. Of any other the proof comes last: the relays work before it.
func (d *Daemon) carryOut(plan *nat.Plan, have *nat.Table, drifted bool) (*nat.Table, error) {
	byKey := plan.ByKey()
	if !plan.Empty() {
		if err := d.apply(plan, have, drifted); err != nil {
			return nil, err
		}
		if byKey {
			var err error
			if have, err = d.prove(plan, have.Generation); err != nil {
				return nil, err
			}
		}
	}
	if d.sync.due || len(plan.Retired) > 0 {
		if err := d.dropStale(plan.Retired); err != nil {
			return nil, err
		}
		d.sync.due = false
		if err := d.leaving.done(); err != nil {
			return nil, fmt.Errorf("forget which gateways and statics were removed: %w", err)
		}
	}
	release := plan.Release()
	switch {
	case !byKey && len(plan.Retired) > 0:
		if err := d.unheard(plan, func() error { return d.kernel.Release(plan.Retired) }); err != nil {
			return nil, err
		}
	case len(plan.Retired) > 0:
		if err := d.kernel.Apply(release, have.Generation, d.hold); err != nil {
			return nil, err
		}
		d.sync.mirror = nil
		return d.prove(release, have.Generation)
	case byKey:
		return have, nil
	}
	return d.readBack(plan, have.Generation)
}

// apply carries the plan out in the kernel, and reports it.
func (d *Daemon) apply(plan *nat.Plan, have *nat.Table, drifted bool) error {
	began := time.Now()
	removed := flow.Removed(have.Passages(), &d.cfg.NAT)
	if err := d.leaving.note(removed); err != nil {
		d.Log.Warn("if natd is killed now, connections that should end may go on", "error", err)
	}
	err := d.unheard(plan, func() error { return d.kernel.Apply(plan, have.Generation, d.hold) })
	if err != nil {
		return d.withoutFastPath(err)
	}
	d.sync.mirror = nil // until the change is proven
	d.lasting.lose(plan)
	d.leaving.boxes = append(d.leaving.boxes, removed...)
	d.sync.steps = append(d.sync.steps, plan.Steps(planShown)...)
	d.sync.due = true
	if shown, took := plan.Steps(stepsShown), time.Since(began); drifted {
		d.noteDrift(&d.sync.repaired.Ruleset, d.others.String(), shown, took)
	} else {
		d.Log.Info("ruleset changed", "steps", strings.Join(shown, "; "), "took", took.Round(time.Microsecond))
	}
	return nil
}

// unheard makes a large change while natd does not listen to what others do. The proof of a large change is to read all of the table: that
// comes after it, and finds what was missed.
func (d *Daemon) unheard(plan *nat.Plan, change func() error) error {
	if d.watcher == nil || !plan.Large() {
		return change()
	}
	if err := d.watcher.Pause(); err != nil {
		d.Log.Debug("a large change is made although natd listens", "error", err)
		return change()
	}
	err := change()
	if deaf := d.watcher.Resume(); deaf != nil {
		return errors.Join(err, deaf)
	}
	d.others.note(nat.Change{})
	return err
}

// prove is the proof of a change of a few elements, also where others have changed something else since then.
func (d *Daemon) prove(plan *nat.Plan, generation uint32) (*nat.Table, error) {
	have, err := d.kernel.Prove(plan, generation, d.hold)
	if errors.Is(err, nat.ErrLater) && d.spared(plan.Follows(generation), have.Generation) {
		err = nil
	}
	return have, err
}

// readBack is the proof of a change that is too large to be proven element by element.
func (d *Daemon) readBack(plan *nat.Plan, generation uint32) (*nat.Table, error) {
	began := time.Now()
	have, err := d.kernel.Prove(plan, generation, d.hold)
	d.sync.read.note(began)
	return have, err
}

// countRepair counts one repair where those of its kind are counted, and remembers it for status.
func (d *Daemon) countRepair(kind *uint64, by string, what []string) {
	*kind++
	d.sync.drift = &control.Drift{At: time.Now(), By: by, What: strings.Join(what, "; ")}
}

// noteDrift counts and reports one repair of what others did to the table, the host's settings or the network. Who it was and how
// long the repair took are left out where they are not known: "" and 0.
func (d *Daemon) noteDrift(kind *uint64, by string, what []string, took time.Duration) {
	d.countRepair(kind, by, what)
	attrs := []any{"repair", d.sync.drift.What}
	if by != "" {
		attrs = append(attrs, "by", by)
	}
	if took > 0 {
		attrs = append(attrs, "took", took.Round(time.Microsecond))
	}
	d.Log.Warn("repaired", append(attrs, "repairs", d.sync.repairs())...)
}

// dropStale removes the connections that contradict the configuration.
func (d *Daemon) dropStale(retired []nat.Element) error {
	judge := d.newJudge(retired)
	var condemned, told []flow.Entry
	reasons := make(map[string]int)
	err := d.conntrack.Entries(func(e *flow.Entry) {
		if why := judge.Condemned(e); why != "" {
			condemned = append(condemned, e.Clone())
			reasons[why]++
			if e.Resettable(why) {
				told = append(told, condemned[len(condemned)-1])
			}
		}
	})
	if err != nil || len(condemned) == 0 {
		return err
	}
	deleted, err := d.conntrack.Delete(condemned)
	d.sync.ended += uint64(deleted)
	d.resets.add(told)
	var why []string
	for _, reason := range slices.Sorted(maps.Keys(reasons)) {
		why = append(why, fmt.Sprintf("%d because %s", reasons[reason], reason))
	}
	d.sync.steps = append(d.sync.steps, "end connections: "+strings.Join(why, ", "))
	d.Log.Info("ended connections that contradict the configuration", "connections", deleted, "reasons", strings.Join(why, ", "))
	return err
}

func (d *Daemon) newJudge(retired []nat.Element) *flow.Judge {
	j := &flow.Judge{Spec: &d.cfg.NAT, Places: d.placed.all(), Index: d.index, Gone: d.leaving.boxes, Retired: make(map[nat.Endpoint]bool, len(retired))}
	for i := range retired {
		j.Retired[retired[i].Listen()] = true
	}
	return j
}
