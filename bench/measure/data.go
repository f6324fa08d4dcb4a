package measure

import (
	"context"
	"fmt"
	"time"

	"natd/bench/arena"
	"natd/bench/load"
)

// Load of the measures.
const (
	workers = 32   // connections at a time, of a closed loop
	rate    = 2000 // connections a second, where latency is measured: far from what the machine can do
	// patienceForTail is how many times longer than others latency is measured: its tail takes many connections.
	patienceForTail = 4
	packetSize      = 64 // bytes of a UDP packet, without headers

	// pause is how long processes have to do next to nothing to be at rest.
	pause = 10 * time.Millisecond
	// unrest is how long they may take for that.
	unrest = 15 * time.Second
)

// Names of figures of the data path, which goals are set for.
const (
	Connections = "new connections, 1/s"
	PacketCost  = "processor time of an established packet, ns"
)

// Throughput is the name of that of so many streams.
func Throughput(streams int) string {
	return fmt.Sprintf("TCP throughput, %d streams, Gbit/s", streams)
}

// Lengths are how long one measurement takes.
type Lengths struct {
	Warm, Count time.Duration
}

// Data are the measures of the data path.
func Data(l Lengths) []Measure {
	return []Measure{
		{Name: "connections", Take: l.connections},
		{Name: "latency", Take: l.latency, Finish: quantiles},
		{Name: "stream-1", Take: l.throughput(1)},
		{Name: "stream-8", Take: l.throughput(8)},
		{Name: "sustained", Finish: l.sustained},
		{Name: "packets", UDP: true, Prepare: flow, Take: l.packets},
	}
}

// run makes a load to what clients dial, with nothing left of the one before.
func (l Lengths) run(ctx context.Context, s *Stand, spec load.Spec) (load.Result, error) {
	if spec.Kind != load.Packets { // whose flow has to live on
		if err := s.Flush(); err != nil {
			return load.Result{}, err
		}
	}
	spec.To, spec.Warm, spec.Duration = arena.Dial(s.Candidate, s.Job), l.Warm, l.Count
	result, err := s.Load.Load(ctx, spec)
	if err != nil && ctx.Err() == nil {
		err = fmt.Errorf("%w: %w", arena.ErrBeyond, err)
	}
	if err == nil && result.Failed > result.Opened/1000 {
		err = fmt.Errorf("%w: %d of %d connections failed: %s", arena.ErrBeyond, result.Failed, result.Opened+result.Failed, result.Why)
	}
	return result, err
}

// connections is how many connections there can be in a second, and what each costs the candidate's processes.
func (l Lengths) connections(ctx context.Context, s *Stand) ([]Figure, error) {
	before := s.cpu()
	r, err := l.run(ctx, s, load.Spec{Kind: load.Connect, Workers: workers})
	if err == nil {
		err = Settle(ctx, s)
	}
	if err != nil {
		return nil, err
	}
	return []Figure{
		{Connections, perSecond(r.Opened, r.Took)},
		{"processor time of a new connection, us", each(s.cpu()-before+r.CPU, r.Total) / 1e3},
	}, nil
}

// Settle lets the connections of a load end, and waits until the candidate's processes have done what that, or their start, makes
// them do: it would be in the way of the next measurement. Those that never rest are measured as they are.
func Settle(ctx context.Context, s *Stand) error {
	if err := s.Flush(); err != nil || len(s.Running.PIDs()) == 0 {
		return err
	}
	end := time.Now().Add(unrest)
	for before, now := time.Duration(0), s.cpu(); now-before > pause/20 && time.Now().Before(end); before, now = now, s.cpu() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
	return nil
}

// latency is how long connections take at a rate that everybody can keep, from the first packet to the first answer.
func (l Lengths) latency(ctx context.Context, s *Stand) ([]Figure, error) {
	l.Count *= patienceForTail
	r, err := l.run(ctx, s, load.Spec{Kind: load.Rate, Rate: rate})
	if err == nil {
		err = Settle(ctx, s)
	}
	s.Latency.Merge(r.Latency)
	return nil, err
}

// quantiles are those of the latency that there are enough connections for.
func quantiles(_ context.Context, s *Stand) (figures []Figure, _ error) {
	for _, q := range []struct {
		name   string
		share  float64
		enough int64
	}{{"p50", 0.5, 0}, {"p99", 0.99, 500}, {"p99.9", 0.999, 5000}} {
		if s.Latency.Count() >= q.enough {
			figures = append(figures, Figure{fmt.Sprintf("first answer at %d connections/s, %s, us", rate, q.name), float64(s.Latency.Quantile(q.share)) / float64(time.Microsecond)})
		}
	}
	return figures, nil
}

// throughput is what some connections carry together.
func (l Lengths) throughput(streams int) func(context.Context, *Stand) ([]Figure, error) {
	return func(ctx context.Context, s *Stand) ([]Figure, error) {
		before := s.cpu()
		r, err := l.run(ctx, s, load.Spec{Kind: load.Stream, Workers: streams})
		if err != nil {
			return nil, err
		}
		const mib = 1 << 20
		return []Figure{
			{Throughput(streams), perSecond(r.Bytes, r.Took) * 8 / 1e9},
			{fmt.Sprintf("processor time of a MiB, %d streams, us", streams), each(s.cpu()-before+r.CPU, r.Total) * mib / 1e3},
		}, nil
	}
}

// flow begins the flow that packets measures, which takes a while to be established in every respect.
func flow(ctx context.Context, s *Stand) error {
	_, err := s.Load.Load(ctx, load.Spec{Kind: load.Packets, To: arena.Dial(s.Candidate, s.Job)})
	return err
}

// packets is what one flow carries that has been answered. One processor sends and forwards, and does nothing else.
func (l Lengths) packets(ctx context.Context, s *Stand) ([]Figure, error) {
	before := s.cpu()
	r, err := l.run(ctx, s, load.Spec{Kind: load.Packets, Size: packetSize})
	if err != nil {
		return nil, err
	}
	return []Figure{
		{"UDP packets, 1/s", perSecond(r.Packets, r.Took)},
		{PacketCost, each(s.cpu()-before+r.CPU, r.Total)},
	}, nil
}

// each is what one of so many costs, in nanoseconds.
func each(cpu time.Duration, n int64) float64 { return float64(cpu) / float64(max(n, 1)) }

func perSecond(n int64, took time.Duration) float64 { return float64(n) / took.Seconds() }
