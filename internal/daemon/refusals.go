package daemon

import (
	"context"
	"time"

	"natd/internal/flow"
	"natd/internal/flowlog"
)

// refusals tells the flow log of packets that the rules refuse, until ctx ends.
func (d *Daemon) refusals(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-d.flowlog.hear:
	}
	r, err := flow.OpenRefusals()
	if err != nil {
		// Another program has the group. Relays and the rest of the flow log work without it.
		d.Log.Warn("the flow log will not have what is refused", "error", err)
		return nil
	}
	err = r.Run(ctx, d.noteRefused, d.flowlog.skip)
	if closeErr := r.Close(); err == nil {
		err = closeErr
	}
	return err
}

// noteRefused finds out whose the packet was.
func (d *Daemon) noteRefused(p *flow.Refused) {
	judge := d.judge.Load()
	if judge == nil {
		return
	}
	d.flowlog.use(func(l *flowlog.Log) { l.Refused(p, judge.Refused(p), time.Now()) })
}

// skip notes that records are missing.
func (f *flowLog) skip() { f.use((*flowlog.Log).Skip) }
