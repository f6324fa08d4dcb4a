package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// connect opens a TCP connection as the check says, and gives it up at once.
//
// The backend's kernel accepts; its program never hears of it. The socket withholds the last packet of the handshake, as it
// may for 200 ms (TCP_DELACK_MAX in net/tcp.h), and is closed with a reset in its place. So a probe wakes no worker, leaves no
// line in a log and no TIME_WAIT on either side, and is no "interrupted connection" of the kind for which MySQL blocks a
// client's address (max_connect_errors) - here the address that every client of the relay comes from.
func connect(ctx context.Context, c Check) error {
	d := net.Dialer{Timeout: c.Timeout, KeepAlive: -1, ControlContext: probing}
	if c.Source.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(c.Source, 0))
	}
	conn, err := d.DialContext(ctx, "tcp", c.Target.String())
	if err != nil {
		return err
	}
	return conn.Close()
}

// probing sets the options of a probe's socket, before it is bound.
func probing(_ context.Context, _, _ string, raw syscall.RawConn) error {
	var err error
	failed := raw.Control(func(fd uintptr) { err = quiet(int(fd)) })
	return errors.Join(failed, err)
}

// quiet makes a TCP socket one that gives its connection up unseen.
func quiet(fd int) error {
	return errors.Join(
		// A port is chosen when the target is known, so that thousands of probes from one address can share ports (ip(7)).
		unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1),
		unix.SetsockoptInt(fd, unix.SOL_TCP, unix.TCP_QUICKACK, 0),
		unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1, Linger: 0}),
	)
}

// ours tells whether a probe failed on this host: for want of an address, a port, a file descriptor or memory, or because
// of a packet filter for what this host itself sends. That says nothing about the backend.
func ours(err error) bool {
	for _, e := range []error{unix.EADDRNOTAVAIL, unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM, unix.EPERM} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// explain puts the failure of a probe in words.
func explain(c Check, err error) string {
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Sprintf("no answer within %v", c.Timeout)
	}
	number, ok := errors.AsType[syscall.Errno](err)
	switch {
	case ok && number == unix.EADDRNOTAVAIL && c.Source.IsValid():
		return fmt.Sprintf("cannot probe from %v: it is no address of this host, or has no free port", c.Source)
	case ok && ours(err):
		return "cannot probe: " + number.Error()
	case ok:
		return number.Error()
	}
	return err.Error()
}
