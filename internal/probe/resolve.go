package probe

import (
	"context"
	"log/slog"
)

// Resolve asks for each name once, and returns what was answered until all were or ctx ended. A name that was not answered by
// then has an Answer that says so.
func Resolve(ctx context.Context, o Options, names []Name) map[Name]Answer {
	answers := make(map[Name]Answer, len(names))
	if len(names) == 0 {
		return answers
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	heard := make(chan struct{}, 1)
	o.Changed = func() {
		select {
		case heard <- struct{}{}:
		default:
		}
	}
	o.Log = slog.New(slog.DiscardHandler) // whoever asks is told
	n := NewNames(o)
	n.Set(names)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = n.Run(ctx) // it fails never, and what it found stays with n
	}()
	n.await(ctx, names, heard)
	cancel()
	<-done
	for _, name := range names {
		a := n.Answer(name)
		if a.Asked.IsZero() {
			a.Error = "no answer in time"
		}
		answers[name] = a
	}
	return answers
}

// await waits until every name was asked for.
func (n *Names) await(ctx context.Context, names []Name, heard <-chan struct{}) {
	for {
		open := false
		for _, name := range names {
			open = open || n.Answer(name).Asked.IsZero()
		}
		if !open {
			return
		}
		select {
		case <-heard:
		case <-ctx.Done():
			return
		}
	}
}
