package nfnl

import (
	"context"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"natd/internal/lab"
)

// newInbox is an Inbox of datagrams that a fake kernel sends.
func newInbox(t *testing.T, size int) (*Inbox, *fakeKernel) {
	t.Helper()
	s, k := newFake(t)
	x, err := s.Inbox(size)
	lab.Check(t, err)
	t.Cleanup(func() { lab.Check(t, x.Close()) })
	return x, k
}

// More datagrams than one call fetches come in their order, and one that is cut off counts as lost.
func TestInboxTakes(t *testing.T) {
	t.Parallel()
	x, k := newInbox(t, 64)
	const count = 2*inboxRooms + 3
	want := uint32(0)
	for _, large := range []bool{false, true, false} {
		for n := range uint32(count) {
			k.send(want+n, []reply{data(0)})
		}
		if large {
			k.send(0, []reply{{typ: 1000, payload: make([]byte, 200)}})
		}
		lost, err := x.Take(func(m Message) error {
			if m.Seq != want {
				t.Errorf("message %d, want %d", m.Seq, want)
			}
			want++
			return nil
		})
		if lost != large || err != nil || want%count != 0 {
			t.Errorf("Take: %t, %v, up to message %d", lost, err, want)
		}
	}
}

// The bell rings for what is there and for what comes while somebody waits, and not besides: else each datagram costs a wake-up.
func TestInboxWaits(t *testing.T) {
	t.Parallel()
	x, k := newInbox(t, 64)
	ctx, cancel := context.WithTimeout(t.Context(), testPatience)
	defer cancel()
	for range 2 {
		k.send(1, []reply{data(0)})
		lab.Check(t, x.Wait(ctx))
		for range 3 {
			k.send(1, []reply{data(0)})
		}
		rung := make([]unix.EpollEvent, 1)
		lab.Check(t, x.raw.Control(func(fd uintptr) {
			if n, err := unix.EpollWait(int(fd), rung, 0); n != 0 || err != nil {
				t.Errorf("it rings while nobody waits: %d, %v", n, err)
			}
		}))
		lab.Check(t, x.Wait(ctx)) // for what is there already
		_, err := x.Take(func(Message) error { return nil })
		lab.Check(t, err)
	}
	if ctx.Err() != nil {
		t.Error("what has arrived was not noticed")
	}
	short, stop := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer stop()
	lab.Check(t, x.Wait(short))
	if short.Err() == nil {
		t.Error("Wait returned for nothing")
	}
	later := time.AfterFunc(10*time.Millisecond, func() { k.send(1, []reply{data(0)}) })
	defer later.Stop()
	lab.Check(t, x.Wait(ctx))
	if ctx.Err() != nil {
		t.Error("what came while somebody waited was not noticed")
	}
}
