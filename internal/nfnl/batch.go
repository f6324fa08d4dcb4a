package nfnl

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// ErrStale says that somebody changed the ruleset after the generation that a batch was computed from.
var ErrStale = errors.New("the ruleset was changed by another program in the meantime")

// batchGenID is NFNL_BATCH_GENID of linux/netfilter/nfnetlink.h.
const batchGenID = 1

// Batch is a list of nf_tables messages that the kernel carries out as a whole or not at all.
type Batch struct {
	Builder
}

// NewBatch starts a batch. With a generation that is not 0 the kernel refuses it when the ruleset is not of that
// generation any more.
func NewBatch(generation uint32) *Batch {
	b := &Batch{}
	b.Begin(unix.NFNL_MSG_BATCH_BEGIN, 0, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES)
	if generation != 0 {
		b.Uint32(batchGenID, generation)
	}
	b.End()
	return b
}

// Commit sends the batch and waits for the verdict: nil when the kernel has carried all of it out, ErrStale, or the
// kernel's refusal with the index of the first message refused. Any other error leaves the outcome unknown: read back.
func (s *Socket) Commit(b *Batch) error {
	last := uint32(b.Count() - 1)
	if last == 0 {
		return nil
	}
	// Refusals are answered always. One acknowledgement tells that there was none; thousands of them would
	// overrun the receive buffer, and the verdict would be lost although the kernel has committed.
	b.flagLast(unix.NLM_F_ACK)
	b.Begin(unix.NFNL_MSG_BATCH_END, 0, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES)
	b.End()
	first, err := s.submit(&b.Builder)
	if err != nil {
		return err
	}
	return s.verdict(first, last)
}

// verdict collects the answers to a batch up to that for its last message.
func (s *Socket) verdict(first, last uint32) error {
	var refusal *Error
	for done := false; !done; {
		err := s.receive(func(m Message) error {
			index := m.Seq - first
			if m.Type != unix.NLMSG_ERROR || index > last {
				return nil
			}
			if e := parseError(m, int(index)-1); e != nil && refusal == nil {
				refusal = e
			}
			done = done || index == last || index == 0
			return nil
		})
		if err != nil {
			return fmt.Errorf("await the verdict on a batch: %w", err)
		}
	}
	switch {
	case refusal == nil:
		return nil
	case refusal.Errno == unix.ERESTART:
		return ErrStale
	}
	return refusal
}

// Message is the type of the n-th message of the batch, as the Index of an Error counts, and its attributes; 0 when there is
// none. It tells what was refused.
func (b *Batch) Message(n int) (typ uint16, attrs []byte) {
	const header = unix.SizeofNlMsghdr + 4 // and struct nfgenmsg
	for at, i := 0, -1; at+header <= len(b.buf); i++ {
		size := int(binary.NativeEndian.Uint32(b.buf[at:]))
		if i == n {
			return binary.NativeEndian.Uint16(b.buf[at+4:]), b.buf[at+header : at+size]
		}
		at += align(size)
	}
	return 0, nil
}
