package rival

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"natd/bench/arena"
	"natd/internal/lab"
)

// Socat relays with a socat for each relay, which forks for each connection: the example of its manual, with room for more
// connections that wait than the five it has by default.
func Socat() arena.Candidate { return socat{} }

type socat struct{}

// Name is the name of the candidate.
func (socat) Name() string { return "socat" }

// Start starts all of them.
func (socat) Start(ctx context.Context, a *arena.Arena, j arena.Job) (arena.Running, error) {
	if j.Prefixes > 1 {
		return nil, fmt.Errorf("%w: serves one range of sources", arena.ErrBeyond)
	}
	s := &socats{arena: a, job: j}
	for began := time.Now(); len(s.processes) < j.Relays; {
		if time.Since(began) > a.Patience {
			return nil, stopped(ctx, s, fmt.Errorf("%w: takes more than %v to start", arena.ErrBeyond, a.Patience))
		}
		p, err := s.start(len(s.processes))
		if err == nil {
			err = ctx.Err()
			s.processes = append(s.processes, p)
		}
		if noRoom(err) {
			err = fmt.Errorf("%w: this machine has room for %d programs, not for %d: %w", arena.ErrBeyond, len(s.processes), j.Relays, err)
		}
		if err != nil {
			return nil, stopped(ctx, s, err)
		}
	}
	if err := answers(ctx, a, j, s.processes[j.Hit()]); err != nil {
		return nil, stopped(ctx, s, err)
	}
	return s, nil
}

// noRoom tells whether a program was not started because there are too many.
func noRoom(err error) bool {
	return slices.ContainsFunc([]error{unix.EMFILE, unix.ENFILE, unix.EAGAIN, unix.ENOMEM}, func(e error) bool { return errors.Is(err, e) })
}

// socats are socats at work.
type socats struct {
	arena     *arena.Arena
	job       arena.Job
	processes []*lab.Process // by relay
}

// start starts that of a relay.
func (s *socats) start(i int) (*lab.Process, error) {
	protocol := strings.ToUpper(s.job.Protocol()) + "4"
	l := s.job.Listen(i)
	listen := fmt.Sprintf("%s-LISTEN:%d,bind=%v,reuseaddr,fork", protocol, l.Port(), l.Addr())
	if !s.job.UDP {
		listen += ",backlog=4096"
	}
	if sources := s.job.Sources(i); len(sources) == 1 {
		listen += fmt.Sprintf(",range=%v", sources[0])
	}
	return start(s.arena.B, forConnections, "socat", listen, fmt.Sprintf("%s:%v", protocol, s.job.Target(i)))
}

// Stop ends them and their connections.
func (s *socats) Stop(context.Context) error {
	errs := make([]error, len(s.processes))
	for i, p := range s.processes {
		errs[i] = p.Kill()
	}
	return errors.Join(errs...)
}

// PIDs are those of all of them, that of the relay that is hit first, and of their connections.
func (s *socats) PIDs() []int {
	hit := len(s.processes) - 1
	return family(append([]*lab.Process{s.processes[hit]}, s.processes[:hit]...)...)
}

// Change starts that of the relay anew which is another. Its connections break.
func (s *socats) Change(_ context.Context, is arena.Job) error {
	hit := is.Hit()
	if err := s.processes[hit].Kill(); err != nil {
		return err
	}
	s.job = is
	p, err := s.start(hit)
	if err == nil {
		s.processes[hit] = p
	}
	return err
}
