package probe

import (
	"context"
	"maps"
	"sync"
	"time"
)

// probesAtATime bounds the probes under way, and so the sockets and goroutines. 1,000 backends that all fall silent, checked
// every 2 s with a time-out of 1 s, need 800 (see next). When more do, probes come later than they should.
const probesAtATime = 1024

// Prober checks backends.
type Prober struct {
	changed func()
	failed  func(Check)
	connect func(context.Context, Check) error
	agenda  *agenda

	mu     sync.Mutex
	checks map[Check]*checked
}

// checked is a check at work.
type checked struct {
	check Check
	job   *job
	tally tally
}

// NewProber makes a prober. It calls changed when a verdict has another state than before, and failed for each probe that
// failed: the first of them is the earliest sign that a backend may have moved. Neither may block.
func NewProber(changed func(), failed func(Check)) *Prober {
	return &Prober{
		changed: changed, failed: failed, connect: connect,
		agenda: newAgenda(probesAtATime, 0), checks: map[Check]*checked{},
	}
}

// Set replaces what is checked. A check that stays keeps its verdict. A new one takes over the verdict of one that goes and
// had the same target, if possible with the same source: after a change of numbers or of the source, a backend is more
// likely to be as it was than to be anything else, and the probes correct it soon. Set tells whether one did so: nobody is
// called for that.
func (p *Prober) Set(checks []Check) (inherited bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	stay := make(map[Check]bool, len(checks))
	for _, c := range checks {
		stay[c] = true
	}
	heirs := p.dropOthers(stay)
	now, fresh := time.Now(), 0
	maps.DeleteFunc(stay, func(c Check, _ bool) bool { return p.checks[c] != nil })
	for c := range stay {
		e := &checked{check: c, tally: tally{Verdict: Verdict{Since: now}}}
		for _, like := range []Check{{Target: c.Target, Source: c.Source}, {Target: c.Target}} {
			if gone, ok := heirs[like]; ok {
				e.tally.Verdict = gone
				inherited = inherited || gone.State != Unknown
				break
			}
		}
		// The first probes are spread over the interval, a single one comes at once.
		due := now.Add(c.Interval * time.Duration(fresh) / time.Duration(len(stay)))
		fresh++
		e.job = p.agenda.add(due, func(ctx context.Context) time.Time { return p.probe(ctx, e) })
		p.checks[c] = e
	}
	return inherited
}

// dropOthers ends the checks that do not stay, and returns their verdicts: by target, and by target and source.
func (p *Prober) dropOthers(stay map[Check]bool) map[Check]Verdict {
	gone := map[Check]Verdict{}
	for c, e := range p.checks {
		if stay[c] {
			continue
		}
		p.agenda.drop(e.job)
		delete(p.checks, c)
		gone[Check{Target: c.Target}] = e.tally.Verdict
		gone[Check{Target: c.Target, Source: c.Source}] = e.tally.Verdict
	}
	return gone
}

// Verdict is what is known of a backend. Of one that is not checked, nothing is.
func (p *Prober) Verdict(c Check) Verdict {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.checks[c]; e != nil {
		return e.tally.Verdict
	}
	return Verdict{}
}

// Run probes until ctx ends. It may be called once.
func (p *Prober) Run(ctx context.Context) error {
	p.agenda.run(ctx)
	return nil
}

// probe probes once and returns when to do so again.
func (p *Prober) probe(ctx context.Context, e *checked) time.Time {
	began := time.Now()
	err := p.connect(ctx, e.check)
	ended := time.Now()
	if ctx.Err() != nil {
		return ended // the end of natd is no failure of the backend
	}
	next, changed := p.judge(e, err, began, ended)
	if changed {
		p.changed()
	}
	if err != nil && !ours(err) {
		p.failed(e.check)
	}
	return next
}

func (p *Prober) judge(e *checked, err error, began, ended time.Time) (next time.Time, changed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case err == nil:
		changed = e.tally.record(e.check, "", ended)
	case ours(err):
		e.tally.Error = explain(e.check, err)
	default:
		changed = e.tally.record(e.check, explain(e.check, err), ended)
	}
	if err == nil || !ours(err) {
		e.tally.Last, e.tally.Took = ended, ended.Sub(began)
	}
	return e.tally.next(e.check, began, ended), changed && p.checks[e.check] == e
}
