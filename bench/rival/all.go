package rival

import (
	"context"
	"errors"
	"fmt"

	"natd/bench/arena"
)

// Reference is the candidate that the ratios are taken against.
const Reference = "map"

// All are the candidates, in the order of the tables.
func All() []arena.Candidate {
	return []arena.Candidate{
		Routed(), RoutedTracked(),
		Map(), MapAgain(), PlainNatd(), LoggingNatd(), ObservedNatd(),
		Seed(), HAProxy(), Nginx(), Socat(), Firewalld(), Nftlb(),
	}
}

// Controlled are those whose control plane is measured: who has relays, and natd where others can take its rules away. One that logs
// is none of its own there.
func Controlled() (some []arena.Candidate) {
	for _, c := range All() {
		if _, direct := c.(arena.Direct); !direct && c.Name() != LoggingNatd().Name() {
			some = append(some, c)
		}
	}
	return append(some, GuardedNatd())
}

// stopped stops what has started but does not do its job.
func stopped(ctx context.Context, r arena.Running, why error) error {
	if err := r.Stop(context.WithoutCancel(ctx)); err != nil {
		return errors.Join(why, fmt.Errorf("stopping it: %w", err))
	}
	return why
}
