package diagnose

import (
	"context"
	"net/netip"

	"natd/internal/probe"
)

// Here looks with the tools of this host.
func Here(ctx context.Context, l *Looker, q Question) (*Evidence, error) {
	l.Probes = tries{}
	l.Filters, l.Watch = readChains, watchHere
	return l.Look(ctx, q)
}

// tries is the Prober of package probe.
type tries struct{}

func (tries) Connect(ctx context.Context, d probe.Dial) probe.Outcome { return probe.Connect(ctx, d) }

func (tries) Ping(ctx context.Context, from, to netip.Addr) probe.Outcome {
	return probe.Ping(ctx, from, to)
}

func (tries) PathMTU(ctx context.Context, from, to netip.Addr) probe.MTU {
	return probe.PathMTU(ctx, from, to)
}
