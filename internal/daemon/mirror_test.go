package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"natd/internal/config"
	"natd/internal/flow"
	"natd/internal/lab"
	"natd/nat"
)

const toOne = "[daemon]\nprotect = \"off\"\n\n[[relay]]\nname = \"web\"\nlisten = \"10.2.0.100:80\"\nto = [\"10.9.0.5:80\"]\n"

// hear lets natd hear of what others change, and waits until it has heard of the last change.
func (d *Daemon) hear(t *testing.T) (await func()) {
	t.Helper()
	w, err := nat.NewWatcher(d.kernel.Port())
	lab.Check(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx, func(c nat.Change) { d.others.note(c) }) }()
	t.Cleanup(func() {
		cancel()
		lab.Check(t, errors.Join(<-ended, w.Close()))
	})
	return func() {
		t.Helper()
		lab.Eventually(t, patience, func() error {
			if now, err := d.kernel.Generation(); err != nil || !d.others.heard(now) {
				return fmt.Errorf("of generation %d was not heard: %w", now, err)
			}
			return nil
		})
	}
}

// drainOne makes the kernel's next state another one, by a change of a few elements.
func (d *Daemon) drainOne(drained bool) error {
	d.drains.set("web", []string{"10.9.0.5:80"}, drained)
	d.live.Store(true)
	_, err := d.refresh()
	return err
}

// What others do to their own tables while natd changes a few elements is no reason to read the table as a whole: where they never rest, that
// would come to no end.
func TestOthersBetween(t *testing.T) {
	t.Parallel()
	atHost(t, toOne, func(d *Daemon, run func(args ...string)) error {
		if err := d.pass(); err != nil {
			return err
		}
		await := d.hear(t)
		known := d.sync.mirror
		if err := d.drainOne(true); err != nil {
			return err
		}
		_, plan, err := d.compare()
		if err != nil {
			return err
		}
		run("nft", "add", "table", "ip", "before")
		if err := d.kernel.Apply(plan, known.Generation, d.hold); !errors.Is(err, nat.ErrStale) {
			t.Errorf("a change after that of another: %v", err)
		}
		await()
		d.doubt()
		have, plan, err := d.compare()
		if err != nil || have != known {
			t.Errorf("the table was read anew, or not at all: %v", err)
		}
		lab.Check(t, d.kernel.Apply(plan, have.Generation, d.hold))
		run("nft", "add", "table", "ip", "behind")
		await()
		if have, err = d.prove(plan, have.Generation); err != nil {
			t.Errorf("with a change of another behind it, the proof is %v", err)
		}
		d.remember(have)
		if known, err := d.current(); err != nil || !known {
			t.Errorf("what was proven is not the table as it is: %v", err)
		}
		return err
	})
}

// A change that the kernel refuses as it stands is made anew from what the kernel has.
func TestDoubt(t *testing.T) {
	t.Parallel()
	atHost(t, toOne, func(d *Daemon, _ func(args ...string)) error {
		if err := d.pass(); err != nil {
			return err
		}
		if d.doubt(); d.sync.mirror != nil {
			t.Error("what is known is believed, though nobody else is to blame")
		}
		return nil
	})
}

// What another did to natd's table while natd changes it is never taken for natd's work.
func TestOthersInNatdsTable(t *testing.T) {
	t.Parallel()
	atHost(t, toOne, func(d *Daemon, run func(args ...string)) error {
		if err := d.pass(); err != nil {
			return err
		}
		await := d.hear(t)
		if err := d.drainOne(true); err != nil {
			return err
		}
		have, plan, err := d.compare()
		if err != nil {
			return err
		}
		lab.Check(t, d.kernel.Apply(plan, have.Generation, d.hold))
		run("nft", "flush", "map", "inet", "natd", "snat4")
		await()
		if _, err := d.prove(plan, have.Generation); !errors.Is(err, nat.ErrStale) {
			t.Errorf("the proof is %v", err)
		}
		return nil
	})
}

// Who has read more than his share reads all the same when he has heard that somebody touched his table.
func TestTouchedIsRead(t *testing.T) {
	t.Parallel()
	atHost(t, toOne, func(d *Daemon, run func(args ...string)) error {
		lab.Check(t, d.pass())
		await := d.hear(t)
		for range 2 {
			d.looks.ReserveN(time.Now(), d.looks.Burst())
		}
		run("nft", "delete", "element", "inet", "natd", "relays4", "{ 10.2.0.100 . tcp . 80 }")
		await()
		lab.Check(t, d.pass())
		if d.sync.repaired.Ruleset != 1 {
			t.Errorf("%d repairs", d.sync.repaired.Ruleset)
		}
		return nil
	})
}

// What was counted by elements that went is kept, whether the change was made from what was known or from what was read.
func TestCountsOfWhatGoes(t *testing.T) {
	t.Parallel()
	for _, read := range []bool{false, true} {
		atHost(t, toOne, func(d *Daemon, run func(args ...string)) error {
			lab.Check(t, d.pass())
			count := func(n int) {
				t.Helper()
				const element = "{ 10.2.0.100 . tcp . 80 %s }"
				run("nft", "delete element inet natd relays4 "+fmt.Sprintf(element, "")+"; add element inet natd relays4 "+
					fmt.Sprintf(element, fmt.Sprintf("counter packets %d bytes %d comment \"web\" : 10.9.0.5 . 80", n, 60*n)))
				lab.Check(t, d.pass())
			}
			count(50)
			if read {
				d.sync.mirror = nil
			}
			for _, text := range []string{toOne + "enabled = false\n", toOne} {
				cfg, err := config.Parse(d.cfg.Path, []byte(text))
				lab.Check(t, err)
				_, err = d.reload(cfg, nil)
				lab.Check(t, err)
			}
			count(10)
			total := uint64(0)
			d.lasting.each(func(_ flow.Owner, target netip.AddrPort, n uint64) {
				if !target.IsValid() {
					total += n
				}
			})
			if total != 60 {
				t.Errorf("read %t: the total is %d, want 60", read, total)
			}
			return nil
		})
	}
}

// Counters that were asked for by the keys of another ruleset are not there, which does not mean that the table has lost them.
func TestCountersOfAnotherRuleset(t *testing.T) {
	t.Parallel()
	atHost(t, toOne, func(d *Daemon, run func(args ...string)) error {
		if err := d.pass(); err != nil {
			return err
		}
		web := lastingKey{owner: flow.Owner{Kind: flow.KindRelay, Name: "web"}}
		total := func() (n uint64) {
			d.lasting.each(func(_ flow.Owner, target netip.AddrPort, total uint64) {
				if !target.IsValid() {
					n = total
				}
			})
			return n
		}
		asked := counters{
			relays: map[string]bool{"web": true}, want: d.want, from: time.Now(), at: time.Now(), generation: d.sync.mirror.Generation, tally: map[lastingKey]uint64{web: 7},
		}
		d.takeCounters(&asked)
		if n := total(); n != 7 {
			t.Errorf("the total is %d, want the 7 that were read", n)
		}
		late := asked
		late.tally, late.from, late.at = nil, time.Now(), time.Now()
		if err := d.drainOne(true); err != nil {
			return err
		}
		if err := d.reach(); err != nil {
			return err
		}
		late.generation = d.sync.mirror.Generation
		d.takeCounters(&late)
		for key, c := range d.lasting.counts {
			if c.gone > 0 {
				t.Errorf("%+v has lost %d", key, c.gone)
			}
		}
		run("nft", "add", "table", "ip", "other")
		return nil
	})
}

// What others do to natd's table while natd does not listen, for the sake of a large change, is found as soon as it listens again.
func TestUnheardIsFound(t *testing.T) {
	t.Parallel()
	var many strings.Builder
	many.WriteString("[daemon]\nprotect = \"off\"\n")
	for i := range 1500 { // of which each has three elements
		fmt.Fprintf(&many, "\n[[relay]]\nname = \"r%d\"\nlisten = \"10.2.0.100:%d\"\nto = [\"10.9.0.5:80\"]\n", i, 1000+i)
	}
	atHost(t, many.String(), func(d *Daemon, run func(args ...string)) (err error) {
		if d.watcher, err = nat.NewWatcher(d.kernel.Port()); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, d.watcher.Close()) }()
		if err := d.pass(); err != nil {
			return err
		}
		large := nat.Diff(d.want, &nat.Table{}, d.hold)
		if !large.Large() {
			t.Fatal("the change is not large")
		}
		err = d.unheard(large, func() error {
			run("nft", "delete", "element", "inet", "natd", "listens4", "{ 10.2.0.100 . tcp . 1000 }")
			return nil
		})
		if err != nil {
			return err
		}
		if err := d.pass(); err != nil {
			return err
		}
		if d.sync.repairs() != 1 {
			t.Errorf("%d repairs, want one", d.sync.repairs())
		}
		return nil
	})
}
