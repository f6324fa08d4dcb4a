package measure

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"natd/bench/arena"
	"natd/bench/report"
)

// change moves the relay that is hit to another address, and back, and again.
func change(ctx context.Context, s *Stand) ([]Figure, error) {
	var took, kernel []float64
	for range changesOfLife {
		written := 0
		d, isNatd := s.Running.(daemon)
		if isNatd {
			written = len(d.Log())
		}
		t, err := move(ctx, s)
		if err != nil {
			return nil, err
		}
		took = append(took, ms(t))
		if isNatd {
			t, err := applied(d.Log()[written:])
			if err != nil {
				return nil, err
			}
			kernel = append(kernel, ms(t))
		}
	}
	figures := []Figure{{ChangeTime, report.Median(took)}}
	if len(kernel) > 0 {
		figures = append(figures, Figure{ChangeKernel, report.Median(kernel)})
	}
	return figures, nil
}

// move changes the job of a stand, and says how long it took until a client got there. Clients ask all the time: the kernel may have
// changed before the program that was told says so.
func move(ctx context.Context, s *Stand) (time.Duration, error) {
	is := s.Job
	is.Moved = !is.Moved
	where, target := arena.Dial(s.Candidate, is), is.Target(is.Hit()).Addr()
	var answered time.Time
	seen := make(chan error, 1)
	go func() {
		err := arena.Until(ctx, s.Patience, func() error {
			if addr, err := s.Who(ctx, where); err != nil || addr != target {
				return errors.Join(errNotYet, err)
			}
			return nil
		})
		answered = time.Now()
		seen <- err
	}()
	s.Begin()
	err := s.Running.Change(ctx, is)
	if err := errors.Join(err, <-seen); err != nil {
		return 0, fmt.Errorf("moving a relay: %w", err)
	}
	s.Job = is
	return answered.Sub(s.Began()), nil
}

// applied is how long the change of the kernel took that natd tells of last.
func applied(log string) (time.Duration, error) {
	found := regexp.MustCompile(`msg="ruleset changed" .*\btook=(\S+)`).FindAllStringSubmatch(log, -1)
	if len(found) == 0 {
		return 0, fmt.Errorf("natd tells of no change:\n%s", log)
	}
	return time.ParseDuration(found[len(found)-1][1])
}

// same asks for what is there already.
func same(ctx context.Context, s *Stand) ([]Figure, error) {
	took := make([]float64, changesOfLife)
	for i := range took {
		s.Begin()
		if err := s.Running.Change(ctx, s.Job); err != nil {
			return nil, fmt.Errorf("reloading the same: %w", err)
		}
		took[i] = ms(time.Since(s.Began()))
	}
	return []Figure{{SameTime, report.Median(took)}}, nil
}
