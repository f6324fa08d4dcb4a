package daemon

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"natd/internal/config"
	"natd/internal/flow"
)

// Times of the meter.
const (
	plainWindow   = time.Minute           // of a window where no flow log says another
	eventsAtATime = 20 * time.Millisecond // events are left to gather for so long: to wake up for each costs more than to count it
	lossPause     = 10 * time.Second      // after a loss a dump comes early, but no more often than that
	lookPatience  = 5 * time.Second       // that status waits for figures of now
	savePatience  = 2 * time.Second       // that metrics wait for the disk
	closePatience = 5 * time.Second       // that natd waits for it when it stops
)

// meter counts the connections of natd and what they carry, where [metrics] or [flow_log] is on: events cost the kernel some 8 % of
// the connections that it can make. Its goroutine waits for events and for those who ask, for no disk and not for the loop.
type meter struct {
	log     *slog.Logger
	judge   func() *flow.Judge
	timeout func(key string) time.Duration // how long the kernel remembers, see flow.ReadTimeouts
	sinks   []flow.Sink
	file    *countersFile
	left    *flow.Saved // of its goroutine: by a session that has ended, for the next one, whatever the disk does; nil for none

	mu        sync.Mutex
	plan      metering
	asks      []*question
	woken     bool
	interrupt context.CancelFunc // ends the wait that is under way
}

// newMeter counts for the daemon.
func newMeter(d *Daemon) *meter {
	return &meter{
		log: d.Log, judge: d.judge.Load, file: newCountersFile(filepath.Join(d.StateDir, countersName), d.Log),
		timeout: func(key string) time.Duration {
			return time.Duration(d.number(sysctlConntrackPrefix+key)) * time.Second
		},
	}
}

// metering is what the configuration asks of the meter.
type metering struct {
	on     bool
	window time.Duration
	keep   func(flow.Owner) bool // whether the configuration has it
}

func meteringOf(cfg *config.Config) metering {
	// Nobody asks but who has counted something: of many relays the names take megabytes.
	names := sync.OnceValue(func() map[flow.Owner]bool { return ownersOf(cfg) })
	plan := metering{on: cfg.Counts(), window: plainWindow, keep: func(o flow.Owner) bool { return names()[o] }}
	if cfg.FlowLog.On() {
		plan.window = cfg.FlowLog.Interval
	}
	return plan
}

// ownersOf is everything that can have counts.
func ownersOf(cfg *config.Config) map[flow.Owner]bool {
	names := make(map[flow.Owner]bool)
	for i := range cfg.NAT.Relays {
		names[flow.Owner{Kind: flow.KindRelay, Name: cfg.NAT.Relays[i].Name}] = true
	}
	for i := range cfg.NAT.Gateways {
		names[flow.Owner{Kind: flow.KindGateway, Name: cfg.NAT.Gateways[i].Name}] = true
	}
	for i := range cfg.NAT.Statics {
		names[flow.Owner{Kind: flow.KindStatic, Name: cfg.NAT.Statics[i].Name}] = true
	}
	return names
}

// question is one to the meter.
type question struct {
	each func(*flow.Entry) // called for everything that is tracked; nil when no dump is wanted
	save bool              // what was counted is to be on disk
	end  bool              // the window is to end now

	done chan *counted // gets one answer; nil when the meter cannot tell
	disk chan error    // likewise, when it is on disk
}

// counted is what the meter has counted.
type counted struct {
	since   time.Time
	losses  uint64
	tallies []flow.Tally
}

// enable makes the meter run as the configuration asks.
func (m *meter) enable(plan metering) {
	m.mu.Lock()
	m.plan = plan
	m.mu.Unlock()
	m.wake()
}

// wake makes the goroutine look for what there is to do. It does not block.
func (m *meter) wake() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.woken = true
	if m.interrupt != nil {
		m.interrupt()
	}
}

// turn is a time to wait in, until there is something to do or the deadline.
func (m *meter) turn(ctx context.Context, deadline time.Time) (context.Context, context.CancelFunc) {
	turn, cancel := context.WithDeadline(ctx, deadline)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.woken {
		cancel()
	}
	m.woken, m.interrupt = false, cancel
	return turn, cancel
}

func (m *meter) wants() metering {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.plan
}

// take takes the questions that wait.
func (m *meter) take() []*question { return m.takeIf(func(metering) bool { return true }) }

// takeIf is take, or nothing where the plan is another.
func (m *meter) takeIf(plan func(metering) bool) []*question {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !plan(m.plan) {
		return nil
	}
	asks := m.asks
	m.asks = nil
	return asks
}

// put asks a question; false when nobody would answer. A window ends when the meter is turned off, too.
func (m *meter) put(a *question) bool {
	a.done, a.disk = make(chan *counted, 1), make(chan error, 1)
	m.mu.Lock()
	heard := m.plan.on || a.end
	if heard {
		m.asks = append(m.asks, a)
	}
	m.mu.Unlock()
	m.wake()
	return heard
}

// look is what was counted until now, by a dump that each hears of, too; nil when the meter is off or cannot tell. Then each may be
// called on, and what it makes is of no use.
func (m *meter) look(each func(*flow.Entry)) *counted {
	a := &question{each: each}
	if !m.put(a) {
		return nil
	}
	timer := time.NewTimer(lookPatience)
	defer timer.Stop()
	select {
	case c := <-a.done:
		return c
	case <-timer.C:
		return nil
	}
}

// secure puts everything on disk that status has shown before the call: who shows what must never fall calls it first, for natd
// may be killed the moment after. A disk that does not take it in time is an error.
func (m *meter) secure(ctx context.Context) error {
	a := &question{save: true}
	if !m.put(a) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, savePatience)
	defer cancel()
	select {
	case err := <-a.disk:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// closeWindow ends the window now, so that the sinks have what living connections have carried in it, also while the meter is turned off. It
// returns when they have, or when nobody counts.
func (m *meter) closeWindow(ctx context.Context) {
	a := &question{end: true}
	m.put(a)
	timer := time.NewTimer(lookPatience)
	defer timer.Stop()
	select {
	case <-a.done:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// run counts while the configuration asks for it, until ctx ends.
func (m *meter) run(ctx context.Context) error {
	saving, stop := context.WithCancel(context.WithoutCancel(ctx))
	var saver sync.WaitGroup
	saver.Go(func() { m.file.run(saving) })
	defer func() {
		stop()
		m.close(&saver)
		m.enable(metering{})
		m.decline()
	}()
	for ctx.Err() == nil {
		if m.wants().on {
			if err := m.session(ctx); err != nil {
				return err
			}
			continue
		}
		m.decline()
		m.rest(ctx)
	}
	return nil
}

// close saves what is left. A disk that hangs must not keep natd from stopping.
func (m *meter) close(saver *sync.WaitGroup) {
	saved := make(chan struct{})
	go func() {
		defer close(saved)
		saver.Wait()
		m.file.flush()
	}()
	timer := time.NewTimer(closePatience)
	defer timer.Stop()
	select {
	case <-saved:
	case <-timer.C:
		m.log.Warn("the counts of connections are not saved to their end: the disk does not answer")
	}
}

// rest waits until there may be something to do.
func (m *meter) rest(ctx context.Context) {
	turn, cancel := m.turn(ctx, time.Now().Add(time.Hour))
	defer cancel()
	<-turn.Done()
}

// decline tells those who asked before the meter was turned off that there is no answer.
func (m *meter) decline() {
	// It may be on since a moment ago: then those who have asked since are not to be told.
	for _, a := range m.takeIf(func(plan metering) bool { return !plan.on }) {
		a.done <- nil
		a.disk <- nil
	}
}

// session counts until the configuration does not ask for it any more.
func (m *meter) session(ctx context.Context) (err error) {
	s := &session{meter: m}
	// First the events, so that nothing ends unheard of between them and the first dump.
	if s.events, err = flow.OpenEvents(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.events.Close()) }()
	if s.table, err = flow.Open(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.table.Close()) }()
	if !m.awaitJudge(ctx) {
		return nil
	}
	s.begin()
	for ctx.Err() == nil && m.wants().on {
		if err := s.turn(ctx); err != nil {
			return err
		}
	}
	return s.finish()
}

// awaitJudge waits until it is known what natd's connections are; false when the meter need not know any more.
func (m *meter) awaitJudge(ctx context.Context) bool {
	for m.judge() == nil && m.wants().on && ctx.Err() == nil {
		m.rest(ctx)
	}
	return m.judge() != nil
}
