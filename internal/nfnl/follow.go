package nfnl

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// takeAtOnce bounds the datagrams of one Take: notifications may come as fast as they are read, and the reader has
// other things to do.
const takeAtOnce = 1 << 16

// Follow calls each for every message that arrives until ctx ends or each fails. When the kernel had to drop
// notifications because they were not read fast enough, it calls lost, behind those that were left, and goes on.
func (s *Socket) Follow(ctx context.Context, each func(Message) error, lost func()) error {
	for {
		if err := s.Wait(ctx); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return nil
		}
		missed, err := s.Take(each)
		if missed {
			lost()
		}
		if err != nil {
			return err
		}
	}
}

// Wait returns when something has arrived, or ctx has ended.
func (s *Socket) Wait(ctx context.Context) error {
	// Notifications may be hours away: the deadline of an earlier request must not end the wait.
	if err := s.file.SetReadDeadline(time.Time{}); err != nil {
		return fmt.Errorf("clear the deadline of a netlink socket: %w", err)
	}
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = s.file.SetReadDeadline(time.Unix(1, 0))
		close(ended)
	})
	// Receiving with MSG_PEEK would take away the news of a loss.
	ready := []unix.PollFd{{Events: unix.POLLIN}}
	var failed error
	err := s.raw.Read(func(fd uintptr) bool {
		ready[0].Fd = int32(fd)
		var n int
		n, failed = unix.Poll(ready, 0)
		return n > 0 || failed != nil && !errors.Is(failed, unix.EINTR)
	})
	if !stop() {
		<-ended // a deadline that is set later would end the next wait
	}
	if ctx.Err() != nil {
		return nil
	}
	if err := errors.Join(err, failed); err != nil {
		return fmt.Errorf("wait for netfilter notifications: %w", err)
	}
	return nil
}

// Dropping tells whether a part of the notifications around those that are taken now was dropped: from the time that the kernel says so until
// all that were left have been taken. What is heard meanwhile may be the rest of something.
func (s *Socket) Dropping() bool { return s.dropping }

// Take calls each for every message that has arrived, and waits for none. It tells whether the kernel had to drop
// notifications because they were not read fast enough, when all that were left have been taken.
func (s *Socket) Take(each func(Message) error) (lost bool, err error) {
	if err := s.file.SetReadDeadline(time.Time{}); err != nil {
		return false, fmt.Errorf("clear the deadline of a netlink socket: %w", err)
	}
	for range takeAtOnce {
		err := s.next(false, each)
		switch {
		case errors.Is(err, unix.ENOBUFS):
			// Once the kernel had to drop one, it drops all until the queue is empty, and does not say so again (netlink_overrun in
			// net/netlink/af_netlink.c): only then is it true that nothing after the loss is missed.
			s.dropping = true
		case errors.Is(err, unix.EAGAIN):
			lost, s.dropping = s.dropping, false
			return lost, nil
		case err != nil:
			return false, fmt.Errorf("receive netfilter notifications: %w", err)
		}
	}
	return false, nil
}
