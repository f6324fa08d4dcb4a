package diagnose

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"natd/internal/control"
	"natd/internal/probe"
	"natd/nat"
)

// atOnce is how many ways are tried at the same time.
const atOnce = 64

// probe makes the own attempts, for all ways at the same time.
func (k *look) probe(ctx context.Context) {
	stop := k.slow("trying the targets")
	defer stop()
	gate := make(chan struct{}, atOnce)
	var wait sync.WaitGroup
	for i := range k.ev.Ways {
		w := &k.ev.Ways[i]
		if !w.triable() {
			continue
		}
		gate <- struct{}{}
		wait.Go(func() {
			defer func() { <-gate }()
			k.try(ctx, w)
		})
	}
	wait.Wait()
	for i := range k.ev.Ways {
		k.neighbour(&k.ev.Ways[i])
	}
}

// triable tells whether there is anything to try.
func (w *Way) triable() bool {
	return w.Relay.Enabled && w.Target.IsValid() && w.Out.Kind == RouteFine
}

// silence is when no answer counts as such: a second more than a router needs to find out that there is no neighbour.
const silence = 4 * time.Second

// try tries one target: the port and the host; and how large packets may be when it is not silent.
func (k *look) try(ctx context.Context, w *Way) {
	from := netip.Addr{}
	switch {
	case w.Out.Local:
	case len(w.Sources) > 0:
		from = w.Sources[0]
	default:
		from = w.Out.Source
	}
	if w.Protocol == nat.SCTP {
		w.Probe = &Answer{From: from, Outcome: probe.Outcome{Err: errors.New("natctl does not speak SCTP")}}
	} else {
		var ping sync.WaitGroup // silence takes seconds: both wait for it at the same time
		if !w.Out.Local {
			ping.Go(func() { w.Ping = &Answer{k.Probes.Ping(ctx, from, w.Target.Addr()), from} })
		}
		w.Probe = &Answer{k.Probes.Connect(ctx, probe.Dial{From: from, To: w.Target, UDP: w.Protocol == nat.UDP, Timeout: silence}), from}
		ping.Wait()
	}
	if w.Out.Local {
		return
	}
	if w.Ping != nil && w.Ping.Kind == probe.Answered {
		r := k.Probes.PathMTU(ctx, from, w.Target.Addr())
		w.Room = &r
	}
}

// neighbour reads what the kernel knows of the next hop.
func (k *look) neighbour(w *Way) {
	if !w.triable() || w.Out.Local {
		return
	}
	hop := w.Out.Gateway
	if !hop.IsValid() {
		hop = w.Target.Addr()
	}
	state, err := k.host.Neighbour(hop, w.Out.Index)
	if err != nil {
		k.unread("%v", err)
		return
	}
	w.Neighbour = Neighbour{hop, w.Out.Link, state}
}

// doubt is how long something that may pass by itself is given: a handshake that has just begun, a limit that was reached once.
const doubt = 1100 * time.Millisecond

// doubtHidden is how long a client that gets no answer has to try again: a SYN is sent again after 1 s and 3 s (RFC 6298, 2.1), so most who
// try do so within it.
const doubtHidden = 3200 * time.Millisecond

// lookAgain reads what may have changed meanwhile, and waits for it where the first look left a doubt.
func (k *look) lookAgain(ctx context.Context, first map[*Way]*sighting, before counters) error {
	if wait := k.doubts(first); wait > 0 {
		select {
		case <-time.After(wait - min(wait, time.Since(k.began))):
		case <-ctx.Done():
			return fmt.Errorf("interrupted: %w", ctx.Err())
		}
	}
	sent := k.sent()
	second, err := k.flows()
	if err != nil {
		return err
	}
	for i := range k.ev.Ways {
		w := &k.ev.Ways[i]
		second[w].settle(w, first[w])
		w.Lost = k.lost(w, sent, second)
	}
	k.grown(before)
	k.ev.Host.Conntrack.Entries = k.number("net.netfilter.nf_conntrack_count")
	k.refusals(ctx)
	return nil
}

// doubts is how long the look has to last at least.
func (*look) doubts(first map[*Way]*sighting) (wait time.Duration) {
	for w, s := range first {
		switch {
		case w.hidden(onward()) != nil && s.flows.Whole == nil:
			return doubtHidden
		case len(s.halfOpen) > 0 || w.Status != nil && w.Status.Refused != (control.Refused{}):
			wait = doubt
		}
	}
	return wait
}

// sent is the connections that natd's table has translated since it was made, by relay and target, where it matters: where a chain that
// cannot be read may have dropped them. A packet that is dropped leaves no entry in connection tracking.
func (k *look) sent() map[string]map[netip.AddrPort]uint64 {
	if !slices.ContainsFunc(k.ev.Ways, func(w Way) bool { return w.hidden(onward()) != nil }) {
		return nil
	}
	kernel, err := nat.Open()
	if err != nil {
		return nil
	}
	defer kernel.Close()
	table, err := kernel.Read()
	if err != nil {
		return nil
	}
	return table.TargetConnections()
}

// lost is how many connections were sent on during the look, where nothing is tracked of that time: of nobody, and of no protocol, for the
// table counts them together. An attempt that was watched tells more.
func (k *look) lost(w *Way, sent map[string]map[netip.AddrPort]uint64, seen map[*Way]*sighting) (n uint64) {
	for o, s := range seen {
		if o.Attempt != nil || o.Relay.Name == w.Relay.Name && o.Target.Addr() == w.Target.Addr() && s.passed {
			return 0
		}
	}
	for to, now := range sent[w.Relay.Name] {
		if to.Addr() == w.Target.Addr() {
			n += growth(k.targets[w.Relay.Name][to], now).Grown
		}
	}
	return n
}

// refusals is what the limits of relays refused, and whether they still do.
func (k *look) refusals(ctx context.Context) {
	var again *control.Status
	for i := range k.ev.Ways {
		w := &k.ev.Ways[i]
		if w.Status == nil || w.Status.Refused == (control.Refused{}) {
			continue
		}
		if again == nil {
			var err error
			if again, err = k.Again(ctx); err != nil {
				k.unread("what limits refuse now: %v", err)
				return
			}
		}
		was := w.Status.Refused
		is, last := was, w.Status.LastRefused
		for j := range again.Relays {
			if again.Relays[j].Name == w.Relay.Name {
				is, last = again.Relays[j].Refused, again.Relays[j].LastRefused
			}
		}
		w.Refused = Growths{
			Connections: growth(was.Connections, is.Connections), Sources: growth(was.PerSource, is.PerSource), Rate: growth(was.Rate, is.Rate),
		}
		if !last.IsZero() {
			w.Refused.Ago = max(k.Now().Sub(last), 1)
		}
	}
}

// growth is a counter that is was earlier. One that began anew has not grown.
func growth(was, is uint64) Growth { return Growth{is, is - min(was, is)} }

// patience is how long a step may take before the user hears of it.
const patience = time.Second

// slow tells the user about a step that takes long, unless it is stopped before.
func (k *look) slow(text string) (stop func()) {
	t := time.AfterFunc(patience, func() { k.Progress(text + " ...") })
	return func() { t.Stop() }
}
