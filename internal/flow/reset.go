package flow

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"natd/nat"
)

// resetPatience is how long a client may take to answer: with it a SYN that was lost is sent again after 1 s (RFC 6298, 2.1).
const resetPatience = 3 * time.Second

// Resettable tells whether the entry, whose removal has that reason, stood for a TCP connection whose client should hear of its end. A
// client that only waits would else wait until it sends, or for ever. A relay that was removed may have left its port to a
// local service, which is then in nobody's way.
func (e *Entry) Resettable(why string) bool {
	return e.Proto == nat.TCP && e.Replied() && !e.Over() && (why == WhyDown || why == WhyBackend || why == WhySource)
}

// Reset makes the client of a TCP connection whose entry was removed drop the connection.
//
// Nobody here knows its sequence numbers, so a reset out of nothing would not be believed. But a SYN from the address and port
// that the client dialled makes the client say where it stands, by a challenge ACK (RFC 5961, 4), and to such an answer to its
// SYN the kernel sends the very reset that the client believes: this is how half-open connections have always been found
// (RFC 9293, 3.5.1). So a connection is dialled that never comes to be.
//
// That the client refuses it or does not answer is no error. An error that is os.ErrPermission is a lack of
// CAP_NET_BIND_SERVICE, for a port below net.ipv4.ip_unprivileged_port_start.
func (e *Entry) Reset(ctx context.Context) error {
	d := net.Dialer{
		LocalAddr: net.TCPAddrFromAddrPort(e.Orig.Dst), Timeout: resetPatience, KeepAlive: -1,
		ControlContext: func(_ context.Context, _, _ string, raw syscall.RawConn) error { return shared(raw) },
	}
	conn, err := d.DialContext(ctx, "tcp", e.Orig.Src.String())
	if err == nil {
		return conn.Close() // another program of the client listens there: the reset is for it
	}
	if ctx.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, unix.ETIMEDOUT) || errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, unix.ECONNRESET) {
		return nil
	}
	return fmt.Errorf("dial the client: %w", err)
}

// shared lets sockets to many clients have one port, and ends a connection with a reset.
func shared(raw syscall.RawConn) error {
	var err error
	failed := raw.Control(func(fd uintptr) {
		err = errors.Join(
			os.NewSyscallError("setsockopt", unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)),
			os.NewSyscallError("setsockopt", unix.SetsockoptLinger(int(fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})),
		)
	})
	return errors.Join(failed, err)
}
