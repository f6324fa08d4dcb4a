package main

import (
	"context"
	"errors"
	"fmt"
	"io"
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
			for heat := range c.plan.heats {
				if err := c.heat(ctx, j, heat); err != nil {
					return fmt.Errorf("%s: %w", describe(j), err)
				}
			}
		}
	}
	return nil
}

// heat starts all candidates, measures them in turn, and stops them. What chance gives an arena, such as where its memory lies, is worth
// several per cent for as long as it lives: so there are several heats.
func (c *contest) heat(ctx context.Context, j arena.Job, heat int) (err error) {
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
	beyond := make(map[string]error)
	for _, candidate := range c.plan.candidates {
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
	from := len(c.samples)
	if err := c.rounds(ctx, heat, measures, stands); err != nil {
		return err
	}
	c.excuse(j, c.samples[from:], beyond)
	return nil
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
func (c *contest) rounds(ctx context.Context, heat int, measures []measure.Measure, stands []*measure.Stand) error {
	for round := range c.plan.rounds + 1 {
		if len(stands) > 0 {
			c.say("%s: heat %d of %d: round %d of %d", describe(stands[0].Job), heat+1, c.plan.heats, round, c.plan.rounds)
		}
		for _, m := range measures {
			for _, s := range turn(stands, round) {
				figures, err := take(ctx, s, m)
				if err != nil {
					return err
				}
				if round == 0 {
					s.Latency = nil
					continue
				}
				c.keep(s, heat, round, figures)
			}
		}
	}
	c.finish(heat, measures, stands)
	return nil
}

// finish keeps what all rounds of a heat say together.
func (c *contest) finish(heat int, measures []measure.Measure, stands []*measure.Stand) {
	for _, m := range measures {
		for _, s := range stands {
			if m.Finish != nil {
				c.keep(s, heat, 0, m.Finish(s))
			}
		}
	}
}

// take takes a measure of a stand, once.
func take(ctx context.Context, s *measure.Stand, m measure.Measure) ([]measure.Figure, error) {
	figures, err := m.Take(ctx, s)
	if ctx.Err() != nil {
		return nil, errors.New("interrupted")
	}
	if err != nil {
		return nil, fmt.Errorf("%s of %s: %w", m.Name, s.Candidate.Name(), err)
	}
	return figures, nil
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
