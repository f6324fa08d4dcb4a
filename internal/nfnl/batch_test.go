package nfnl

import (
	"encoding/binary"
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// batchOf is a batch for a generation, of messages of the types.
func batchOf(generation uint32, types ...uint16) *Batch {
	b := NewBatch(generation)
	for _, typ := range types {
		b.Begin(typ, 0, unix.NFPROTO_INET, 0)
		b.String(1, "odd") // a payload that needs padding between messages
		b.End()
	}
	return b
}

func TestMessage(t *testing.T) {
	t.Parallel()
	b := batchOf(7, 100, 200, 300)
	for n, want := range map[int]uint16{-1: unix.NFNL_MSG_BATCH_BEGIN, 0: 100, 1: 200, 2: 300, 3: 0, 99: 0} {
		if got, _ := b.Message(n); got != want {
			t.Errorf("message %d is of type %d, want %d", n, got, want)
		}
	}
}

// One acknowledgement is asked for, of the last message; the generation goes with the first.
func TestBatchLayout(t *testing.T) {
	t.Parallel()
	s, kernel := newFake(t)
	request := kernel.serve([]reply{refusal(2, 0, "")})
	if err := s.Commit(batchOf(7, 100, 200)); err != nil {
		t.Fatal(err)
	}
	type header struct{ typ, flags uint16 }
	want := []header{
		{unix.NFNL_MSG_BATCH_BEGIN, unix.NLM_F_REQUEST},
		{100, unix.NLM_F_REQUEST},
		{200, unix.NLM_F_REQUEST | unix.NLM_F_ACK},
		{unix.NFNL_MSG_BATCH_END, unix.NLM_F_REQUEST},
	}
	n := 0
	err := split(request(), func(m Message) error {
		if got := (header{m.Type, m.Flags}); n >= len(want) || got != want[n] {
			t.Errorf("message %d is %+v", n, got)
		}
		if m.Seq != uint32(n+1) {
			t.Errorf("message %d has the sequence number %d", n, m.Seq)
		}
		if generation := Uint32(Attr(m.Attrs(), batchGenID)); n == 0 && generation != 7 {
			t.Errorf("the batch is for generation %d, want 7", generation)
		}
		n++
		return nil
	})
	if err != nil || n != len(want) {
		t.Errorf("%d messages, %v, want %d", n, err, len(want))
	}
}

func TestVerdict(t *testing.T) {
	t.Parallel()
	type answers [][]reply
	for name, c := range map[string]struct {
		answers answers
		errno   unix.Errno
		index   int
		text    string
	}{
		"carried out":               {answers{{refusal(3, 0, "")}}, 0, 0, ""},
		"the first is refused":      {answers{{refusal(1, unix.EEXIST, "it is there")}, {refusal(3, 0, "")}}, unix.EEXIST, 0, "it is there"},
		"the last is refused":       {answers{{refusal(3, unix.EINVAL, "")}}, unix.EINVAL, 2, ""},
		"two are: the first counts": {answers{{refusal(2, unix.ENOENT, ""), refusal(3, unix.EBUSY, "")}}, unix.ENOENT, 1, ""},
		"the whole is refused":      {answers{{refusal(0, unix.EPERM, "")}}, unix.EPERM, -1, ""},
		"out of memory":             {answers{{refusal(0, unix.ENOMEM, "")}, {refusal(3, 0, "")}}, unix.ENOMEM, -1, ""},
		"late answers before":       {answers{{refusal(-2, unix.EIO, "")}, {data(1)}, {refusal(3, 0, "")}}, 0, 0, ""},
		"answers to the end":        {answers{{refusal(4, unix.EIO, "")}, {refusal(3, 0, "")}}, 0, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, kernel := newFake(t)
			kernel.serve(c.answers...)
			err := s.Commit(batchOf(0, 100, 200, 300))
			var refused *Error
			switch {
			case c.errno == 0 && err != nil:
				t.Errorf("Commit: %v", err)
			case c.errno == 0:
			case !errors.As(err, &refused):
				t.Errorf("Commit: %v, want a refusal", err)
			case refused.Errno != c.errno || refused.Index != c.index || refused.Text != c.text:
				t.Errorf("Commit: %+v, want %+v", *refused, c)
			}
		})
	}
}

func TestVerdictStale(t *testing.T) {
	t.Parallel()
	s, kernel := newFake(t)
	kernel.serve([]reply{refusal(0, unix.ERESTART, "")})
	if err := s.Commit(batchOf(7, 100)); !errors.Is(err, ErrStale) {
		t.Errorf("Commit: %v, want %v", err, ErrStale)
	}
}

// An answer that cannot be read leaves the outcome unknown, and is neither success nor a refusal.
func TestVerdictUnknown(t *testing.T) {
	t.Parallel()
	s, kernel := newFake(t)
	request := kernel.serve()
	go func() {
		request()
		_ = s.Close()
	}()
	err := s.Commit(batchOf(7, 100))
	if refused := new(*Error); err == nil || errors.As(err, refused) || errors.Is(err, ErrStale) {
		t.Errorf("Commit without an answer: %v", err)
	}
}

func TestCommitOfNothing(t *testing.T) {
	t.Parallel()
	s, _ := newFake(t)
	if err := s.Commit(NewBatch(7)); err != nil {
		t.Errorf("Commit: %v", err)
	}
}

func TestTypeHasTheSubsystemInFront(t *testing.T) {
	t.Parallel()
	if got := Type(10, 3); got != binary.BigEndian.Uint16([]byte{10, 3}) {
		t.Errorf("Type(10, 3) = %#x", got)
	}
}
