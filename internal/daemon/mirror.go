package daemon

import (
	"errors"
	"time"

	"golang.org/x/time/rate"

	"natd/nat"
)

// The table is read as a whole when something may have changed in it, and now and then in any case. What that costs is bounded, however
// large the table is and whatever other programs do.
const (
	// readShare is the most that reading again without a reason may take, of all time: one part in so many. Of a table of some thousand
	// relays that is every resync.
	readShare = 500

	// lookRate is how much time a second reading may take because others changed something of which it is not known what, beyond
	// the first lookBurst.
	lookRate, lookBurst = 100 * time.Millisecond, 3 * time.Second

	// hearing is how long natd waits to hear who made a change that it has come across: what that touched is told right behind it.
	hearing, hearingStep = 20 * time.Millisecond, time.Millisecond
)

// reading is the last time that something large was read as a whole.
type reading struct {
	at   time.Time
	took time.Duration
}

func (r *reading) note(began time.Time) { *r = reading{began, time.Since(began)} }

// idle tells whether it may be done again without a reason.
func (r *reading) idle() bool { return time.Since(r.at) >= readShare*r.took }

// newLooks is the allowance for reading after changes of others, in microseconds.
func newLooks() *rate.Limiter {
	return rate.NewLimiter(rate.Limit(lookRate.Microseconds()), int(lookBurst.Microseconds()))
}

// unchanged tells whether the kernel still is as it was when it was last read and found right.
func (d *Daemon) unchanged() (bool, error) {
	known, err := d.current()
	if err != nil || !d.sync.verified || d.sync.due {
		return false, err
	}
	if d.sync.overdue {
		d.sync.overdue = d.sync.read.idle()
	}
	if d.sync.overdue {
		return false, nil
	}
	if !known {
		return d.seemsUnchanged()
	}
	d.sync.at = time.Now()
	return true, nil
}

// current tells whether the mirror is the table as it is now: as it was read, or followed from what was read by changes that were
// proven. Without a commit the table does not change; and a commit of others is of no account that is known to have touched other tables
// only, or that met a table which natd owns.
func (d *Daemon) current() (bool, error) {
	now, err := d.kernel.Generation()
	if err != nil || d.sync.mirror == nil {
		return false, err
	}
	if before := d.sync.mirror.Generation; now != before && !d.spared(before, now) {
		owned := false
		if d.hold.Protect == nat.ProtectOwn {
			owned, err = d.kernel.Owns()
		}
		if !owned {
			return false, err
		}
	}
	d.sync.mirror.Generation = now
	return true, nil
}

// spared is others.spared for a change that may have been made only now.
func (d *Daemon) spared(from, to uint32) bool {
	for began := time.Now(); time.Since(began) < hearing && !d.others.heard(to); {
		time.Sleep(hearingStep)
	}
	return d.others.spared(from, to)
}

// seemsUnchanged is for a table of which it is not known whether others have changed it. To read all of it is the only proof. Where
// others keep natd from hearing what they do, by changing more than it can hear, that would be all that natd does: then it looks
// at everything but the elements, which tells what matters most - that the table is gone, or was flushed, or has other rules - and
// reads the elements as soon as it has not read them for long enough. That somebody touched natd's table is a reason that it has heard.
func (d *Daemon) seemsUnchanged() (bool, error) {
	if d.looks.Tokens() > 0 || d.sync.mirror == nil || d.others.touched(d.sync.mirror.Generation) {
		return false, nil
	}
	plan := nat.Diff(d.want, d.sync.mirror, d.hold)
	now, err := d.kernel.Generation()
	if err != nil || !plan.Empty() {
		return false, err
	}
	if _, err := d.kernel.Prove(plan, now, d.hold); err != nil && !errors.Is(err, nat.ErrLater) {
		return false, nil //nolint:nilerr // the reason to read all
	}
	time.AfterFunc(time.Duration(-d.looks.Tokens()+1)*time.Microsecond, d.poke)
	return true, nil
}

// held is the table as the kernel has it: the mirror, if that is what it is.
func (d *Daemon) held() (*nat.Table, error) {
	known, err := d.current()
	if err == nil && known {
		err = d.kernel.Refresh(d.sync.mirror)
	}
	if err != nil || known {
		return d.sync.mirror, err
	}
	return d.kernel.Read()
}

// compare finds what it takes to bring the kernel to what is wanted: by what is known of it, if that is enough, or else by reading all.
func (d *Daemon) compare() (*nat.Table, *nat.Plan, error) {
	known, err := d.current()
	if err != nil {
		return nil, nil, err
	}
	if known && !d.sync.overdue {
		if err := d.kernel.Refresh(d.sync.mirror); err != nil {
			return nil, nil, err
		}
		plan := nat.Diff(d.want, d.sync.mirror, d.hold)
		if plan.Empty() {
			return d.sync.mirror, plan, nil
		}
		if plan.ByKey() {
			return d.sync.mirror, plan, d.kernel.Counts(plan)
		}
	}
	d.sync.mirror = nil
	began := time.Now()
	have, err := d.kernel.Read()
	if err != nil {
		return nil, nil, err
	}
	d.sync.read.note(began)
	d.sync.overdue = false
	if d.looks.Tokens() > 0 { // a fight over the table, where each repair reads it, must not put off what comes after it
		d.looks.ReserveN(began, min(int(d.sync.read.took.Microseconds()), d.looks.Burst()))
	}
	d.lasting.see(have, time.Now())
	return have, nat.Diff(d.want, have, d.hold), nil
}

// remember keeps the table that was read and is as it should be.
func (d *Daemon) remember(have *nat.Table) {
	have.Share(d.want)
	d.sync.mirror, d.sync.at, d.sync.fast = have, time.Now(), nil
	if have.FastPath != nil {
		d.sync.fast = have.FastPath.Links
	}
}
