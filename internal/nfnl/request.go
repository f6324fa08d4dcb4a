package nfnl

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// ErrInterrupted says that the kernel changed under a dump, so that what was read may not be a state that ever was.
var ErrInterrupted = errors.New("the kernel's tables changed while they were read")

// Error is the kernel's refusal of a request.
type Error struct {
	Errno unix.Errno
	Text  string // the kernel's own explanation, often empty
	Index int    // which message of a batch was refused, counted from 0; -1 = the batch as a whole
}

// Error says the errno in words, and the kernel's explanation behind it.
func (e *Error) Error() string {
	if e.Text == "" {
		return e.Errno.Error()
	}
	return e.Errno.Error() + ": " + e.Text
}

// Unwrap makes errors.Is find the errno.
func (e *Error) Unwrap() error { return e.Errno }

// stop is an error that ends a dump before its end.
type stop struct{ error }

func (s stop) Unwrap() error { return s.error }

// Stop wraps an error that the function given to Dump returns, so that the dump ends with it at once. The kernel keeps the
// rest for the socket: close it.
func Stop(err error) error { return stop{err} }

// Dump sends the one request in b with NLM_F_DUMP and calls each for every answer.
func (s *Socket) Dump(b *Builder, each func(Message) error) error {
	b.flagLast(unix.NLM_F_DUMP)
	interrupted := false
	err := s.ask(b, func(m Message) (done bool, err error) {
		interrupted = interrupted || m.Flags&unix.NLM_F_DUMP_INTR != 0
		if m.Type == unix.NLMSG_DONE {
			return true, doneError(m)
		}
		return false, each(m)
	})
	if err == nil && interrupted {
		return ErrInterrupted
	}
	return err
}

// Get sends the one request in b and calls each for its one answer.
func (s *Socket) Get(b *Builder, each func(Message) error) error {
	return s.ask(b, func(m Message) (bool, error) { return true, each(m) })
}

// Do sends the requests in b, each of which the kernel carries out or refuses for itself (conntrack takes no
// batches), and calls refused for those that failed, by their index.
func (s *Socket) Do(b *Builder, refused func(*Error)) error {
	return s.Query(b, func(int, Message) error { return nil }, refused)
}

// Query is Do for requests that are answered: it calls answer for each answer with the index of its request. All answers wait in the
// receive buffer until the last request has been read, so that there must be room for them. Every request needs NLM_F_ACK.
func (s *Socket) Query(b *Builder, answer func(index int, m Message) error, refused func(*Error)) error {
	count := uint32(b.Count())
	if count == 0 {
		return nil
	}
	first, err := s.submit(b)
	if err != nil {
		return err
	}
	var failed error
	for answered := uint32(0); answered < count; {
		err := s.receive(func(m Message) error {
			index := m.Seq - first
			switch {
			case index >= count: // a late answer to a request that was given up
			case m.Type != unix.NLMSG_ERROR:
				failed = cmp.Or(failed, answer(int(index), m))
			default:
				answered++
				if e := parseError(m, int(index)); e != nil {
					refused(e)
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("await netfilter's answers: %w", err)
		}
	}
	return failed
}

// ask sends one request and hands its answers to next until that says it is done.
func (s *Socket) ask(b *Builder, next func(Message) (done bool, err error)) error {
	seq, err := s.submit(b)
	if err != nil {
		return err
	}
	var failed error
	for done := false; !done; {
		err := s.receive(func(m Message) error {
			if m.Seq != seq || done {
				return nil // late answers to a request that was given up
			}
			var err error
			if m.Type == unix.NLMSG_ERROR {
				done = true
				if e := parseError(m, 0); e != nil {
					err = e
				}
			} else {
				done, err = next(m)
				done = done || errors.As(err, new(stop))
			}
			if failed == nil {
				failed = err // the rest of a dump is still taken off the socket
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("await netfilter's answer: %w", err)
		}
	}
	return failed
}

// submit numbers the messages, sends them, and returns the sequence number of the first.
func (s *Socket) submit(b *Builder) (first uint32, err error) {
	first = s.seq + 1
	s.seq += uint32(b.Count())
	b.number(first)
	// One that has passed would hide what is there to be discarded.
	if err := s.file.SetReadDeadline(time.Time{}); err != nil {
		return 0, fmt.Errorf("clear the deadline of a netlink socket: %w", err)
	}
	s.discard()
	if err := s.send(b.buf); err != nil {
		return 0, fmt.Errorf("send to netfilter: %w", err)
	}
	// The kernel works while the program sends, and may load modules: the wait begins behind that.
	if err := s.file.SetReadDeadline(time.Now().Add(s.patience)); err != nil {
		return 0, fmt.Errorf("set the deadline of a netlink socket: %w", err)
	}
	return first, nil
}

// discard takes off the socket what came too late for an earlier request. If it were so much that the receive buffer
// overflowed, the kernel would drop the next answers too, without a word.
func (s *Socket) discard() {
	for err := error(nil); err == nil || errors.Is(err, unix.ENOBUFS); {
		err = s.next(false, func(Message) error { return nil })
	}
}

// parseError reads an NLMSG_ERROR message: nil for an acknowledgement.
func parseError(m Message, index int) *Error {
	if len(m.Payload) < 4 {
		return &Error{Errno: unix.EBADMSG, Index: index}
	}
	code := int32(binary.NativeEndian.Uint32(m.Payload))
	if code == 0 {
		return nil
	}
	e := &Error{Errno: unix.Errno(-code), Index: index}
	// struct nlmsgerr: the code and the header of the refused message, then attributes.
	if rest := m.Payload[4:]; m.Flags&unix.NLM_F_ACK_TLVS != 0 && len(rest) >= unix.SizeofNlMsghdr {
		e.Text = String(Attr(rest[unix.SizeofNlMsghdr:], unix.NLMSGERR_ATTR_MSG))
	}
	return e
}

// doneError is the failure that the end of a dump may carry.
func doneError(m Message) error {
	if len(m.Payload) < 4 {
		return nil
	}
	if code := int32(binary.NativeEndian.Uint32(m.Payload)); code < 0 {
		return &Error{Errno: unix.Errno(-code)}
	}
	return nil
}
