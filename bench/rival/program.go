package rival

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"natd/bench/arena"
	"natd/internal/lab"
)

// Program is a candidate that is a program with a configuration file, started and reloaded as its package does it.
type Program struct {
	name string
	// unfit says in words why a job is none for it, "" when it is one.
	unfit func(arena.Job) string
	// files is how many open files its relays take, before there is a connection.
	files func(arena.Job) int
	// config is the content of its configuration file, in a directory of its own.
	config func(dir string, j arena.Job) string
	// command starts it in the foreground.
	command func(file string) []string
	// reload makes the configuration true that has been written anew for a job.
	reload func(context.Context, *program, arena.Job) error
	// clean removes what it leaves in the kernel when it ends; nil = nothing.
	clean func(context.Context, *lab.Host) error
}

// program is a Program at work.
type program struct {
	Program
	arena   *arena.Arena
	dir     string
	process *lab.Process
}

// Name is the name of the candidate.
func (p Program) Name() string { return p.name }

// Start writes the configuration and starts the program.
func (p Program) Start(ctx context.Context, a *arena.Arena, j arena.Job) (_ arena.Running, err error) {
	if why := p.unfit(j); why != "" {
		return nil, fmt.Errorf("%w: %s", arena.ErrBeyond, why)
	}
	files := p.files(j) + forConnections
	if err := mayOpen(ctx, a.B, files); err != nil {
		return nil, err
	}
	r := &program{Program: p, arena: a}
	if r.dir, err = a.TempDir(p.name); err != nil {
		return nil, err
	}
	if err := r.configure(j); err != nil {
		return nil, err
	}
	if r.process, err = start(a.B, files, p.command(r.file())...); err != nil {
		return nil, err
	}
	if err := answers(ctx, a, j, r.process); err != nil {
		return nil, stopped(ctx, r, err)
	}
	return r, nil
}

func (p *program) file() string { return p.dir + "/config" }

func (p *program) configure(j arena.Job) error {
	if err := os.WriteFile(p.file(), []byte(p.config(p.dir, j)), 0o644); err != nil {
		return fmt.Errorf("writing the configuration of %s: %w", p.name, err)
	}
	p.arena.Begin() // its users have the file
	return nil
}

// Stop ends it and all that it has started. It is killed: the first process of a PID namespace misses signals that it has no handler for,
// and a master that begins anew for a reload has none for a moment.
func (p *program) Stop(ctx context.Context) error {
	errs := []error{p.process.Kill()}
	if p.clean != nil {
		errs = append(errs, p.clean(ctx, p.arena.B))
	}
	return errors.Join(append(errs, os.RemoveAll(p.dir))...)
}

// PIDs are those of the program and all that it has started.
func (p *program) PIDs() []int { return family(p.process) }

// Change writes the configuration anew and makes it true.
func (p *program) Change(ctx context.Context, is arena.Job) error {
	if err := p.configure(is); err != nil {
		return err
	}
	return p.reload(ctx, p, is)
}

// forConnections is how many open files a program may have besides those of its relays: two for each connection of a load.
const forConnections = 9000

// mayOpen tells whether this machine lets a program have so many open files.
func mayOpen(ctx context.Context, h *lab.Host, files int) error {
	if _, err := h.Run(ctx, "prlimit", nofile(files), "true"); err != nil {
		var may unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &may); err != nil {
			return fmt.Errorf("asking for the limit of open files: %w", err)
		}
		return fmt.Errorf("%w: takes %d open files, of which this machine allows %d", arena.ErrBeyond, files, may.Max)
	}
	return nil
}

func nofile(files int) string { return fmt.Sprintf("--nofile=%d:%d", files, files) }

// start starts a program that may have so many open files, as a unit of systemd with LimitNOFILE= does. It is the first of a PID
// namespace: all that it starts ends with it, also what has changed its user or forgotten who started it.
func start(h *lab.Host, files int, command ...string) (*lab.Process, error) {
	if _, err := exec.LookPath(command[0]); err != nil {
		return nil, fmt.Errorf("%w: %s is not installed here", arena.ErrBeyond, command[0])
	}
	cmd := h.Command(context.Background(), "prlimit", append([]string{nofile(files)}, command...)...)
	cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWPID
	return h.StartCmd(cmd)
}

// answers waits until the relay that is hit answers. A program that has ended will not make it.
func answers(ctx context.Context, a *arena.Arena, j arena.Job, processes ...*lab.Process) error {
	alive, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	for _, p := range processes {
		go func() {
			select {
			case <-p.Done():
				cancel(fmt.Errorf("%w: has ended: %s", arena.ErrBeyond, lastLine(p.Log())))
			case <-alive.Done():
			}
		}()
	}
	err := a.Answered(alive, j, j.Listen(j.Hit()))
	if err != nil && ctx.Err() == nil && alive.Err() != nil {
		return context.Cause(alive)
	}
	if errors.Is(err, arena.ErrBeyond) {
		return fmt.Errorf("%w: no answer within %v", arena.ErrBeyond, a.Patience) // which is the same each time
	}
	return err
}

func lastLine(text string) string {
	text = strings.TrimSpace(text)
	return text[strings.LastIndex(text, "\n")+1:]
}
