package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
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
	if err != nil {
		return nil, fmt.Errorf("ask who holds the lock of the network namespace: %w", err)
	}
	if holder.Uid != 0 && int(holder.Uid) != os.Geteuid() {
		// Anybody can take the name. Only root and natd's own user can be a natd, so this one does not count.
		return func() error { return nil }, nil
	}
	return nil, fmt.Errorf("another natd (pid %d) is at work in this network namespace: stop it first", holder.Pid)
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

func whoHolds(ctx context.Context) (holder *unix.Ucred, err error) {
	dialer := net.Dialer{Timeout: time.Second}
	conn, err := dialer.DialContext(ctx, "unix", lockName)
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
