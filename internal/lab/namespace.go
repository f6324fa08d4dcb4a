package lab

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// errClosed is what a namespace answers after its end.
var errClosed = errors.New("the lab is closed")

// namespace is a network namespace and the mount namespace that goes with it, held by a thread of this process (the
// keeper) and two file descriptors. Without a name there is nothing to clean up: the kernel removes both with their
// last user.
//
// Programs are started from the keeper's thread, and from no other. They inherit the namespaces from it, and the
// signal that the kernel sends to a program when its parent ends (PR_SET_PDEATHSIG) means the thread, not the process:
// any other thread of a Go program may end at any moment.
type namespace struct {
	net, mnt *os.File
	jobs     chan job
	quit     chan struct{}
	gone     sync.WaitGroup
}

// job is work for the keeper.
type job struct {
	run  func() error
	done chan error
}

// newNamespace makes a namespace of each kind.
func newNamespace() (*namespace, error) { return hold((*namespace).enterNew) }

// hold makes a keeper, which enters the namespaces by calling enter.
func hold(enter func(*namespace) error) (*namespace, error) {
	n := &namespace{jobs: make(chan job), quit: make(chan struct{})}
	ready := make(chan error, 1)
	n.gone.Add(1)
	onOwnThread(func() {
		defer n.gone.Done()
		err := enter(n)
		ready <- err
		if err == nil {
			n.keep()
		}
	})
	if err := <-ready; err != nil {
		return nil, errors.Join(err, n.close())
	}
	return n, nil
}

// enterNew moves the calling thread into new namespaces and takes hold of them.
func (n *namespace) enterNew() error {
	if err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("making a network namespace (are you root?): %w", err)
	}
	// Mounts made here must not spread to the host, and later ones of the host may come in.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("making the mounts private: %w", err)
	}
	// /proc/sys/net follows the reader, but a sysfs shows the network namespace it was mounted in.
	if err := unix.Mount("sysfs", "/sys", "sysfs", 0, ""); err != nil {
		return fmt.Errorf("mounting /sys: %w", err)
	}
	return n.stay()
}

// stay takes hold of the namespaces that the calling thread is in.
func (n *namespace) stay() (err error) {
	if n.net, err = os.Open("/proc/thread-self/ns/net"); err != nil {
		return fmt.Errorf("holding the network namespace: %w", err)
	}
	if n.mnt, err = os.Open("/proc/thread-self/ns/mnt"); err != nil {
		return fmt.Errorf("holding the mount namespace: %w", err)
	}
	return nil
}

// keep does the keeper's jobs until the namespace is closed.
func (n *namespace) keep() {
	for {
		select {
		case j := <-n.jobs:
			j.done <- j.run()
		case <-n.quit:
			return
		}
	}
}

// fromKeeper runs f on the keeper's thread. It is for starting programs and must not wait for anything.
func (n *namespace) fromKeeper(f func() error) error {
	j := job{run: f, done: make(chan error, 1)}
	select {
	case n.jobs <- j:
		return <-j.done
	case <-n.quit:
		return errClosed
	}
}

// do runs f on a thread of its own inside the namespaces. A panic goes on in the caller.
func (n *namespace) do(f func() error) error {
	wd, err := os.Getwd()
	if err != nil {
		return fmt.Errorf("remembering the working directory: %w", err)
	}
	err = errors.New("the function left its thread: it must return, not call t.FailNow or runtime.Goexit")
	var panicked any
	done := make(chan struct{})
	onOwnThread(func() {
		defer close(done)
		defer func() { panicked = recover() }()
		if e := n.enter(wd); e != nil {
			err = e
			return
		}
		err = f()
	})
	<-done
	if panicked != nil {
		panic(panicked)
	}
	return err
}

// enter moves the calling thread into the namespaces. Entering a mount namespace also changes the working directory,
// so it is set again.
func (n *namespace) enter(wd string) error {
	select {
	case <-n.quit:
		return errClosed
	default:
	}
	if err := unix.Unshare(unix.CLONE_FS); err != nil { // setns(2): a thread that shares these cannot change mounts
		return fmt.Errorf("leaving the shared working directory: %w", err)
	}
	if err := unix.Setns(int(n.net.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("entering the network namespace: %w", err)
	}
	if err := unix.Setns(int(n.mnt.Fd()), unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("entering the mount namespace: %w", err)
	}
	if err := unix.Chdir(wd); err != nil {
		return fmt.Errorf("going back to %s: %w", wd, err)
	}
	return nil
}

// close ends the keeper's thread and with it all programs started from there.
func (n *namespace) close() error {
	close(n.quit)
	n.gone.Wait()
	var errs []error
	for _, f := range []*os.File{n.net, n.mnt} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

// onOwnThread runs f in a goroutine on a thread that ends with it, whatever f did to the thread. The main thread is
// spared: it never ends, and /proc/self of the whole process shows its namespaces. When the goroutine finds itself
// there it holds the main thread while another goroutine runs f, on another thread then.
func onOwnThread(f func()) {
	go func() {
		runtime.LockOSThread() // never unlocked: the runtime ends the thread with the goroutine
		if unix.Gettid() != os.Getpid() {
			f()
			return
		}
		defer runtime.UnlockOSThread()
		done := make(chan struct{})
		onOwnThread(func() {
			defer close(done)
			f()
		})
		<-done
	}()
}
