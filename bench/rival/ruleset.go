// Package rival holds the candidates of the contest.
package rival

import (
	"context"
	"fmt"
	"net/netip"

	"natd/bench/arena"
)

// table is what the rulesets written by hand call theirs.
const table = "bench"

// Ruleset is a candidate that is nothing but rules, loaded with nft.
type Ruleset struct {
	name string
	// script is what nft loads for a job; nothing for one that needs no rules.
	script func(arena.Job) string
	// change is what nft makes of one job in place of another. Without it the whole script is loaded anew, in one transaction.
	change func(was, is arena.Job) string
}

// Name is the name of the ruleset.
func (r Ruleset) Name() string { return r.name }

// Start loads the rules.
func (r Ruleset) Start(ctx context.Context, a *arena.Arena, j arena.Job) (arena.Running, error) {
	return r.start(ctx, a, j, j.Listen(j.Hit()))
}

func (r Ruleset) start(ctx context.Context, a *arena.Arena, j arena.Job, dial netip.AddrPort) (arena.Running, error) {
	s := &standing{Ruleset: r, arena: a, job: j}
	if err := s.nft(ctx, r.script(j)); err != nil {
		return nil, err
	}
	if err := a.Answered(ctx, j, dial); err != nil {
		return nil, stopped(ctx, s, err)
	}
	return s, nil
}

// standing is a ruleset in the kernel.
type standing struct {
	Ruleset
	arena *arena.Arena
	job   arena.Job
}

// Stop removes the rules.
func (s *standing) Stop(ctx context.Context) error {
	if s.script(s.job) == "" {
		return nil
	}
	return s.arena.B.Nft(ctx, "delete table ip "+table)
}

// PIDs are none.
func (*standing) PIDs() []int { return nil }

// Change changes the rules. The same job again is the whole script again, as nftables.service reloads it.
func (s *standing) Change(ctx context.Context, is arena.Job) error {
	script := ""
	switch was := s.job; {
	case s.script(is) == "":
		return fmt.Errorf("%w: %s has no relays to change", arena.ErrBeyond, s.name)
	case s.change != nil && was != is:
		script = s.change(was, is)
	default:
		script = "delete table ip " + table + "\n" + s.script(is)
	}
	if err := s.nft(ctx, script); err != nil {
		return err
	}
	s.job = is
	return nil
}

// nft loads a script, for as long as a candidate may take.
func (s *standing) nft(ctx context.Context, script string) error {
	if script == "" {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, s.arena.Patience)
	defer cancel()
	s.arena.Begin()
	err := s.arena.B.Nft(limited, script)
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		return fmt.Errorf("%w: nft takes more than %v to load it", arena.ErrBeyond, s.arena.Patience)
	}
	return err
}
