package nfnl

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"natd/internal/lab"
)

// testPatience is how long tests wait for what should come at once.
const testPatience = 10 * time.Second

// dial opens a socket in a host of its own.
func dial(t *testing.T, h *lab.Host, bufferSize int) *Socket {
	t.Helper()
	var s *Socket
	lab.Check(t, h.Do(func() (err error) {
		s, err = Dial(bufferSize)
		return err
	}))
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// tableBatch asks nf_tables for one thing for each name: to make or to delete a table.
func tableBatch(generation uint32, message uint8, names ...string) *Batch {
	b := NewBatch(generation)
	for _, name := range names {
		b.Begin(Type(unix.NFNL_SUBSYS_NFTABLES, message), unix.NLM_F_CREATE, unix.NFPROTO_INET, 0)
		b.String(unix.NFTA_TABLE_NAME, name)
		b.End()
	}
	return b
}

func names(prefix string, n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("%s%d", prefix, i)
	}
	return list
}

func generationOf(t *testing.T, s *Socket) (id uint32) {
	t.Helper()
	var b Builder
	b.Begin(Type(unix.NFNL_SUBSYS_NFTABLES, unix.NFT_MSG_GETGEN), 0, unix.AF_UNSPEC, 0)
	b.End()
	lab.Check(t, s.Get(&b, func(m Message) error {
		id = Uint32(Attr(m.Attrs(), unix.NFTA_GEN_ID))
		return nil
	}))
	return id
}

func TestCommitToTheKernel(t *testing.T) {
	t.Parallel()
	s := dial(t, lab.NewHost(t), 0)
	before := generationOf(t, s)
	lab.Check(t, s.Commit(tableBatch(before, unix.NFT_MSG_NEWTABLE, "a", "b")))
	if err := s.Commit(tableBatch(before, unix.NFT_MSG_NEWTABLE, "c")); !errors.Is(err, ErrStale) {
		t.Errorf("a batch for an old generation: %v, want %v", err, ErrStale)
	}
	err := s.Commit(tableBatch(0, unix.NFT_MSG_DELTABLE, "a", "missing", "b"))
	var refused *Error
	if !errors.As(err, &refused) || refused.Errno != unix.ENOENT || refused.Index != 1 {
		t.Errorf("deleting what is not there: %+v, want ENOENT for message 1", refused)
	}
	if after := generationOf(t, s); after != before+1 {
		t.Errorf("the generation went from %d to %d, by one transaction of three", before, after)
	}
	if got := dumpTables(t, s); got != 2 {
		t.Errorf("%d tables, want 2", got)
	}
}

func dumpTables(t *testing.T, s *Socket) (count int) {
	t.Helper()
	var b Builder
	b.Begin(Type(unix.NFNL_SUBSYS_NFTABLES, unix.NFT_MSG_GETTABLE), 0, unix.NFPROTO_INET, 0)
	b.End()
	lab.Check(t, s.Dump(&b, func(Message) error { count++; return nil }))
	return count
}

// A batch that is larger than the socket's send buffer makes it grow; its answer fits the receive buffer however many
// messages it has.
func TestCommitLargerThanTheSendBuffer(t *testing.T) {
	t.Parallel()
	const count = 5000
	s := dial(t, lab.NewHost(t), 0)
	lab.Check(t, s.raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, 4096) }))
	b := tableBatch(0, unix.NFT_MSG_NEWTABLE, names(strings.Repeat("long-", 20), count)...)
	if b.Len() < 500_000 {
		t.Fatalf("a batch of %d bytes is no test", b.Len())
	}
	lab.Check(t, s.Commit(b))
	if got := dumpTables(t, s); got != count {
		t.Errorf("%d tables, want %d", got, count)
	}
}

// More refusals than the receive buffer holds: the outcome is an error, and the socket goes on working.
func TestMoreRefusalsThanRoom(t *testing.T) {
	t.Parallel()
	s := dial(t, lab.NewHost(t), 4096)
	if err := s.Commit(tableBatch(0, unix.NFT_MSG_DELTABLE, names("missing", 5000)...)); err == nil {
		t.Error("5000 refusals were taken for success")
	}
	lab.Check(t, s.Commit(tableBatch(0, unix.NFT_MSG_NEWTABLE, "a")))
	if got := dumpTables(t, s); got != 1 {
		t.Errorf("%d tables, want 1", got)
	}
}

// A dump during which another program writes says so. One that is not flagged is whole.
func TestDumpIsInterrupted(t *testing.T) {
	t.Parallel()
	h := lab.NewHost(t)
	s, other := dial(t, h, 1<<20), dial(t, h, 1<<20)
	lab.Check(t, s.Commit(tableBatch(0, unix.NFT_MSG_NEWTABLE, names("t", 3000)...)))
	var b Builder
	b.Begin(Type(unix.NFNL_SUBSYS_NFTABLES, unix.NFT_MSG_GETTABLE), 0, unix.NFPROTO_INET, 0)
	b.End()
	seen := 0
	err := s.Dump(&b, func(Message) error {
		if seen++; seen == 1 {
			return other.Commit(tableBatch(0, unix.NFT_MSG_DELTABLE, "t0", "t1"))
		}
		return nil
	})
	if !errors.Is(err, ErrInterrupted) {
		t.Errorf("Dump of %d tables: %v, want %v", seen, err, ErrInterrupted)
	}
	if got := dumpTables(t, s); got != 2998 {
		t.Errorf("the next dump has %d tables, want 2998", got)
	}
}

// follow runs Follow until the test ends.
func follow(t *testing.T, s *Socket, each func(Message) error, lost func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Follow(ctx, each, lost) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Follow: %v", err)
		}
	})
}

// The time in which a request has to be answered is over at some point; the notifications that follow have no such limit.
func TestFollowOutlivesTheDeadlineOfARequest(t *testing.T) {
	t.Parallel()
	h := lab.NewHost(t)
	s, other := dial(t, h, 0), dial(t, h, 0)
	lab.Check(t, s.Join(unix.NFNLGRP_NFTABLES))
	generationOf(t, s)
	lab.Check(t, s.file.SetReadDeadline(time.Now().Add(-time.Second)))
	var heard atomic.Int32
	follow(t, s, func(Message) error { heard.Add(1); return nil }, func() {})
	lab.Check(t, other.Commit(tableBatch(0, unix.NFT_MSG_NEWTABLE, "a")))
	awaitCount(t, &heard, 1)
}

func awaitCount(t *testing.T, n *atomic.Int32, want int32) {
	t.Helper()
	lab.Eventually(t, testPatience, func() error {
		if got := n.Load(); got < want {
			return fmt.Errorf("heard %d times, want %d", got, want)
		}
		return nil
	})
}

// What the socket with the port did does not arrive, however much it is; what others do does.
func TestNotFrom(t *testing.T) {
	t.Parallel()
	h := lab.NewHost(t)
	s, own, other := dial(t, h, 0), dial(t, h, 0), dial(t, h, 0)
	lab.Check(t, s.NotFrom(own.Port()))
	lab.Check(t, s.Join(unix.NFNLGRP_NFTABLES))
	var heard atomic.Int32
	follow(t, s, func(m Message) error {
		if m.Port == own.Port() {
			t.Errorf("a message of type %#x came through", m.Type)
		}
		if m.Type == Type(unix.NFNL_SUBSYS_NFTABLES, unix.NFT_MSG_NEWGEN) {
			heard.Add(1)
		}
		return nil
	}, func() { t.Error("notifications were lost") })
	for i := range int32(3) {
		lab.Check(t, own.Commit(tableBatch(0, unix.NFT_MSG_NEWTABLE, names(fmt.Sprint("own", i, "-"), 500)...)))
		lab.Check(t, other.Commit(tableBatch(0, unix.NFT_MSG_NEWTABLE, names(fmt.Sprint("other", i, "-"), 50)...)))
		awaitCount(t, &heard, i+1)
	}
	if got := heard.Load(); got != 3 {
		t.Errorf("heard %d times of 3 changes", got)
	}
}

// Once lost was called nothing is lost any more that came before: what the kernel drops while the queue is drained, it drops
// without a word.
func TestLossIsReportedAfterTheQueue(t *testing.T) {
	t.Parallel()
	h := lab.NewHost(t)
	s, other := dial(t, h, 0), dial(t, h, 0)
	lab.Check(t, s.raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 64<<10) }))
	lab.Check(t, s.Join(unix.NFNLGRP_NFTABLES))
	for i := range 500 {
		lab.Check(t, other.Commit(tableBatch(0, unix.NFT_MSG_NEWTABLE, fmt.Sprint("t", i))))
	}
	var heard, drained, losses atomic.Int32
	follow(t, s, func(Message) error {
		if n := heard.Add(1); n < 20 { // the queue is being drained, and the kernel still drops what is new
			return other.Commit(tableBatch(0, unix.NFT_MSG_NEWTABLE, fmt.Sprint("u", n)))
		}
		return nil
	}, func() {
		drained.Store(heard.Load())
		losses.Add(1)
	})
	awaitCount(t, &losses, 1)
	if drained.Load() == 0 {
		t.Error("the loss was reported before what was in the queue")
	}
	lab.Check(t, other.Commit(tableBatch(0, unix.NFT_MSG_NEWTABLE, "last")))
	awaitCount(t, &heard, drained.Load()+1)
}

func TestFollowReturnsTheErrorOfEach(t *testing.T) {
	t.Parallel()
	s, kernel := newFake(t)
	kernel.send(1, []reply{data(1)})
	if err := s.Follow(t.Context(), func(Message) error { return errOfCaller }, nil); !errors.Is(err, errOfCaller) {
		t.Errorf("Follow: %v, want %v", err, errOfCaller)
	}
}

func TestClosedSocket(t *testing.T) {
	t.Parallel()
	s, err := Dial(0)
	lab.Check(t, err)
	if s.Port() == 0 {
		t.Error("the socket has no port id")
	}
	lab.Check(t, s.Close())
	if err := s.Commit(batchOf(0, 100)); err == nil {
		t.Error("a closed socket took a batch")
	}
}
