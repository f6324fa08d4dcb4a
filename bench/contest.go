package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
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

	samples []report.Sample
}

// run measures every job.
func (c *contest) run(ctx context.Context) error {
	for _, j := range c.plan.jobs {
		for _, udp := range []bool{false, true} {
			j.UDP = udp
			if err := c.job(ctx, j); err != nil {
				return fmt.Errorf("%s: %w", describe(j), err)
			}
		}
	}
	return nil
}

// job starts all candidates, measures them in turn, and stops them.
func (c *contest) job(ctx context.Context, j arena.Job) (err error) {
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
	from := len(c.samples)
	if err := c.rounds(ctx, j, measures, stands); err != nil {
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
	running, err := candidate.Start(ctx, a, j)
	if err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return &measure.Stand{Arena: a, Candidate: candidate, Running: running, Job: j}, nil
}

// rounds takes each measure of all stands, again and again. The order is another one in each round, so that nobody always
// follows the same one. The first round warms up, and does not count.
func (c *contest) rounds(ctx context.Context, j arena.Job, measures []measure.Measure, stands []*measure.Stand) error {
	for round := range c.plan.rounds + 1 {
		for _, m := range measures {
			c.say("%s: round %d of %d: %s", describe(j), round, c.plan.rounds, m.Name)
			for _, s := range turn(stands, round) {
				if err := c.take(ctx, s, m, round); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// take takes a measure of a stand, once.
func (c *contest) take(ctx context.Context, s *measure.Stand, m measure.Measure, round int) error {
	figures, err := m.Take(ctx, s)
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	if err != nil {
		return fmt.Errorf("%s of %s: %w", m.Name, s.Candidate.Name(), err)
	}
	if round == 0 {
		return nil
	}
	for _, f := range figures {
		c.samples = append(c.samples, report.Sample{
			Measure: f.Name, Job: describe(s.Job), Candidate: s.Candidate.Name(), Round: round, Value: f.Value,
		})
	}
	return nil
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
			c.samples = append(c.samples, report.Sample{Measure: s.Measure, Job: describe(j), Candidate: name, Note: note})
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
