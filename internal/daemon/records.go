package daemon

import (
	"context"
	"net/netip"

	"golang.org/x/time/rate"

	"natd/internal/flow"
)

// recordRate bounds the records of new connections, a second: the journal is for people, and a flood of connections must
// not become a flood of writes.
const recordRate = 1000

// records logs new connections of relays with log = true until ctx ends.
func (d *Daemon) records(ctx context.Context) error {
	l, err := flow.OpenLog()
	if err != nil {
		// Another program has the group. Relays work without it.
		d.Log.Warn("new connections of relays with log = true cannot be reported", "error", err)
		return nil
	}
	limit, left := rate.NewLimiter(recordRate, recordRate), 0
	err = l.Run(ctx, func(dialled flow.Dialled) {
		if !limit.Allow() {
			left++
			return
		}
		if left > 0 {
			d.Log.Warn("records of new connections were left out", "records", left, "limit_per_second", recordRate)
			left = 0
		}
		d.record(dialled)
	}, func() { d.Log.Warn("the kernel dropped records of new connections") })
	if closeErr := l.Close(); err == nil {
		err = closeErr
	}
	return err
}

// record reports a connection that a relay takes. Those of sources that may not use it never become one.
func (d *Daemon) record(dialled flow.Dialled) {
	judge := d.judge.Load()
	if judge == nil {
		return
	}
	i, ok := judge.Index.Relay(dialled.Listen)
	if !ok || !judge.Spec.Relays[i].Admits(dialled.Client.Addr()) {
		return
	}
	r, listen := &judge.Spec.Relays[i], dialled.Listen
	attrs := []any{
		"relay", r.Name, "protocol", listen.Proto.String(), "client", dialled.Client.String(),
		"listen", netip.AddrPortFrom(listen.Addr, listen.Port).String(),
	}
	// The packet is reported as the client sent it: which of several backends the kernel chose it does not show.
	if targets := judge.Places.Relays[i].Targets; len(targets) == 1 {
		t := &targets[0]
		attrs = append(attrs, "target", netip.AddrPortFrom(t.Addr, t.Port(r.Listen.Ports, listen.Port)).String())
	}
	d.Log.Info("new connection", attrs...)
}
