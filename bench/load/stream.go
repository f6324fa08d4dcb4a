package load

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// chunk is how much one write takes.
const chunk = 128 << 10

// stream sends on some connections as much as they take.
func stream(spec Spec) (Result, error) {
	poll, err := newPoller()
	if err != nil {
		return Result{}, err
	}
	defer poll.close()
	var fds []int
	defer func() {
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
	}()
	for i := range spec.Workers {
		fd, err := dial(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, 1, byte(1 + i)}), 0), spec.To)
		if err != nil {
			return Result{}, err
		}
		fds = append(fds, fd)
		if err := poll.add(fd, unix.EPOLLOUT); err != nil {
			return Result{}, err
		}
	}
	data := make([]byte, chunk)
	for i := range data {
		data[i] = askSink
	}
	if err := pump(poll, data, time.Now().Add(spec.Warm)); err != nil {
		return Result{}, err
	}
	began, before := time.Now(), acknowledged(fds)
	if err := pump(poll, data, began.Add(spec.Duration)); err != nil {
		return Result{}, err
	}
	took, after := time.Since(began), acknowledged(fds)
	return Result{Bytes: after - before, Total: after, Took: took}, nil
}

// pump writes wherever there is room, until the time is up.
func pump(poll *poller, data []byte, until time.Time) error {
	for time.Now().Before(until) {
		ready, err := poll.wait(10)
		if err != nil {
			return err
		}
		for _, e := range ready {
			if _, err := unix.Write(int(e.Fd), data); err != nil && !errors.Is(err, unix.EAGAIN) {
				return fmt.Errorf("sending: %w", err)
			}
		}
	}
	return nil
}

// acknowledged is how many bytes the other ends have.
func acknowledged(fds []int) (n int64) {
	for _, fd := range fds {
		if info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			n += int64(info.Bytes_acked)
		}
	}
	return n
}
