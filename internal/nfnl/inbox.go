package nfnl

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Inbox is the notifications of a socket that may get tens of thousands of them in a second. It is for one goroutine at a time.
//
// Go's poller hears of every datagram that arrives at a file that it looks after, also while nobody waits: its thread wakes up for each,
// which is more work than to read it. So it looks after an epoll instance instead, which has the socket and speaks once when Wait asks for
// it. And where one datagram has one message, most of what is left is the way into the kernel and back: Take fetches many by one call.
type Inbox struct {
	fd      int
	bell    *os.File // the epoll instance
	raw     syscall.RawConn
	headers []messageHeader

	dropping bool // the kernel drops notifications until the queue is empty
}

// messageHeader is struct mmsghdr of recvmmsg(2).
type messageHeader struct {
	unix.Msghdr
	size uint32
}

// inboxRooms is how many datagrams one call fetches.
const inboxRooms = 64

// Inbox makes an Inbox of what the socket has subscribed to, whose datagrams are all of that size at most; a larger one counts as
// dropped. The Socket is closed.
func (s *Socket) Inbox(size int) (*Inbox, error) {
	var fd int
	var failed error
	err := s.raw.Control(func(old uintptr) { fd, failed = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) })
	if err := errors.Join(err, failed, s.Close()); err != nil {
		return nil, fmt.Errorf("take over a netlink socket: %w", err)
	}
	x := &Inbox{fd: fd, headers: make([]messageHeader, inboxRooms)}
	room := make([]byte, inboxRooms*size)
	parts := make([]unix.Iovec, inboxRooms)
	for i := range x.headers {
		parts[i].Base = &room[i*size]
		parts[i].SetLen(size)
		x.headers[i].Iov = &parts[i]
		x.headers[i].SetIovlen(1)
	}
	if err := x.hang(); err != nil {
		return nil, errors.Join(fmt.Errorf("watch a netlink socket: %w", err), unix.Close(fd))
	}
	return x, nil
}

// hang makes the bell.
func (x *Inbox) hang() error {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	err = errors.Join(unix.SetNonblock(fd, true), x.ring(fd, unix.EPOLL_CTL_ADD))
	x.bell = os.NewFile(uintptr(fd), "epoll")
	if err == nil {
		x.raw, err = x.bell.SyscallConn()
	}
	if err != nil {
		return errors.Join(err, x.bell.Close())
	}
	return nil
}

// ring makes the bell ring for the next datagram, or one that is there, and then no more.
func (x *Inbox) ring(bell, op int) error {
	return unix.EpollCtl(bell, op, x.fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT, Fd: int32(x.fd)})
}

// Close ends the subscriptions.
func (x *Inbox) Close() error { return errors.Join(x.bell.Close(), unix.Close(x.fd)) }

// Wait returns when something has arrived, or ctx has ended.
func (x *Inbox) Wait(ctx context.Context) error {
	if err := x.bell.SetReadDeadline(time.Time{}); err != nil {
		return fmt.Errorf("clear the deadline of a netlink socket: %w", err)
	}
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = x.bell.SetReadDeadline(time.Unix(1, 0))
		close(ended)
	})
	rung, armed := make([]unix.EpollEvent, 1), false
	var failed error
	err := x.raw.Read(func(fd uintptr) bool {
		if !armed {
			armed, failed = true, x.ring(int(fd), unix.EPOLL_CTL_MOD)
		}
		n := 0
		if failed == nil {
			n, failed = unix.EpollWait(int(fd), rung, 0)
		}
		if errors.Is(failed, unix.EINTR) {
			failed = nil
		}
		return n > 0 || failed != nil
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

// Take calls each for every message that has arrived, as [Socket.Take] does.
func (x *Inbox) Take(each func(Message) error) (lost bool, err error) {
	for range takeAtOnce / inboxRooms {
		n, err := x.fetch()
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.ENOBUFS):
			x.dropping = true // see Socket.Take
		case errors.Is(err, unix.EAGAIN):
			lost, x.dropping = x.dropping, false
			return lost, nil
		case err != nil:
			return false, fmt.Errorf("receive netfilter notifications: %w", err)
		}
		for i := range x.headers[:n] {
			h := &x.headers[i]
			if h.Flags&unix.MSG_TRUNC != 0 {
				x.dropping = true
				continue
			}
			if err := split(unsafe.Slice(h.Iov.Base, h.size), each); err != nil {
				return false, err
			}
		}
	}
	return false, nil
}

// fetch fills rooms with the datagrams that are there, and tells how many.
func (x *Inbox) fetch() (int, error) {
	n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(x.fd), uintptr(unsafe.Pointer(unsafe.SliceData(x.headers))), inboxRooms, unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
