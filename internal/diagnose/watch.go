package diagnose

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// watch waits for an attempt of a client, if that is asked for, and keeps the ways that it took or may have taken.
func (k *look) watch(ctx context.Context) error {
	if k.ev.Asked.Watch == 0 {
		return nil
	}
	if k.ev.Asked.Relay == "" {
		return errors.New("there is one attempt at a time to be watched: name the relay, or the ADDR:PORT that the client dials")
	}
	first := &k.ev.Ways[0]
	what := Watched{Protocol: first.Protocol, Listen: first.Listen, Client: k.ev.Asked.Client, Patience: k.ev.Asked.Watch}
	for i := range k.ev.Ways {
		if w := &k.ev.Ways[i]; w.Target.IsValid() && w.Protocol == first.Protocol {
			what.Targets = append(what.Targets, w.Target)
		}
	}
	what.Watching = func() {
		k.Progress(fmt.Sprintf("waiting up to %s for a client to dial %s %s ...", k.ev.Asked.Watch, what.Listen, what.Protocol))
	}
	attempt, err := k.Watch(ctx, what)
	if err != nil {
		return err
	}
	k.took(attempt)
	return nil
}

// took leaves the way that the attempt took, or the first of those that it may have taken.
func (k *look) took(a *Attempt) {
	kept := k.ev.Ways[:1]
	if i := slices.IndexFunc(k.ev.Ways, func(w Way) bool { return w.Target == a.SentTo }); i >= 0 {
		kept = k.ev.Ways[i : i+1]
	}
	k.ev.Ways = kept
	w := &k.ev.Ways[0]
	w.Attempt = a
	if a.Stage != NothingCame {
		w.Client = Client{Addr: a.Client.Addr(), How: Met, Link: a.Link, Seen: a.Link != ""}
	}
}
