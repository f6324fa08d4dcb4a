package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"natd/internal/flow"
)

// lockName is an abstract unix socket: it exists once in a network namespace, whatever directories its daemons use, and
// goes with the process that made it, however it ends.
const lockName = "@natd.namespace.lock"

// lock makes this process the only natd of its network namespace until release is called.
func lock(ctx context.Context) (release func() error, err error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "unix", lockName)
	if err == nil {
		go hangUp(l)
		return l.Close, nil
	}
	if !errors.Is(err, unix.EADDRINUSE) {
		return nil, fmt.Errorf("lock the network namespace: %w", err)
	}
	holder, err := whoHolds(ctx)
	if err == nil && (holder.Uid == 0 || int(holder.Uid) == os.Geteuid()) {
		return nil, fmt.Errorf("another natd (pid %d) is at work in this network namespace: stop it first", holder.Pid)
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return func() error { return nil }, noOtherNatd()
}

// noOtherNatd tells a natd of another user from a stranger who took the name, as anybody can: every natd holds
// its nflog group, which takes CAP_NET_ADMIN.
func noOtherNatd() error {
	l, err := flow.OpenLog()
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("another natd is at work in this network namespace: stop it first (%w)", err)
	}
	if err != nil {
		return err
	}
	return l.Close()
}

// hangUp ends the connections of those who ask: they have learned who holds the lock by connecting.
func hangUp(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		_ = conn.Close()
	}
}

// atWork tells whether a natd is at work in this network namespace, whatever socket it listens on.
func atWork(ctx context.Context) bool {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", lockName)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

// dial connects to the holder of the lock. A natd that has just bound the name listens in a moment.
func dial(ctx context.Context) (conn net.Conn, err error) {
	const tries, pause = 10, 20 * time.Millisecond
	dialer := net.Dialer{Timeout: time.Second}
	for range tries {
		conn, err = dialer.DialContext(ctx, "unix", lockName)
		if !errors.Is(err, unix.ECONNREFUSED) {
			return conn, err
		}
		time.Sleep(pause)
	}
	return nil, err
}

func whoHolds(ctx context.Context) (holder *unix.Ucred, err error) {
	conn, err := dial(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	socket, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, fmt.Errorf("a connection of type %T", conn)
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil, err
	}
	failed := raw.Control(func(fd uintptr) {
		holder, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	return holder, errors.Join(failed, err)
}
