package measure

import (
	"context"
	"fmt"
	"time"

	"natd/bench/arena"
	"natd/bench/load"
)

const (
	// sustainedRate is how many connections a second an observer has to keep up with.
	sustainedRate = 15000
	// sustainedFor is how many times longer than others this is measured: B forgets a connection a second after its end, and
	// most of those ends have to fall into the measurement.
	sustainedFor = 40
)

// sustained is what it costs a candidate to hear of every connection at a high rate, and whether it misses any. Where the machine cannot
// make so many, they are as many as it can.
func (l Lengths) sustained(ctx context.Context, s *Stand) ([]Figure, error) {
	observer, ok := s.Running.(arena.Observer)
	if !ok {
		return nil, nil
	}
	lost, err := observer.Lost(ctx)
	if err != nil {
		return nil, err
	}
	if err := Settle(ctx, s); err != nil {
		return nil, err
	}
	began, before := time.Now(), s.own()
	l.Count *= sustainedFor
	r, err := l.run(ctx, s, load.Spec{Kind: load.Rate, Rate: sustainedRate})
	took, cpu := time.Since(began), s.own()-before
	if err != nil {
		return nil, err
	}
	now, err := observer.Lost(ctx)
	if err != nil {
		return nil, err
	}
	return []Figure{
		{fmt.Sprintf("sustained connections, of %d, 1/s", sustainedRate), perSecond(r.Total, took)},
		{"sustained connections: processor time of the observer, % of one", 100 * float64(cpu) / float64(took)},
		{"sustained connections: the same for each, us", each(cpu, r.Total) / 1e3},
		{"sustained connections: times that events were lost", float64(now - lost)},
	}, nil
}
