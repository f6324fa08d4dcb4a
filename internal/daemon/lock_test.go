package daemon

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"natd/internal/flow"
	"natd/internal/lab"
)

// inHost takes the lock in a network namespace of the lab.
func inHost(t *testing.T, h *lab.Host) (release func() error, err error) {
	t.Helper()
	lab.Check(t, h.Do(func() error {
		release, err = lock(t.Context())
		return nil
	}))
	return release, err
}

func TestLock(t *testing.T) {
	t.Parallel()
	h, other := lab.NewHost(t), lab.NewHost(t)
	release, err := inHost(t, h)
	lab.Check(t, err)
	if _, err := inHost(t, h); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("another natd (pid %d)", os.Getpid())) {
		t.Errorf("the second lock: %v, want an error that names the holder", err)
	}
	elsewhere, err := inHost(t, other)
	lab.Check(t, err)
	lab.Check(t, elsewhere())
	lab.Check(t, release())
	again, err := inHost(t, h)
	lab.Check(t, err)
	lab.Check(t, again())
}

func TestLockHasOneWinner(t *testing.T) {
	t.Parallel()
	h := lab.NewHost(t)
	var mu sync.Mutex
	var releases []func() error
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if release, err := inHost(t, h); err == nil {
				mu.Lock()
				defer mu.Unlock()
				releases = append(releases, release)
			}
		})
	}
	wg.Wait()
	if len(releases) != 1 {
		t.Errorf("%d got the lock, want one", len(releases))
	}
	for _, release := range releases {
		lab.Check(t, release())
	}
}

// TestLockTakenByAnother has a user who can be no natd take the name.
func TestLockTakenByAnother(t *testing.T) {
	t.Parallel()
	h := lab.NewHost(t)
	var squatter net.Listener
	lab.Check(t, h.Do(func() error {
		return asUser(65534, func() (err error) {
			squatter, err = net.Listen("unix", lockName)
			return err
		})
	}))
	defer squatter.Close()
	release, err := inHost(t, h)
	lab.Check(t, err)
	lab.Check(t, release())
}

// asUser does something with the effective user id of another. The system call is for the thread alone, where that of the
// package syscall is for the process. The kernel notes who listens in listen(2).
func asUser(uid uintptr, do func() error) error {
	const unchanged = ^uintptr(0)
	become := func(uid uintptr) error {
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, unchanged, uid, unchanged); errno != 0 {
			return fmt.Errorf("become user %d: %w", uid, errno)
		}
		return nil
	}
	if err := become(uid); err != nil {
		return err
	}
	return errors.Join(do(), become(0))
}

// TestLockOfASquatter has somebody take the name without being a natd: he does not even listen. A natd is known by its
// nflog group, and then keeps the next one out.
func TestLockOfASquatter(t *testing.T) {
	t.Parallel()
	h := lab.NewHost(t)
	var fd int
	lab.Check(t, h.Do(func() (err error) {
		if fd, err = unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		return unix.Bind(fd, &unix.SockaddrUnix{Name: lockName})
	}))
	defer unix.Close(fd)
	release, err := inHost(t, h)
	lab.Check(t, err)
	lab.Check(t, release())

	var group *flow.Log
	lab.Check(t, h.Do(func() (err error) { group, err = flow.OpenLog(); return err }))
	defer group.Close()
	if _, err := inHost(t, h); err == nil || !strings.Contains(err.Error(), "another natd is at work") {
		t.Errorf("beside a natd of another user: %v", err)
	}
}
