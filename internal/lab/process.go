package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// stopPatience is how long a program may take to end after SIGTERM before it is killed.
const stopPatience = 5 * time.Second

// Process is a program that runs in the background of a host.
type Process struct {
	cmd  *Cmd
	log  *log
	done chan struct{}
	err  error // how it ended; to be read after done
}

// Start runs a program in the background. It ends with the lab, if not before.
func (h *Host) Start(name string, args ...string) (*Process, error) {
	return h.StartCmd(h.Command(context.Background(), name, args...))
}

// StartCmd is Start for a command with an environment, a directory or an input of its own.
func (h *Host) StartCmd(cmd *Cmd) (*Process, error) {
	p := &Process{cmd: cmd, log: new(log), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	h.lab.mu.Lock()
	defer h.lab.mu.Unlock()
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	h.lab.processes = append(h.lab.processes, p)
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// String is the name of the program and the host.
func (p *Process) String() string { return p.cmd.Args[0] + " in " + p.cmd.host.Name }

// PID is the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the program has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err tells how the program ended: nil for exit code 0. Before its end it tells that.
func (p *Process) Err() error {
	select {
	case <-p.done:
		return p.err
	default:
		return fmt.Errorf("%s is still running", p)
	}
}

// Log is what the program wrote so far, standard output and error together.
func (p *Process) Log() string { return p.log.String() }

// Signal sends a signal to the program.
func (p *Process) Signal(sig os.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil {
		return fmt.Errorf("sending %v to %s: %w", sig, p, err)
	}
	return nil
}

// Stop ends the program with SIGTERM and waits for it. One that does not go is killed, which is an error.
func (p *Process) Stop() error {
	if err := p.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(stopPatience):
		return errors.Join(fmt.Errorf("%s ignored SIGTERM for %v and was killed", p, stopPatience), p.Kill())
	}
}

// Kill ends the program with SIGKILL and waits for it.
func (p *Process) Kill() error {
	if err := p.Signal(syscall.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-p.done
	return nil
}

// Await waits until cond holds. When the program ends first or the time is up, the error has the end of its log.
func (p *Process) Await(ctx context.Context, within time.Duration, cond func() error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	err := Await(ctx, within, func() error {
		err := cond()
		select {
		case <-p.done:
			if err != nil {
				cancel()
				return fmt.Errorf("it has ended (%w): %w", ended(p.err), err)
			}
		default:
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("waiting for %s: %w; it wrote:\n%s", p, err, tail(p.Log(), 20))
	}
	return nil
}

// ended puts the end of a program in words.
func ended(err error) error {
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
}

// AwaitLog waits until the program has written the text.
func (p *Process) AwaitLog(ctx context.Context, within time.Duration, text string) error {
	return p.Await(ctx, within, func() error {
		if !strings.Contains(p.Log(), text) {
			return fmt.Errorf("%q not written yet", text)
		}
		return nil
	})
}

// tail is the last n lines of the text.
func tail(text string, n int) string {
	all := lines(text)
	return strings.Join(all[max(0, len(all)-n):], "\n")
}

// log collects what a program writes, and can be read while it grows.
type log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
