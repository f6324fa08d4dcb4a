package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"sync"
	"time"

	"natd/bench/arena"
	"natd/bench/measure"
	"natd/bench/report"
)

// contest lets the candidates compete. All do the same job at the same time, each in an arena of its own, where those that are
// not measured at the moment have nothing to do.
type contest struct {
	plan     plan
	progress io.Writer
	began    time.Time

	part    string // of the report, which samples are for now
	samples []report.Sample
}

// Parts of the report.
const (
	dataPath     = "Data path"
	controlPlane = "Control plane"
)

// run measures every job.
func (c *contest) run(ctx context.Context) error {
	if err := c.data(ctx); err != nil {
		return err
	}
	return c.control(ctx)
}

// data measures the data path.
func (c *contest) data(ctx context.Context) error {
	c.part = dataPath
	for _, j := range c.plan.jobs {
		for _, udp := range []bool{false, true} {
			j.UDP = udp
			beyond := make(map[string]error)
			for heat := range c.plan.heats {
				if err := c.heat(ctx, j, heat, beyond); err != nil {
					return fmt.Errorf("%s: %w", describe(j), err)
				}
			}
		}
	}
	return nil
}

// heat starts all candidates, measures them in turn, and stops them. What chance gives an arena, such as where its memory lies, is worth
// several per cent for as long as it lives: so there are several heats. Those that a job is beyond are not tried again.
func (c *contest) heat(ctx context.Context, j arena.Job, heat int, beyond map[string]error) (err error) {
	var measures []measure.Measure
	for _, m := range c.plan.measures {
		if m.UDP == j.UDP {
			measures = append(measures, m)
		}
	}
	if len(measures) == 0 {
		return nil
	}
	var stands []*measure.Stand
	defer func() {
		for _, s := range stands {
			err = errors.Join(err, s.Running.Stop(context.WithoutCancel(ctx)), s.Close())
		}
	}()
	for _, candidate := range c.plan.candidates {
		if beyond[candidate.Name()] != nil {
			continue
		}
		c.say("%s: starting %s", describe(j), candidate.Name())
		stand, err := c.start(ctx, candidate, j)
		switch {
		case errors.Is(err, arena.ErrBeyond):
			c.say("%s: %s: %v", describe(j), candidate.Name(), err)
			beyond[candidate.Name()] = err
		case err != nil:
			return fmt.Errorf("starting %s: %w", candidate.Name(), err)
		default:
			stands = append(stands, stand)
		}
	}
	for _, s := range stands {
		if err := measure.Settle(ctx, s); err != nil {
			return err
		}
	}
	if err := prepare(ctx, measures, stands); err != nil {
		return err
	}
	return c.rounds(ctx, heat, measures, stands, beyond)
}

// tally is what a heat brings for a measure.
type tally struct {
	measure.Measure
	samples []report.Sample
	failed  map[string]error // why a candidate is measured no more
}

// start starts a candidate in an arena of its own.
func (c *contest) start(ctx context.Context, candidate arena.Candidate, j arena.Job) (*measure.Stand, error) {
	a, err := arena.Open(ctx, c.plan.programs, c.plan.patience)
	if err != nil {
		return nil, err
	}
	a.Begin()
	running, err := candidate.Start(ctx, a, j)
	if err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return &measure.Stand{Arena: a, Candidate: candidate, Running: running, Job: j, Started: time.Since(a.Began())}, nil
}

// prepare prepares all stands for the measures.
func prepare(ctx context.Context, measures []measure.Measure, stands []*measure.Stand) error {
	for _, m := range measures {
		if m.Prepare == nil {
			continue
		}
		var all sync.WaitGroup
		errs := make([]error, len(stands))
		for i, s := range stands {
			all.Go(func() { errs[i] = m.Prepare(ctx, s) })
		}
		all.Wait()
		if err := errors.Join(errs...); err != nil {
			return fmt.Errorf("preparing %s: %w", m.Name, err)
		}
	}
	return nil
}

// rounds takes each measure of all stands, again and again. The order is another one in each round, so that nobody always
// follows the same one. The first round warms up, and does not count.
func (c *contest) rounds(ctx context.Context, heat int, measures []measure.Measure, stands []*measure.Stand, beyond map[string]error) error {
	tallies := make([]*tally, len(measures))
	for i, m := range measures {
		tallies[i] = &tally{Measure: m, failed: maps.Clone(beyond)}
	}
	for round := range c.plan.rounds + 1 {
		if len(stands) > 0 {
			c.say("%s: heat %d of %d: round %d of %d", describe(stands[0].Job), heat+1, c.plan.heats, round, c.plan.rounds)
		}
		for _, t := range tallies {
			for _, s := range turn(stands, round) {
				figures, err := c.take(ctx, t, s, t.Take)
				if err != nil {
					return err
				}
				if round == 0 {
					s.Latency = nil
					continue
				}
				c.count(t, s, heat, round, figures)
			}
		}
	}
	return c.finish(ctx, heat, tallies, stands)
}

// finish keeps what a heat says as a whole.
func (c *contest) finish(ctx context.Context, heat int, tallies []*tally, stands []*measure.Stand) error {
	for _, t := range tallies {
		for _, s := range stands {
			figures, err := c.take(ctx, t, s, t.Finish)
			if err != nil {
				return err
			}
			c.count(t, s, heat, 0, figures)
		}
		if len(stands) > 0 && t.Take != nil {
			c.excuse(stands[0].Job, t.samples, t.failed)
		}
	}
	return nil
}

// take takes a measure of a stand, once, in one of the ways that it has. Who does not stand it twice, for once is bad luck on a busy
// machine, is out of it until the next heat.
func (c *contest) take(ctx context.Context, t *tally, s *measure.Stand, way measure.Way) ([]measure.Figure, error) {
	name := s.Candidate.Name()
	if way == nil || t.failed[name] != nil {
		return nil, nil
	}
	figures, err := way(ctx, s)
	if errors.Is(err, arena.ErrBeyond) && ctx.Err() == nil {
		figures, err = way(ctx, s)
	}
	switch {
	case ctx.Err() != nil:
		return nil, errors.New("interrupted")
	case errors.Is(err, arena.ErrBeyond):
		c.say("%s: %s of %s: %v", describe(s.Job), t.Name, name, err)
		t.failed[name] = err
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("%s of %s: %w", t.Name, name, err)
	}
	return figures, nil
}

// count keeps figures of a measure.
func (c *contest) count(t *tally, s *measure.Stand, heat, round int, figures []measure.Figure) {
	from := len(c.samples)
	c.keep(s, heat, round, figures)
	t.samples = append(t.samples, c.samples[from:]...)
}

// keep keeps figures for the report.
func (c *contest) keep(s *measure.Stand, heat, round int, figures []measure.Figure) {
	for _, f := range figures {
		c.samples = append(c.samples, report.Sample{
			Part: c.part, Measure: f.Name, Job: describe(s.Job), Candidate: s.Candidate.Name(), Heat: heat, Round: round, Value: f.Value,
		})
	}
}

// turn is the order of a round: it begins with another one each time, and every second one goes backwards.
func turn[T any](all []T, round int) []T {
	order := make([]T, 0, len(all))
	for i := range all {
		k := (i + round/2) % len(all)
		if round%2 == 1 {
			k = len(all) - 1 - k
		}
		order = append(order, all[k])
	}
	return order
}

// excuse gives a reason in place of each figure that the others have.
func (c *contest) excuse(j arena.Job, samples []report.Sample, beyond map[string]error) {
	seen := make(map[string]bool)
	for _, s := range samples {
		if seen[s.Measure] {
			continue
		}
		seen[s.Measure] = true
		for name, why := range beyond {
			note, _, _ := strings.Cut(why.Error(), "\n")
			note = strings.TrimPrefix(note, arena.ErrBeyond.Error()+": ")
			c.samples = append(c.samples, report.Sample{Part: c.part, Measure: s.Measure, Job: describe(j), Candidate: name, Note: note})
		}
	}
}

func (c *contest) say(format string, args ...any) {
	fmt.Fprintf(c.progress, "%6.0fs  %s\n", time.Since(c.began).Seconds(), fmt.Sprintf(format, args...))
}

// describe is a job in words.
func describe(j arena.Job) string {
	text := fmt.Sprintf("%d relays", j.Relays)
	if j.Relays == 1 {
		text = "1 relay"
	}
	if j.Prefixes > 0 {
		text += fmt.Sprintf(" x %d sources", j.Prefixes)
	}
	return text
}
