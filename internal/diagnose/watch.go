package diagnose

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"natd/internal/trace"
)

// watch waits for an attempt of a client, if that is asked for, and keeps the ways that it took or may have taken.
func (k *look) watch(ctx context.Context) error {
	if k.ev.Asked.Watch == 0 {
		return nil
	}
	if k.ev.Asked.Relay == "" {
		return errors.New("there is one attempt at a time to be watched: name the relay, or the ADDR:PORT that the client dials")
	}
	what := Watched{Client: k.ev.Asked.Client, Patience: k.ev.Asked.Watch}
	for i := range k.ev.Ways {
		for _, e := range k.dialled(&k.ev.Ways[i]) {
			if !slices.Contains(what.Listen, e) {
				what.Listen = append(what.Listen, e)
			}
		}
		if w := &k.ev.Ways[i]; w.Target.IsValid() {
			first := w.Target.Port() - (w.Listen.Port() - w.Relay.Listen.Ports.First)
			what.Targets = append(what.Targets, trace.End{
				Addr: w.Target.Addr(), Proto: trace.Protocol(w.Protocol), First: first, Last: first + uint16(w.Relay.Listen.Ports.Width()-1),
			})
		}
	}
	what.Watching = func() {
		first := &k.ev.Ways[0]
		k.Progress(fmt.Sprintf("waiting up to %s for a client to dial %s %s ...", k.ev.Asked.Watch, first.listen(), join(first.Relay.Protocols)))
	}
	attempt, err := k.Watch(ctx, what)
	if err != nil {
		return err
	}
	k.took(attempt)
	return nil
}

// dialled is what clients of a way dial: one address and port, when those were asked about, else all that the relay has.
func (k *look) dialled(w *Way) (ends []trace.End) {
	end := trace.End{Addr: w.Listen.Addr(), Proto: trace.Protocol(w.Protocol), First: w.Listen.Port(), Last: w.Listen.Port()}
	if _, err := netip.ParseAddrPort(k.ev.Asked.Relay); err == nil {
		return []trace.End{end}
	}
	end.First, end.Last = w.Relay.Listen.Ports.First, w.Relay.Listen.Ports.Last
	if !w.Relay.Listen.Any() {
		return []trace.End{end}
	}
	for _, a := range k.addresses {
		end.Addr = a.Addr.Addr()
		ends = append(ends, end)
	}
	return ends
}

// took leaves the way that the attempt took, or the first of those that it may have taken.
func (k *look) took(a *Attempt) {
	best := 0
	for i := range k.ev.Ways {
		if w := &k.ev.Ways[i]; a.Stage != NothingCame && k.fit(w, a) > k.fit(&k.ev.Ways[best], a) {
			best = i
		}
	}
	k.ev.Ways = k.ev.Ways[best : best+1]
	w := &k.ev.Ways[0]
	w.Attempt = a
	if a.Stage == NothingCame {
		return
	}
	w.Client = Client{Addr: a.Client.Addr(), How: Met, Link: a.Link, Seen: a.Link != ""}
	if first := w.Relay.Listen.Ports.First; w.Target.IsValid() {
		w.Target = netip.AddrPortFrom(w.Target.Addr(), w.Target.Port()-(w.Listen.Port()-first)+(a.Listen.Port()-first))
	}
	w.Listen = a.Listen
}

// fit is how well the attempt fits the way: its protocol and family first, then its target.
func (*look) fit(w *Way, a *Attempt) (points int) {
	if w.Protocol == a.Protocol {
		points += 4
	}
	if w.Listen.Addr().Is4() == a.Listen.Addr().Is4() {
		points += 2
	}
	if w.Target.Addr() == a.SentTo.Addr() {
		points++
	}
	return points
}
