package rival_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"natd/bench/arena"
	"natd/bench/load"
	"natd/bench/rival"
	"natd/internal/lab"
)

// TestMain lets the tests' own program be the ends of a load.
func TestMain(m *testing.M) {
	load.Child()
	os.Exit(m.Run())
}

// open makes an arena, for candidates that are no natd.
func open(t *testing.T, programs ...string) *arena.Arena {
	t.Helper()
	if testing.Short() || os.Geteuid() != 0 {
		t.Skip("this test needs the kernel, as root, and not -short")
	}
	lab.Require(t, append(programs, "nft", "ip", "prlimit")...)
	a, err := arena.Open(t.Context(), "", 20*time.Second)
	lab.Check(t, err)
	t.Cleanup(func() { lab.Check(t, a.Close()) })
	return a
}

// TestPrograms lets each program relay, changes one relay, and compares host B before and after.
func TestPrograms(t *testing.T) {
	t.Parallel()
	few := []arena.Job{{Relays: 1}, {Relays: 10}} // firewalld takes seconds for each
	all := append(few, arena.Job{Relays: 2, Prefixes: 1}, arena.Job{Relays: 2, Prefixes: 3}, arena.Job{Relays: 2, UDP: true})
	for _, tt := range []struct {
		rival    arena.Candidate
		programs []string
		jobs     []arena.Job
		beyond   func(arena.Job) bool
	}{
		{rival.HAProxy(), []string{"haproxy"}, all, func(j arena.Job) bool { return j.UDP }},
		{rival.Nginx(), []string{"nginx"}, all, func(arena.Job) bool { return false }},
		{rival.Socat(), []string{"socat"}, all, func(j arena.Job) bool { return j.Prefixes > 1 }},
		{rival.Firewalld(), []string{"firewalld", "firewall-cmd", "dbus-daemon"}, few, func(arena.Job) bool { return false }},
		{rival.Nftlb(), []string{"nftlb", "curl"}, all, func(j arena.Job) bool { return j.Prefixes > 0 }},
	} {
		for _, j := range tt.jobs {
			t.Run(fmt.Sprintf("%s/%d x %d %s", tt.rival.Name(), j.Relays, j.Prefixes, j.Protocol()), func(t *testing.T) {
				t.Parallel()
				a := open(t, tt.programs...)
				if !tt.beyond(j) {
					relays(t, a, tt.rival, j)
				} else if _, err := tt.rival.Start(t.Context(), a, j); !errors.Is(err, arena.ErrBeyond) {
					t.Errorf("it is none of its jobs, and the answer is %v", err)
				}
			})
		}
	}
}

// relays wants a job done, changed and undone.
func relays(t *testing.T, a *arena.Arena, c arena.Candidate, j arena.Job) {
	t.Helper()
	before := a.B.State(t)
	running, err := c.Start(t.Context(), a, j)
	lab.Check(t, err)
	for i := range j.Relays {
		lab.Check(t, a.Ask(t.Context(), j.Protocol(), j.Listen(i)))
	}
	if len(running.PIDs()) == 0 {
		t.Error("a program that has no process")
	}
	gone := j.Target(j.Hit()).Addr() // an answer after this is one of the new target
	lab.Check(t, a.C.Nft(t.Context(), fmt.Sprintf("table ip gone {\nchain input {\ntype filter hook input priority 0\nip daddr %v drop\n}\n}", gone)))
	j.Moved = true
	lab.Check(t, running.Change(t.Context(), j))
	lab.Check(t, a.Answered(t.Context(), j, arena.Dial(c, j)))
	lab.Check(t, running.Stop(t.Context()))
	lab.WantSame(t, before, a.B.State(t))
	if left, err := a.B.Run(t.Context(), "ss", "-Hltun"); err != nil || strings.TrimSpace(left) != "" {
		t.Errorf("still listens, %v:\n%s", err, left)
	}
}
