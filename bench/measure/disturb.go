package measure

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"natd/bench/arena"
	"natd/bench/load"
	"natd/bench/report"
)

const (
	// longLived is how many connections live through all reloads.
	longLived = 100
	// talkEvery is how many reloads pass until they speak.
	talkEvery = 10
	// piece is how long one load of connections takes: they follow each other without a pause.
	piece = 250 * time.Millisecond
)

// reloads changes the relay that is hit again and again while connections to it begin as fast as they can, and others stay.
func (t Times) reloads(ctx context.Context, s *Stand) ([]Figure, error) {
	held, err := hold(ctx, s)
	defer func() {
		for _, c := range held {
			_ = c.Close()
		}
	}()
	if err != nil {
		return nil, err
	}
	var done atomic.Bool
	type outcome struct {
		failed int64
		err    error
	}
	loaded := make(chan outcome, 1)
	to := arena.Dial(s.Candidate, s.Job) // it stays so, whatever the job becomes
	go func() {
		failed, err := s.loadUntil(ctx, to, &done)
		loaded <- outcome{failed, err}
	}()
	took, broken, err := t.reload(ctx, s, held)
	done.Store(true)
	o := <-loaded
	if err := errors.Join(err, o.err, Settle(ctx, s)); err != nil {
		return nil, err
	}
	return []Figure{
		{ReloadTime, report.Median(took)},
		{ReloadCount, float64(len(took))},
		{ReloadFailed, float64(o.failed)},
		{ReloadBroken, float64(broken)},
	}, nil
}

// hold begins connections that stay.
func hold(ctx context.Context, s *Stand) (held []net.Conn, err error) {
	for range longLived {
		c, err := s.Call(ctx, "tcp", arena.Dial(s.Candidate, s.Job))
		if err == nil {
			held, err = append(held, c), arena.Talk(c)
		}
		if err != nil {
			return held, fmt.Errorf("beginning a connection that is to stay: %w", err)
		}
	}
	return held, nil
}

// loadUntil makes connections until it is done, and counts those that fail.
func (s *Stand) loadUntil(ctx context.Context, to netip.AddrPort, done *atomic.Bool) (failed int64, err error) {
	for !done.Load() {
		r, err := s.Load.Load(ctx, load.Spec{Kind: load.Connect, Workers: workers, To: to, Duration: piece})
		if err != nil {
			return failed, err
		}
		failed += r.Failed
	}
	return failed, nil
}

// reload makes the changes, and asks all that are held whether they live.
func (t Times) reload(ctx context.Context, s *Stand, held []net.Conn) (took []float64, broken int, err error) {
	dead := make(map[net.Conn]bool)
	talk := func() {
		for _, c := range held {
			if !dead[c] && arena.Talk(c) != nil {
				dead[c] = true
			}
		}
	}
	for end := time.Now().Add(t.Load); len(took) < t.Reloads && time.Now().Before(end); {
		is := s.Job
		is.Moved = !is.Moved
		s.Begin()
		if err := s.Running.Change(ctx, is); err != nil {
			return nil, 0, fmt.Errorf("reloading under load: %w", err)
		}
		took = append(took, ms(time.Since(s.Began())))
		s.Job = is
		if len(took)%talkEvery == 0 {
			talk()
		}
	}
	talk()
	return took, len(dead), nil
}

// events makes connections as fast as they can be, and says what a candidate's processes have to do for each: those that carry them, or
// count them.
func events(ctx context.Context, s *Stand) ([]Figure, error) {
	if err := programOf(s); err != nil {
		return nil, err
	}
	before := s.own()
	r, err := s.Load.Load(ctx, load.Spec{Kind: load.Connect, Workers: workers, To: arena.Dial(s.Candidate, s.Job), Duration: time.Second})
	if err == nil {
		err = Settle(ctx, s)
	}
	if err != nil {
		return nil, err
	}
	figures := []Figure{{EventCost, each(s.own()-before, r.Total) / 1e3}}
	d, ok := s.Running.(daemon)
	if !ok {
		return figures, nil
	}
	text, err := d.Natctl(ctx, "status", "--json")
	var said struct {
		Accounting struct {
			Exact bool    `json:"exact"`
			Lost  float64 `json:"lost"`
		} `json:"accounting"`
	}
	if err == nil {
		err = json.Unmarshal([]byte(text), &said)
	}
	if err == nil && said.Accounting.Exact {
		figures = append(figures, Figure{EventLost, said.Accounting.Lost})
	}
	return figures, err
}

// heal lets another program flush all rules, and says how long clients got no answer at most. They ask without a pause: a repair takes about as long
// as a few questions, and may be over before that program has ended.
func (t Times) heal(ctx context.Context, s *Stand) ([]Figure, error) {
	if err := programOf(s); err != nil {
		return nil, fmt.Errorf("%w: nobody repairs it", err)
	}
	var flushed atomic.Bool
	type gap struct {
		length time.Duration
		err    error
	}
	seen := make(chan gap, 1)
	go func() {
		length, err := t.outage(ctx, s, &flushed)
		seen <- gap{length, err}
	}()
	err := s.B.Nft(ctx, "flush ruleset")
	flushed.Store(true)
	g := <-seen
	if err := errors.Join(err, g.err); err != nil {
		return nil, err
	}
	return []Figure{{Heal, ms(g.length)}}, nil
}

// outage asks again and again until the rules have been flushed and the relay answers, and says how long it took at most from one answer to the
// next: no outage was longer.
func (t Times) outage(ctx context.Context, s *Stand, flushed *atomic.Bool) (longest time.Duration, err error) {
	where, answered, end := arena.Dial(s.Candidate, s.Job), time.Now(), time.Time{}
	for {
		over := flushed.Load()
		if over && end.IsZero() {
			end = time.Now().Add(t.Heal)
		}
		err := s.Ask(ctx, "tcp", where)
		now := time.Now()
		if err == nil {
			longest, answered = max(longest, now.Sub(answered)), now
		}
		switch {
		case over && err == nil:
			return longest, nil
		case over && now.After(end):
			return 0, fmt.Errorf("%w: does not answer within %v", arena.ErrBeyond, t.Heal)
		case ctx.Err() != nil:
			return 0, ctx.Err()
		}
	}
}
