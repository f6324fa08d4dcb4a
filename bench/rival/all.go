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

// stopped stops what has started but does not do its job.
func stopped(ctx context.Context, r arena.Running, why error) error {
	if err := r.Stop(context.WithoutCancel(ctx)); err != nil {
		return errors.Join(why, fmt.Errorf("stopping it: %w", err))
	}
	return why
}
