package daemon

import (
	"context"
	"slices"
	"time"

	"natd/internal/flow"
)

// session is the meter at work. It belongs to the meter's goroutine.
type session struct {
	*meter
	events *flow.Events
	table  *flow.Conntrack
	count  *flow.Meter
	owners owners

	began  time.Time // of the window
	ends   time.Time // likewise
	dumped time.Time
	unsure bool // events were lost since the last dump
	told   bool // that they were, in this window
	silent bool // that the table cannot be read was said
}

// gatherEvery is how many connections of a dump are read before a look at the events: they come in while it lasts, which is seconds
// for a table that is full.
const gatherEvery = 1024

// begin goes on from what was saved.
func (s *session) begin() {
	now := time.Now()
	plan := s.wants()
	s.began, s.ends = now, now.Add(plan.window)
	s.owners.change(s.judge(), now)
	s.count = s.resume(plan, now)
	if len(s.sinks) > 0 {
		s.count.Sink = fan(s.sinks)
	}
	s.readTimeouts()
	if err := s.events.Deaf(); err != nil {
		s.log.Warn("what connections repeat before they are established will not be counted", "error", err)
	}
	s.dump(now, false, nil)
}

// resume is a meter that goes on from the file, or begins anew where that does not help.
func (s *session) resume(plan metering, now time.Time) *flow.Meter {
	fresh := func() *flow.Meter { return flow.NewMeter(s.owners.of, now) }
	s.file.begin()
	saved, err := s.left, error(nil)
	if s.left = nil; saved == nil {
		saved, err = s.file.load()
	}
	if saved == nil {
		if err != nil {
			s.log.Warn("the counts of connections cannot be read: they begin anew", "error", err)
		}
		return fresh()
	}
	m := fresh()
	if err := m.Resume(saved, plan.keep); err != nil {
		s.log.Error("the counts of connections cannot be understood: they begin anew", "error", err, "moved_to", s.file.setAside())
		return fresh()
	}
	return m
}

// readTimeouts takes the sysctls as they are now.
func (s *session) readTimeouts() {
	s.count.Timeouts = flow.ReadTimeouts(s.timeout)
}

// turn waits for events, questions or the end of the window, and deals with them.
func (s *session) turn(ctx context.Context) error {
	if err := s.wait(ctx); err != nil {
		return err
	}
	s.owners.change(s.judge(), time.Now())
	asks := s.take()
	looks := slices.ContainsFunc(asks, func(a *question) bool { return a.each != nil })
	if err := s.drain(); err != nil {
		return err
	}
	now := time.Now()
	if sooner := now.Add(s.wants().window); sooner.Before(s.ends) {
		s.ends = sooner // the configuration has made windows shorter
	}
	atEnd := !now.Before(s.ends) || slices.ContainsFunc(asks, func(a *question) bool { return a.end })
	read := true
	if atEnd || looks || s.unsure && now.Sub(s.dumped) >= lossPause {
		read = s.dump(now, atEnd, asks)
	}
	if atEnd {
		s.ends = now.Add(s.wants().window)
		s.told = false
		s.readTimeouts()
	}
	if atEnd && read {
		s.owners.forget(s.began)
		s.began = now
	}
	s.answer(asks, read, atEnd)
	return nil
}

// wait returns when there is something to do. Events are left to gather.
func (s *session) wait(ctx context.Context) error {
	until := s.ends
	if early := s.dumped.Add(lossPause); s.unsure && early.Before(until) {
		until = early
	}
	turn, cancel := s.meter.turn(ctx, until)
	defer cancel()
	if err := s.events.Wait(turn); err != nil {
		return err
	}
	gather, stop := context.WithTimeout(turn, eventsAtATime)
	defer stop()
	<-gather.Done()
	return nil
}

// drain counts everything that has ended, and what was repeated.
func (s *session) drain() error {
	lost, err := s.events.Take(s.count.At(time.Now()))
	if lost {
		s.unsure = true
		s.count.Lost()
		if !s.told {
			s.log.Warn("the kernel dropped news of connections that ended: some may not be counted", "times", s.count.Losses())
		}
		s.told = true
	}
	return err
}

// dump counts what lives; false when it could not be read.
func (s *session) dump(now time.Time, atEnd bool, asks []*question) bool {
	read := 0
	err := s.count.Dump(now, atEnd, func(each func(*flow.Entry)) error {
		return s.table.Entries(func(e *flow.Entry) {
			if read++; read%gatherEvery == 0 {
				s.events.Gather()
			}
			each(e)
			for _, a := range asks {
				if a.each != nil && !e.Dying() {
					a.each(e)
				}
			}
		})
	})
	s.dumped = now
	if err != nil {
		if !s.silent {
			s.log.Warn("the connections of relays cannot be counted", "error", err)
		}
		s.silent = true
		return false
	}
	s.unsure, s.silent = false, false
	return true
}

// answer answers the questions, and hands what was counted to the disk where that is wanted.
func (s *session) answer(asks []*question, read, atEnd bool) {
	var c *counted
	var waiting []chan error
	for _, a := range asks {
		switch {
		case a.save:
			waiting = append(waiting, a.disk)
		case !read:
			a.done <- nil
		default:
			if c == nil {
				c = &counted{s.count.Since(), s.count.Losses(), slices.Clone(s.count.Tallies())}
			}
			a.done <- c
		}
	}
	if atEnd || len(waiting) > 0 {
		s.file.put(s.count, waiting)
	}
}

// finish counts what there is, and saves it. Who asks from now on is answered by the next session.
func (s *session) finish() error {
	asks := s.take()
	err := s.drain()
	s.answer(asks, s.dump(time.Now(), true, asks), true)
	s.left = s.count.Save()
	return err
}

// judgesHeld bounds what is remembered of the judges of a window.
const judgesHeld = 8

// owners finds what connections belong to. A connection that began under what was judged before is judged as it was then: a relay
// that a reload removes still has those that end with it.
type owners struct {
	is  *flow.Judge
	was []former // the oldest first
}

// former is a judge, and until when it was the one.
type former struct {
	*flow.Judge
	until time.Time
}

func (o *owners) change(to *flow.Judge, now time.Time) {
	if to == o.is {
		return
	}
	if o.is != nil {
		o.was = append(o.was, former{o.is, now})
	}
	o.is = to
	if len(o.was) <= judgesHeld {
		return
	}
	// One of the same configuration, of which there is another for each backend whose health changes, is missed least.
	least := max(0, slices.IndexFunc(o.was, func(f former) bool { return f.Spec == to.Spec }))
	o.was = slices.Delete(o.was, least, least+1)
}

// forget lets go of what was before a window that has ended: the dump before it has found all that lived then, and what ended during that dump
// was heard of since.
func (o *owners) forget(window time.Time) {
	o.was = slices.DeleteFunc(o.was, func(f former) bool { return f.until.Before(window) })
}

func (o *owners) of(e *flow.Entry) flow.Owner {
	owner := o.is.Owner(e)
	for i := len(o.was) - 1; i >= 0 && owner == (flow.Owner{}) && e.Began().Before(o.was[i].until); i-- {
		owner = o.was[i].Owner(e)
	}
	return owner
}

// fan hands samples to several sinks.
type fan []flow.Sink

// Sample is flow.Sink's.
func (f fan) Sample(s *flow.Sample) {
	for _, sink := range f {
		sink.Sample(s)
	}
}

// Window is flow.Sink's.
func (f fan) Window(from, until time.Time, lossy bool) {
	for _, sink := range f {
		sink.Window(from, until, lossy)
	}
}
