// Package lab is a small internet on one machine, for tests, the demo and benchmarks. It owns hosts (each a network
// namespace with its own view of /sys), the links between them, and the real programs that run in them.
//
// Open makes an empty Lab, OpenPeering the usual one: three VPCs of which the outer two are peered with the middle one
// only. New and NewHost do the same for a test. A host runs programs with Command and Start, and Go code with Do.
//
// A lab leaves nothing behind. The namespaces have no name: they vanish with the last thread or process in them.
// Programs are killed by the kernel when the thread that started them ends, so a lab whose owner is killed goes down
// with it. What can outlive the owner, a temporary directory and programs that detached themselves, is found and
// removed by Reap, which every Open calls.
package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Lab is a set of hosts that live and die together.
type Lab struct {
	dir  string
	lock *os.File // held while the lab lives: tells Reap to keep off

	mu        sync.Mutex
	closed    bool
	hosts     []*Host
	processes []*Process
	closers   []func() error
}

// Open makes an empty lab. It needs the right to make namespaces, which in practice means root.
func Open() (*Lab, error) {
	if err := Reap(); err != nil {
		return nil, err
	}
	dir, lock, err := makeDir()
	if err != nil {
		return nil, err
	}
	return &Lab{dir: dir, lock: lock}, nil
}

// Dir is the lab's temporary directory. It is removed with the lab.
func (l *Lab) Dir() string { return l.dir }

// id is the lab's mark on its programs.
func (l *Lab) id() string { return filepath.Base(l.dir) }

// TempDir makes a directory of its own below Dir.
func (l *Lab) TempDir(name string) (string, error) {
	dir, err := os.MkdirTemp(l.dir, name+"-")
	if err != nil {
		return "", fmt.Errorf("making a directory for %s: %w", name, err)
	}
	return dir, nil
}

// Host adds a host that has nothing but its loopback interface.
func (l *Lab) Host(name string) (*Host, error) {
	h, err := l.add(name, newNamespace)
	if err != nil {
		return nil, err
	}
	if err := h.prepare(); err != nil {
		return nil, fmt.Errorf("adding host %s: %w", name, err)
	}
	return h, nil
}

// add adds a host in the namespace that enter gives.
func (l *Lab) add(name string, enter func() (*namespace, error)) (*Host, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, fmt.Errorf("adding host %s: the lab is closed", name)
	}
	ns, err := enter()
	if err != nil {
		return nil, fmt.Errorf("adding host %s: %w", name, err)
	}
	h := &Host{Name: name, lab: l, ns: ns}
	l.hosts = append(l.hosts, h)
	return h, nil
}

// Close ends every program, removes every host and the temporary directory. It may be called more than once.
func (l *Lab) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	var errs []error
	for _, c := range l.closers {
		errs = append(errs, c())
	}
	errs = append(errs, killMarked(l.id()))
	for _, h := range l.hosts {
		errs = append(errs, h.ns.close())
	}
	for _, p := range l.processes {
		<-p.done
	}
	errs = append(errs, os.RemoveAll(l.dir), l.lock.Close())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("closing the lab: %w", err)
	}
	return nil
}

// own makes Close call f.
func (l *Lab) own(f func() error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closers = append(l.closers, f)
}

// Await calls cond until it returns nil. When the time is up or ctx ends it gives up with cond's last error. The longer it has waited, the
// longer it pauses: most conditions start a program to look, and what they wait for needs the processor as well.
func Await(ctx context.Context, within time.Duration, cond func() error) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	start := time.Now()
	const shortest, longest, part = 5 * time.Millisecond, 50 * time.Millisecond, 20
	for {
		err := cond()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("gave up after %v: %w", time.Since(start).Round(time.Millisecond), err)
		case <-time.After(min(max(shortest, time.Since(start)/part), longest)):
		}
	}
}
