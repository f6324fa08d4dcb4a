package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"natd/bench/arena"
	"natd/bench/measure"
	"natd/bench/report"
	"natd/bench/rival"
)

// control measures the control plane.
func (c *contest) control(ctx context.Context) error {
	c.part = controlPlane
	for _, j := range c.plan.scales {
		beyond := make(map[string]error)
		for life := range c.plan.lives {
			for _, together := range apart(c.plan.controlled) {
				if !c.plan.start && len(c.plan.stages) == 0 {
					break
				}
				if err := c.life(ctx, j, life, together, beyond); err != nil {
					return fmt.Errorf("%s: %w", describe(j), err)
				}
			}
			if err := c.rulesets(ctx, j, life); err != nil {
				return fmt.Errorf("%s: %w", describe(j), err)
			}
		}
	}
	return nil
}

// apart has no two natds live at the same time: each listens to changes of rulesets, and as long as anybody does, in whatever network
// namespace, the kernel writes a notification for each element that anyone changes (netlink_has_listeners of net/netlink/af_netlink.c).
func apart(all []arena.Candidate) (groups [][]arena.Candidate) {
	groups = [][]arena.Candidate{nil}
	listens := false
	for _, c := range all {
		if _, ok := c.(rival.Natd); ok && listens {
			groups = append(groups, []arena.Candidate{c})
			continue
		} else if ok {
			listens = true
		}
		groups[0] = append(groups[0], c)
	}
	return groups
}

// life starts some candidates, one after the other, measures stage by stage what is done to them, and ends them. Those that a job is beyond
// are not tried again.
func (c *contest) life(ctx context.Context, j arena.Job, life int, together []arena.Candidate, beyond map[string]error) (err error) {
	var stands []*measure.Stand
	broken := make(map[*measure.Stand]bool)
	defer func() {
		for _, s := range stands {
			if stopped := s.Running.Stop(context.WithoutCancel(ctx)); !broken[s] {
				err = errors.Join(err, stopped)
			}
			err = errors.Join(err, s.Close())
		}
	}()
	from := len(c.samples)
	for _, candidate := range turn(together, life) {
		if beyond[candidate.Name()] != nil {
			continue
		}
		c.say("%s: life %d of %d: starting %s", describe(j), life+1, c.plan.lives, candidate.Name())
		stand, err := c.start(ctx, candidate, j)
		switch {
		case errors.Is(err, arena.ErrBeyond):
			c.say("%s: %s: %v", describe(j), candidate.Name(), err)
			beyond[candidate.Name()] = err
			continue
		case err != nil:
			return fmt.Errorf("starting %s: %w", candidate.Name(), err)
		}
		stands = append(stands, stand)
		if err := measure.Settle(ctx, stand); err != nil {
			return err
		}
		if c.plan.start {
			c.keep(stand, life, 0, []measure.Figure{{Name: measure.Start, Value: float64(stand.Started) / float64(time.Millisecond)}})
		}
	}
	c.excuse(j, c.samples[from:], beyond)
	for _, stage := range c.plan.stages {
		c.say("%s: life %d of %d: %s", describe(j), life+1, c.plan.lives, stage.Name)
		if err := c.stage(ctx, j, life, stage, stands, broken); err != nil {
			return err
		}
	}
	return nil
}

// stage lets all go through a stage. Who cannot is excused; when it was the one that ends a life, its candidate is broken.
func (c *contest) stage(ctx context.Context, j arena.Job, life int, stage measure.Stage, stands []*measure.Stand, broken map[*measure.Stand]bool) error {
	figures, errs := make([][]measure.Figure, len(stands)), make([]error, len(stands))
	var all sync.WaitGroup
	for i, s := range stands {
		all.Go(func() { figures[i], errs[i] = stage.Take(ctx, s) })
		if !stage.Together {
			all.Wait()
		}
	}
	all.Wait()
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	from, beyond := len(c.samples), make(map[string]error)
	for i, s := range stands {
		switch name := s.Candidate.Name(); {
		case errors.Is(errs[i], arena.ErrBeyond):
			beyond[name] = errs[i]
			broken[s] = broken[s] || len(s.Running.PIDs()) > 0
		case errs[i] != nil:
			return fmt.Errorf("%s of %s: %w", stage.Name, name, errs[i])
		default:
			c.keep(s, life, 0, figures[i])
		}
	}
	c.excuse(j, c.samples[from:], beyond)
	return nil
}

// rulesets loads natd's ruleset and reads it back, in turn by its own means and by nft.
func (c *contest) rulesets(ctx context.Context, j arena.Job, life int) (err error) {
	if c.plan.loads == 0 {
		return nil
	}
	a, err := arena.Open(ctx, c.plan.programs, c.plan.patience)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	from, beyond := len(c.samples), make(map[string]error)
	for round := range c.plan.loads {
		c.say("%s: ruleset: round %d of %d", describe(j), round+1, c.plan.loads)
		for _, way := range turn([]string{measure.ByNatd, measure.ByNft}, round) {
			figures, err := measure.Ruleset(ctx, a, j, way)
			switch {
			case ctx.Err() != nil:
				return errors.New("interrupted")
			case errors.Is(err, arena.ErrBeyond):
				beyond[way] = err
			case err != nil:
				return fmt.Errorf("ruleset by %s: %w", way, err)
			}
			for _, f := range figures {
				c.samples = append(c.samples, report.Sample{
					Part: c.part, Measure: f.Name, Job: describe(j), Candidate: way, Heat: life, Round: round, Value: f.Value,
				})
			}
		}
	}
	c.excuse(j, c.samples[from:], beyond)
	return nil
}
