package daemon

import (
	"context"
	"errors"

	"natd/internal/flow"
)

// table reads connection tracking for those who ask, beside the loop: a table of a million connections takes seconds, in which a relay
// might need to be mended. One reads at a time.
type table struct {
	turn chan struct{}
}

func newTable() table { return table{turn: make(chan struct{}, 1)} }

// each calls do for every tracked connection, as flow.Conntrack's Entries does.
func (t table) each(ctx context.Context, do func(*flow.Entry)) error {
	select {
	case t.turn <- struct{}{}:
		defer func() { <-t.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	c, err := flow.Open()
	if err != nil {
		return err
	}
	return errors.Join(c.Entries(do), c.Close())
}
