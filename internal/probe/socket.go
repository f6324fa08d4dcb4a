package probe

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// socket is a socket whose ICMP errors can be read (ip(7), IP_RECVERR), which net's connections close before one could.
type socket struct {
	fd   int // only before it is watched
	file *os.File
	raw  syscall.RawConn
	v6   bool
}

// openSocket opens a socket for one target, from an address of this host and by one interface, where they are given. Set sets further
// options, before it is bound.
func openSocket(kind, protocol int, to, from netip.Addr, device string, set func(*socket) error) (*socket, error) {
	s := &socket{v6: to.Is6()}
	family := unix.AF_INET
	if s.v6 {
		family = unix.AF_INET6
	}
	var err error
	if s.fd, err = unix.Socket(family, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, protocol); err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err := s.prepare(from, device, set); err != nil {
		return nil, errors.Join(err, unix.Close(s.fd))
	}
	return s, nil
}

func (s *socket) prepare(from netip.Addr, device string, set func(*socket) error) error {
	level, option := unix.SOL_IP, unix.IP_RECVERR
	if s.v6 {
		level, option = unix.SOL_IPV6, unix.IPV6_RECVERR
	}
	if err := errors.Join(unix.SetsockoptInt(s.fd, level, option, 1), set(s)); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	if device != "" {
		if err := unix.BindToDevice(s.fd, device); err != nil {
			return fmt.Errorf("binding to the interface %s: %w", device, err)
		}
	}
	if !from.IsValid() {
		return nil
	}
	// The kernel chooses the port. SNAT gives no two connections the same one, so that a probe takes nothing from a relay.
	if err := unix.Bind(s.fd, sockaddr(netip.AddrPortFrom(from, 0))); err != nil {
		return fmt.Errorf("binding to %v: %w", from, err)
	}
	return nil
}

// watch leaves the waiting to the runtime. It comes after connect: before, a TCP socket counts as one that was hung up.
func (s *socket) watch() (err error) {
	s.file = os.NewFile(uintptr(s.fd), "probe")
	s.raw, err = s.file.SyscallConn()
	return err
}

func (s *socket) close() {
	if s.file != nil {
		_ = s.file.Close() // nothing was written that could be lost
		return
	}
	_ = unix.Close(s.fd)
}

// readable waits until ready returns true, which is asked at once and whenever the socket has something to read. When the time is up, that
// is os.ErrDeadlineExceeded; so is the end of ctx.
func (s *socket) readable(ctx context.Context, deadline time.Time, ready func(fd int) bool) error {
	return s.wait(ctx, deadline, func() error { return s.raw.Read(func(fd uintptr) bool { return ready(int(fd)) }) })
}

// writable is readable for a socket that connects: it can be written to when that is over.
func (s *socket) writable(ctx context.Context, deadline time.Time, ready func(fd int) bool) error {
	return s.wait(ctx, deadline, func() error { return s.raw.Write(func(fd uintptr) bool { return ready(int(fd)) }) })
}

func (s *socket) wait(ctx context.Context, deadline time.Time, do func() error) error {
	if err := s.file.SetDeadline(deadline); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = s.file.SetDeadline(time.Unix(0, 1)) }) // in the past
	defer stop()
	return do()
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
	}
	return &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())}
}
