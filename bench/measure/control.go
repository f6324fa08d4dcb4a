package measure

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"natd/bench/arena"
)

// Names of figures of the control plane, which goals are set for.
const (
	Start         = "start until the last relay answers, ms"
	Memory        = "resident memory at rest, MiB"
	Peak          = "resident memory, peak, MiB"
	Rest          = "processor at rest, % of a core"
	StatusTime    = "natctl status, ms"
	PlanTime      = "natctl plan, ms"
	ChangeTime    = "change of one relay until it leads elsewhere, ms"
	ChangeKernel  = "change of one relay, the kernel's part, ms"
	SameTime      = "reload of the same, ms"
	ReloadTime    = "reload under load, ms"
	ReloadCount   = "reloads under load"
	ReloadFailed  = "connections that failed during reloads"
	ReloadBroken  = "long-lived connections that reloads broke"
	Heal          = "longest wait for an answer around nft flush ruleset, ms"
	EventCost     = "processor time of the candidate for a new connection, us"
	EventLost     = "times that connection tracking lost events"
	LoadRuleset   = "load of natd's ruleset, ms"
	ReadRuleset   = "read back and compare, ms"
	changesOfLife = 3 // that a figure of changes is the median of
)

// Stage is something that is measured once in the life of a candidate, between its start and its end.
type Stage struct {
	Name string
	// Together is whether all candidates do it at the same time: they do nothing.
	Together bool
	Take     func(context.Context, *Stand) ([]Figure, error)
}

// Times are how long the stages take that have no end of their own.
type Times struct {
	Settled time.Duration // rest before memory is looked at
	Rest    time.Duration // rest in all
	Load    time.Duration // of connections, at most, while reloads go on
	Reloads int           // at most
	Heal    time.Duration // patience
}

// Control are the stages of a life. The last one may be its end: who is not whole again afterwards need not stop well.
func Control(t Times) []Stage {
	return []Stage{
		{Name: "rest", Together: true, Take: t.rest},
		{Name: "status", Take: status},
		{Name: "plan", Take: plan},
		{Name: "change", Take: change},
		{Name: "same", Take: same},
		{Name: "reload", Take: t.reloads},
		{Name: "events", Take: events},
		{Name: "peak", Take: peak},
		{Name: "heal", Take: t.heal},
	}
}

// daemon is natd at work.
type daemon interface {
	Natctl(ctx context.Context, args ...string) (string, error)
	File() string
	Log() string
}

// daemonOf is the natd of a stand. Others have nothing that answers for the whole of their relays.
func daemonOf(s *Stand, what string) (daemon, error) {
	if d, ok := s.Running.(daemon); ok {
		return d, nil
	}
	return nil, fmt.Errorf("%w: has no equal of %s", arena.ErrBeyond, what)
}

// programOf is an error for rulesets, which have no program.
func programOf(s *Stand) error {
	if len(s.Running.PIDs()) == 0 {
		return fmt.Errorf("%w: there is no program", arena.ErrBeyond)
	}
	return nil
}

// rest is what a candidate takes that has nothing to do.
func (t Times) rest(ctx context.Context, s *Stand) ([]Figure, error) {
	if err := programOf(s); err != nil {
		return nil, err
	}
	before, began := s.own(), time.Now()
	if err := sleep(ctx, t.Settled); err != nil {
		return nil, err
	}
	resident := s.memory("VmRSS")
	if err := sleep(ctx, t.Rest-t.Settled); err != nil {
		return nil, err
	}
	share := float64(s.own()-before) / float64(time.Since(began))
	return []Figure{{Memory, resident}, {Rest, 100 * share}}, nil
}

// peak is the most memory that the candidate had so far.
func peak(_ context.Context, s *Stand) ([]Figure, error) {
	if err := programOf(s); err != nil {
		return nil, err
	}
	return []Figure{{Peak, s.memory("VmHWM")}}, nil
}

// memory is that of the candidate's processes in MiB, by the name that the kernel has for it.
func (s *Stand) memory(kind string) (mib float64) {
	for _, pid := range s.Running.PIDs() {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)) // a process that is gone has none
		for line := range strings.Lines(string(text)) {
			if value, ok := strings.CutPrefix(line, kind+":"); ok {
				kib, _ := strconv.ParseFloat(strings.Fields(value)[0], 64) // the kernel writes numbers
				mib += kib / 1024
			}
		}
	}
	return mib
}

func status(ctx context.Context, s *Stand) ([]Figure, error) {
	return natctl(ctx, s, StatusTime, "status")
}

func plan(ctx context.Context, s *Stand) ([]Figure, error) {
	return natctl(ctx, s, PlanTime, "plan")
}

// natctl is how long a command takes, from the start of the program to its end.
func natctl(ctx context.Context, s *Stand, name, command string) ([]Figure, error) {
	d, err := daemonOf(s, "natctl "+command)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if _, err := d.Natctl(ctx, command); err != nil {
		return nil, err
	}
	return []Figure{{name, ms(time.Since(began))}}, nil
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// errNotYet says that a change has not come through.
var errNotYet = errors.New("the relay leads where it led before")

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
