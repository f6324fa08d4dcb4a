package measure

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"natd/bench/arena"
	"natd/bench/load"
)

// Load of the measures.
const (
	workers    = 32   // connections at a time, of a closed loop
	rate       = 2000 // connections a second, where latency is measured: far from what the machine can do
	packetSize = 64   // bytes of a UDP packet, without headers
)

// Lengths are how long one measurement takes.
type Lengths struct {
	Warm, Count time.Duration
}

// Data are the measures of the data path.
func Data(l Lengths) []Measure {
	return []Measure{
		{Name: "connections", Take: l.connections},
		{Name: "latency", Take: l.latency},
		{Name: "stream-1", Take: l.throughput(1)},
		{Name: "stream-8", Take: l.throughput(8)},
		{Name: "packets", UDP: true, Take: l.packets},
	}
}

// run makes a load to what clients dial, with nothing left of the one before.
func (l Lengths) run(ctx context.Context, s *Stand, spec load.Spec) (load.Result, error) {
	if err := s.Flush(); err != nil {
		return load.Result{}, err
	}
	spec.To, spec.Warm, spec.Duration = arena.Dial(s.Candidate, s.Job), l.Warm, l.Count
	result, err := s.Load.Load(ctx, spec)
	if err == nil && result.Failed > result.Opened/1000 {
		err = fmt.Errorf("%d of %d connections failed", result.Failed, result.Opened+result.Failed)
	}
	return result, err
}

// connections is how many connections there can be in a second, and what each costs the candidate's processes.
func (l Lengths) connections(ctx context.Context, s *Stand) ([]Figure, error) {
	before := processCPU(s.Running.PIDs())
	r, err := l.run(ctx, s, load.Spec{Kind: load.Connect, Workers: workers})
	if err != nil {
		return nil, err
	}
	return []Figure{{"new connections, 1/s", perSecond(r.Opened, r.Took)}}, l.settle(ctx, s, before)
}

// settle lets the connections of a load end, and waits until the candidate's processes have done what that makes them do, which
// would be in the way of the next measurement.
func (Lengths) settle(ctx context.Context, s *Stand, before time.Duration) error {
	if err := s.Flush(); err != nil {
		return err
	}
	pids := s.Running.PIDs()
	for now := processCPU(pids); now > before; now = processCPU(pids) {
		before = now
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(3 * tick):
		}
	}
	return nil
}

// latency is how long connections take at a rate that everybody can keep, from the first packet to the first answer.
func (l Lengths) latency(ctx context.Context, s *Stand) ([]Figure, error) {
	before := processCPU(s.Running.PIDs())
	r, err := l.run(ctx, s, load.Spec{Kind: load.Rate, Rate: rate})
	if err != nil {
		return nil, err
	}
	var figures []Figure
	for _, q := range []float64{0.5, 0.99, 0.999} {
		name := "first answer, p" + strconv.FormatFloat(q*100, 'g', -1, 64) + ", us"
		figures = append(figures, Figure{name, float64(r.Latency.Quantile(q)) / float64(time.Microsecond)})
	}
	return figures, l.settle(ctx, s, before)
}

// throughput is what some connections carry together.
func (l Lengths) throughput(streams int) func(context.Context, *Stand) ([]Figure, error) {
	return func(ctx context.Context, s *Stand) ([]Figure, error) {
		r, err := l.run(ctx, s, load.Spec{Kind: load.Stream, Workers: streams})
		if err != nil {
			return nil, err
		}
		name := fmt.Sprintf("TCP throughput, %d streams, Gbit/s", streams)
		return []Figure{{name, perSecond(r.Bytes, r.Took) * 8 / 1e9}}, nil
	}
}

// packets is what one flow carries that has been answered. One processor sends and forwards, and does nothing else: its time is
// what the packets cost.
func (l Lengths) packets(ctx context.Context, s *Stand) ([]Figure, error) {
	r, err := l.run(ctx, s, load.Spec{Kind: load.Packets, Size: packetSize})
	if err != nil {
		return nil, err
	}
	pps := perSecond(r.Packets, r.Took)
	return []Figure{{"UDP packets, 1/s", pps}, {"an established packet, ns", 1e9 / pps}}, nil
}

func perSecond(n int64, took time.Duration) float64 { return float64(n) / took.Seconds() }
