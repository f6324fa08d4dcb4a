package netconf

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// watchBuffer holds the notifications of a few thousand changes. A full routing table that comes and goes overruns
	// any buffer, which does no harm: an overrun counts as a change.
	watchBuffer = 2 << 20

	// watchBurst is how many notifications make one call at most. Without a limit, notifications that
	// come faster than they are read would put the call off for ever.
	watchBurst = 8192
)

// Watch calls changed after interfaces, addresses, routes, policy rules or the settings for forwarding and reverse path
// filtering changed, for IPv4 and IPv6, and once at the beginning, so that nothing falls between what the caller
// saw before and the first notification. The calls say only "look again": one stands for all changes pending, and
// changes that the kernel had no room to report count as one. Nothing is read while changed runs, so it must be quick.
// Watch returns nil when ctx ends.
func Watch(ctx context.Context, changed func()) error {
	w, err := subscribe(watchBuffer)
	if err != nil {
		return fmt.Errorf("watch the network of the host: %w", err)
	}
	if err := errors.Join(w.run(ctx, changed), w.file.Close()); err != nil {
		return fmt.Errorf("watch the network of the host: %w", err)
	}
	return nil
}

// watcher is a netlink socket that gets notifications.
type watcher struct {
	file *os.File
	raw  syscall.RawConn
}

func subscribe(buffer int) (*watcher, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open a route netlink socket: %w", err)
	}
	file := os.NewFile(uintptr(fd), "rtnetlink")
	raw, err := file.SyscallConn()
	if err == nil {
		err = join(fd, buffer)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &watcher{file: file, raw: raw}, nil
}

// join sizes the receive buffer and joins the groups whose notifications matter.
func join(fd, buffer int) error {
	// Beyond the system's limit needs CAP_NET_ADMIN; whoever lacks it gets what the limit allows.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, buffer) != nil {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, buffer); err != nil {
			return fmt.Errorf("size the receive buffer: %w", err)
		}
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("bind a route netlink socket: %w", err)
	}
	for _, group := range []int{
		unix.RTNLGRP_LINK,
		unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR,
		unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE,
		unix.RTNLGRP_IPV4_RULE, unix.RTNLGRP_IPV6_RULE,
		unix.RTNLGRP_IPV4_NETCONF, unix.RTNLGRP_IPV6_NETCONF,
	} {
		if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, group); err != nil {
			return fmt.Errorf("join rtnetlink group %d: %w", group, err)
		}
	}
	return nil
}

func (w *watcher) run(ctx context.Context, changed func()) error {
	stop := context.AfterFunc(ctx, func() { _ = w.file.SetReadDeadline(time.Unix(0, 1)) }) // wakes the read
	defer stop()
	for {
		changed()
		_, err := w.drain()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// drain waits for a notification and takes all that are pending. It tells whether some were lost.
func (w *watcher) drain() (overrun bool, err error) {
	var failed error
	waited := w.raw.Read(func(fd uintptr) bool {
		var head [unix.SizeofNlMsghdr]byte // what they say does not matter; the kernel drops the rest
		for taken := range watchBurst {
			_, err := unix.Read(int(fd), head[:])
			switch {
			case errors.Is(err, unix.EAGAIN):
				return taken > 0
			case errors.Is(err, unix.ENOBUFS):
				overrun = true
			case err != nil:
				failed = fmt.Errorf("read notifications: %w", err)
				return true
			}
		}
		return true
	})
	if waited != nil {
		return overrun, fmt.Errorf("wait for notifications: %w", waited)
	}
	return overrun, failed
}
