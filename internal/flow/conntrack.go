package flow

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"natd/internal/nfnl"
)

// Messages of the connection tracking subsystem: enum cntl_msg_types.
const (
	msgGet    = 1
	msgDelete = 2
)

// deleteAtOnce is how many deletions are sent before their answers are read: an answer takes under a kilobyte of the
// receive buffer, which is a megabyte.
const deleteAtOnce = 512

// Conntrack is the connection tracking table of the network namespace it was opened in. It is for one goroutine
// at a time.
type Conntrack struct {
	socket *nfnl.Socket
}

// Open connects to connection tracking.
func Open() (*Conntrack, error) {
	s, err := nfnl.Dial(1 << 20)
	if err != nil {
		return nil, err
	}
	return &Conntrack{socket: s}, nil
}

// Close ends the connection.
func (c *Conntrack) Close() error { return c.socket.Close() }

func request(b *nfnl.Builder, message uint8, flags uint16, family uint8) {
	b.Begin(nfnl.Type(unix.NFNL_SUBSYS_CTNETLINK, message), flags, family, 0)
}

// Entries calls each for every tracked connection, of IPv4 and IPv6 and of every protocol. The entry is valid during the call only: Clone
// keeps it. Connections that come and go meanwhile may be missed or seen twice.
func (c *Conntrack) Entries(each func(*Entry)) error {
	var b nfnl.Builder
	request(&b, msgGet, 0, unix.AF_UNSPEC)
	b.End()
	var e Entry
	err := c.socket.Dump(&b, func(m nfnl.Message) error {
		if decodeEntry(m.Attrs(), &e) {
			each(&e)
		}
		return nil
	})
	if err != nil && !errors.Is(err, nfnl.ErrInterrupted) {
		return fmt.Errorf("read the tracked connections: %w", err)
	}
	return nil
}

// Clone is a copy that outlives the call it was handed to.
func (e *Entry) Clone() Entry {
	c := *e
	c.tuple, c.id, c.zone = slices.Clone(e.tuple), slices.Clone(e.id), slices.Clone(e.zone)
	return c
}

// Delete removes the entries and returns how many were still there. A later connection with the same addresses and
// ports is another one, and stays.
func (c *Conntrack) Delete(entries []Entry) (deleted int, err error) {
	var b nfnl.Builder
	for chunk := range slices.Chunk(entries, deleteAtOnce) {
		b.Reset()
		for i := range chunk {
			request(&b, msgDelete, unix.NLM_F_ACK, chunk[i].family())
			b.Bytes(ctaTupleOrig|unix.NLA_F_NESTED, chunk[i].tuple)
			b.Bytes(ctaID, chunk[i].id)
			if len(chunk[i].zone) > 0 {
				b.Bytes(ctaZone, chunk[i].zone)
			}
			b.End()
		}
		deleted += len(chunk)
		failed := c.socket.Do(&b, func(refusal *nfnl.Error) {
			deleted--
			if refusal.Errno != unix.ENOENT {
				err = refusal
			}
		})
		if err = errors.Join(failed, err); err != nil {
			return deleted, fmt.Errorf("remove tracked connections: %w", err)
		}
	}
	return deleted, nil
}
