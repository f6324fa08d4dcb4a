package daemon

import (
	"context"
	"io"
	"log/slog"
	"os/user"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"natd/internal/config"
	"natd/internal/control"
	"natd/internal/flow"
	"natd/internal/flowlog"
	"natd/internal/record"
)

// Times of the flow log.
const (
	flowLogPause    = time.Second     // from one look at what waits to be written to the next, and from a failure to the next try
	flowLogPatience = 2 * time.Second // for the disk when natd stops
)

// flowLog keeps the flow log that the configuration asks for. It is the sink of the meter, which never waits for it; a goroutine
// of its own writes.
type flowLog struct {
	log     *slog.Logger
	out     io.Writer             // of "stdout"
	settle  func(context.Context) // has the meter sample what lives
	changed func()                // wakes the loop: the error in state says something else than before
	wake    chan struct{}

	wanted func()        // opens hear
	hear   chan struct{} // open until there was a flow log for the first time
	idle   chan struct{} // open while run writes

	using   sync.RWMutex                // held by who uses current, and for a moment when it becomes another one
	current atomic.Pointer[flowlog.Log] // nil for none
	host    atomic.Pointer[flowlog.Host]

	mu     sync.Mutex
	plan   flowLogPlan
	stale  bool // the file is to be opened anew
	status control.FlowLog
	missed uint64 // dropped by logs before the current one

	// Of the goroutine that writes.
	runs    flowLogPlan
	to      lineWriter // nil for none
	backlog []flowlog.Segment
	retry   time.Time // not before, after a failure
	failing bool
}

// flowLogPlan is what the configuration asks for.
type flowLogPlan struct {
	config.FlowLog
	group string // that may read the file
}

// lineWriter is where the lines go.
type lineWriter interface {
	// Write appends all of the lines or none.
	Write(lines []byte) error
	// Reopen opens by its name what may have been moved away.
	Reopen() error
	Close() error
}

func newFlowLog(log *slog.Logger, out io.Writer, changed func()) *flowLog {
	f := &flowLog{
		log: log, out: out, changed: changed, settle: func(context.Context) {}, wake: make(chan struct{}, 1), hear: make(chan struct{}), idle: make(chan struct{}),
	}
	f.wanted = sync.OnceFunc(func() { close(f.hear) })
	f.host.Store(flowlog.NewHost(flowlog.Facts{}))
	return f
}

// enable follows the configuration. A file that stays is opened anew: whoever reloads may have moved it away.
func (f *flowLog) enable(cfg *config.Config) {
	f.mu.Lock()
	f.plan = flowLogPlan{cfg.FlowLog, cfg.Daemon.SocketGroup}
	f.stale = true
	f.mu.Unlock()
	if cfg.FlowLog.On() {
		f.wanted()
	}
	f.poke()
}

func (f *flowLog) poke() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// know takes what is known of the host, for the records from now on.
func (f *flowLog) know(h *flowlog.Host, err error) error {
	if err == nil {
		f.host.Store(h)
	}
	return err
}

// use calls do with the current log, if there is one. That is not ended meanwhile, so what it is told is written.
func (f *flowLog) use(do func(*flowlog.Log)) {
	f.using.RLock()
	defer f.using.RUnlock()
	if l := f.current.Load(); l != nil {
		do(l)
	}
}

// Sample and Window make it a flow.Sink, also while there is no log.
func (f *flowLog) Sample(s *flow.Sample) { f.use(func(l *flowlog.Log) { l.Sample(s) }) }

// Window is of flow.Sink.
func (f *flowLog) Window(from, until time.Time, lossy bool) {
	f.use(func(l *flowlog.Log) { l.Window(from, until, lossy) })
}

// run writes until ctx ends. A disk that hangs must not keep natd from stopping.
func (f *flowLog) run(ctx context.Context) error {
	go func() {
		defer close(f.idle)
		f.work(ctx)
	}()
	<-ctx.Done()
	return nil
}

// work writes until ctx ends.
func (f *flowLog) work(ctx context.Context) {
	tick := time.NewTicker(flowLogPause)
	defer tick.Stop()
	for ctx.Err() == nil {
		f.turn(ctx)
		select {
		case <-ctx.Done():
		case <-f.wake:
		case <-tick.C:
		}
	}
}

// finish writes what is left once nobody samples any more.
func (f *flowLog) finish() {
	done := make(chan struct{})
	go func() {
		defer close(done)
		<-f.idle
		f.change(flowLogPlan{})
	}()
	select {
	case <-done:
	case <-time.After(flowLogPatience):
		f.log.Warn("the flow log is not written to its end: the disk does not answer")
	}
}

// turn does what there is to do. Before the log is turned off it gets what living connections have carried since the last window; when natd
// stops meanwhile, finish ends it.
func (f *flowLog) turn(ctx context.Context) {
	f.mu.Lock()
	plan, stale := f.plan, f.stale
	f.stale = false
	f.mu.Unlock()
	if f.runs.On() && !plan.On() {
		if f.settle(ctx); ctx.Err() != nil {
			return
		}
	}
	if plan != f.runs {
		f.change(plan)
	} else if stale && f.to != nil {
		f.report(f.to.Reopen())
	}
	f.drain()
}

// change ends one log, and begins another. The next one takes samples from the instant at which the old one does not: that files are
// compressed before they are closed, or a slow disk, must not cost records. The window goes on: what was carried in it before has its
// records in the new one.
func (f *flowLog) change(plan flowLogPlan) {
	var next *flowlog.Log
	var format *record.Format
	if plan.On() {
		var err error
		if format, err = record.ParseFormat(plan.Format); err == nil { // the configuration was read with the same words
			next = flowlog.New(format, f.host.Load, f.poke, time.Now())
		}
	}
	old := f.swap(next)
	if old != nil && f.end(old) && next != nil {
		next.Skip()
	}
	f.runs, f.to, f.backlog, f.failing, f.retry = plan, nil, nil, false, time.Time{}
	if next != nil {
		f.report(f.begin(plan, format.Header()))
	}
}

// swap makes the next log the current one. What the old one has dropped until then is missed from then on.
func (f *flowLog) swap(next *flowlog.Log) (old *flowlog.Log) {
	f.using.Lock()
	defer f.using.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	if old = f.current.Swap(next); old == nil {
		return nil
	}
	f.missed += old.Dropped()
	if next != nil {
		next.GoOn(old)
	}
	return old
}

// end writes what is left of a log that is not the current one any more, and tells whether records are missing.
func (f *flowLog) end(l *flowlog.Log) (skipped bool) {
	missed := l.Dropped() // until it was swapped
	skipped = l.End()
	f.write(l)
	left := l.Dropped() - missed
	for _, s := range f.backlog {
		left += uint64(s.Records)
		skipped = true
	}
	f.mu.Lock()
	f.missed += left
	f.mu.Unlock()
	if err := f.to.Close(); err != nil {
		f.report(err)
	}
	return skipped
}

// begin opens what the lines go to. A file that cannot be opened is tried again when there are lines.
func (f *flowLog) begin(plan flowLogPlan, header string) error {
	if plan.Path == config.Stdout {
		f.to = &flowlog.Stream{To: f.out, Header: header}
		return nil
	}
	file, err := flowlog.Open(flowlog.Options{
		Path: plan.Path, Header: header, MaxSize: int64(plan.MaxSize) << 20, Keep: plan.MaxFiles, Group: groupID(plan.group),
	})
	f.to = file
	return err
}

// groupID is the number of a group, -1 for one that is not there.
func groupID(name string) int {
	g, err := user.LookupGroup(name)
	if err != nil {
		return -1
	}
	id, err := strconv.Atoi(g.Gid)
	if err != nil {
		return -1
	}
	return id
}

// drain writes what waits, if a failure is not too short ago. When nothing waits after one, opening the file again tells whether it
// is over: the next records may be minutes away.
func (f *flowLog) drain() {
	l := f.current.Load()
	if l == nil || time.Now().Before(f.retry) {
		return
	}
	f.write(l)
	if f.failing && len(f.backlog) == 0 {
		f.report(f.to.Reopen())
	}
}

// write writes what waits, in order, until the first failure.
func (f *flowLog) write(l *flowlog.Log) {
	f.backlog = append(f.backlog, l.Take()...)
	for len(f.backlog) > 0 {
		s := f.backlog[0]
		if err := f.to.Write(s.Text); err != nil {
			f.report(err)
			return
		}
		l.Wrote(s)
		f.backlog = f.backlog[1:]
		f.report(nil)
		f.mu.Lock()
		f.status.Records += uint64(s.Records)
		f.status.LastWrite = time.Now()
		f.mu.Unlock()
	}
	f.backlog = nil
}

// report notes how a write went, and logs the first failure and the end of it.
func (f *flowLog) report(err error) {
	text := ""
	if err != nil {
		text = err.Error()
		f.retry = time.Now().Add(flowLogPause)
	}
	f.mu.Lock()
	same := f.status.Error == text
	f.status.Error = text
	f.mu.Unlock()
	if !same {
		f.changed()
	}
	switch {
	case err != nil && !f.failing:
		f.log.Warn("the flow log cannot be written: records wait, and are left out when they become too many", "error", err)
	case err == nil && f.failing:
		f.log.Info("the flow log is written again", "dropped", f.dropped())
	}
	f.failing = err != nil
}

// dropped is how many records were not written since natd started.
func (f *flowLog) dropped() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if l := f.current.Load(); l != nil {
		return f.missed + l.Dropped()
	}
	return f.missed
}

// state is what status says; nil while there is no flow log.
func (f *flowLog) state() *control.FlowLog {
	dropped := f.dropped()
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.plan.On() {
		return nil
	}
	s := f.status
	s.Path, s.Format, s.Interval, s.Dropped = f.plan.Path, f.plan.Format, f.plan.Interval.String(), dropped
	return &s
}
