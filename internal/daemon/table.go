package daemon

import (
	"context"
	"errors"

	"natd/internal/flow"
)

// table is the turn to read large tables of the kernel for those who ask, beside the loop: one of a million connections takes seconds, in
// which a relay might need to be mended, and one of a hundred thousand relays much memory. One reads at a time.
type table struct {
	turn chan struct{}
}

func newTable() table { return table{turn: make(chan struct{}, 1)} }

// take waits for the turn. done gives it back.
func (t table) take(ctx context.Context) (done func(), err error) {
	select {
	case t.turn <- struct{}{}:
		return func() { <-t.turn }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// each calls do for every tracked connection, as flow.Conntrack's Entries does.
func (t table) each(ctx context.Context, do func(*flow.Entry)) error {
	done, err := t.take(ctx)
	if err != nil {
		return err
	}
	defer done()
	c, err := flow.Open()
	if err != nil {
		return err
	}
	return errors.Join(c.Entries(do), c.Close())
}
