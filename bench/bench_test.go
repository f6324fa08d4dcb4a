package main

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"natd/bench/arena"
	"natd/bench/load"
	"natd/bench/report"
	"natd/bench/rival"
	"natd/internal/lab"
)

// TestMain lets the tests' own program be the ends of a load.
func TestMain(m *testing.M) {
	load.Child()
	os.Exit(m.Run())
}

// build builds natd and natctl.
func build(t *testing.T) string {
	t.Helper()
	if testing.Short() || os.Geteuid() != 0 {
		t.Skip("this test needs the kernel, as root, and not -short")
	}
	lab.Require(t, "nft", "ip")
	dir := t.TempDir()
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", dir, "natd/cmd/natd", "natd/cmd/natctl").CombinedOutput()
	if err != nil {
		t.Fatalf("building natd: %v\n%s", err, out)
	}
	return dir
}

// TestContest runs a whole contest, a short one, and wants a figure of every candidate for every measure.
func TestContest(t *testing.T) {
	programs := build(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "result.json")
	var out strings.Builder
	args := []string{
		"-bin", programs, "-quick", "-heats", "1", "-rounds", "1", "-slice", "100ms", "-relays", "2", "-prefixes", "3",
		"-only", "^(map|natd|routed)", "-measure", "^(connections|latency|stream-|sustained|packets)", "-json", path,
	}
	lab.Check(t, run(t.Context(), args, &out, t.Output()))
	text, err := os.ReadFile(path)
	lab.Check(t, err)
	var r report.Report
	lab.Check(t, json.Unmarshal(text, &r))
	figures, observed := make(map[string]int), make(map[string]float64)
	for _, s := range r.Summaries {
		if strings.HasPrefix(s.Measure, "sustained") {
			observed[s.Measure] = s.Median
			continue
		}
		if s.Note != "" || s.Median <= 0 {
			t.Errorf("%s of %s (%s) is %v %s", s.Measure, s.Candidate, s.Job, s.Median, s.Note)
		}
		figures[s.Candidate]++
		if !strings.Contains(out.String(), "### "+s.Measure) {
			t.Errorf("the table has no %s", s.Measure)
		}
	}
	if lost, told := observed["sustained connections: times that events were lost"]; !told || lost > 0 || len(observed) != 4 {
		t.Errorf("of the observer it tells %v", observed)
	}
	for _, name := range r.Candidates {
		if figures[name] != figures[rival.Reference] || figures[name] == 0 {
			t.Errorf("%s has %d figures, the reference %d", name, figures[name], figures[rival.Reference])
		}
	}
}

// TestEndsEarly interrupts a run, and wants what it has measured until then.
func TestEndsEarly(t *testing.T) {
	programs := build(t)
	path := filepath.Join(t.TempDir(), "result.json")
	ctx, cancel := context.WithCancel(t.Context())
	args := []string{"-bin", programs, "-quick", "-rounds", "50", "-slice", "20ms", "-relays", "2", "-only", "^$", "-measure", "^connections", "-json", path}
	err := run(ctx, args, io.Discard, &until{"round 3 of 50", cancel})
	if err == nil || !strings.Contains(err.Error(), "interrupted") {
		t.Errorf("the error is %v", err)
	}
	text, err := os.ReadFile(path)
	lab.Check(t, err)
	var r report.Report
	lab.Check(t, json.Unmarshal(text, &r))
	if len(r.Samples) == 0 || !strings.Contains(r.Unfinished, "interrupted") {
		t.Errorf("it has %d samples and says %q", len(r.Samples), r.Unfinished)
	}
}

// until calls do when a text is written.
type until struct {
	text string
	do   func()
}

func (u *until) Write(b []byte) (int, error) {
	if strings.Contains(string(b), u.text) {
		u.do()
	}
	return len(b), nil
}

// TestCandidatesLeaveNothing starts every candidate, changes its job, and compares host B before and after.
func TestCandidatesLeaveNothing(t *testing.T) {
	programs := build(t)
	a, err := arena.Open(t.Context(), programs, 10e9)
	lab.Check(t, err)
	t.Cleanup(func() { lab.Check(t, a.Close()) })
	for _, c := range rival.All() {
		if !strings.HasPrefix(c.Name(), "natd") && !slices.Contains([]string{"map", "seed"}, c.Name()) {
			continue
		}
		t.Run(c.Name(), func(t *testing.T) {
			before := a.B.State(t)
			j := arena.Job{Relays: 3, Prefixes: 3}
			running, err := c.Start(t.Context(), a, j)
			lab.Check(t, err)
			j.Moved = true
			lab.Check(t, running.Change(t.Context(), j))
			lab.Check(t, a.Answered(t.Context(), j, arena.Dial(c, j)))
			lab.Check(t, running.Stop(t.Context()))
			lab.WantSame(t, before, a.B.State(t))
		})
	}
}

func TestJobs(t *testing.T) {
	t.Parallel()
	j := arena.Job{Relays: 100000, Prefixes: 5}
	seen := make(map[string]bool)
	for i := range j.Relays {
		seen[j.Listen(i).String()] = true
	}
	if len(seen) != j.Relays {
		t.Errorf("%d relays listen at %d addresses", j.Relays, len(seen))
	}
	for _, i := range []int{0, 77, j.Hit()} {
		sources := j.Sources(i)
		if len(sources) != j.Prefixes || sources[len(sources)-1] != arena.Clients() {
			t.Errorf("relay %d serves %v", i, sources)
		}
		for k, p := range sources {
			if p != p.Masked() || slices.ContainsFunc(sources[:k], p.Overlaps) {
				t.Errorf("relay %d serves %v, which overlaps or has host bits", i, p)
			}
		}
	}
	moved := j
	moved.Moved = true
	if j.Target(j.Hit()) == moved.Target(j.Hit()) || j.Target(0) != moved.Target(0) {
		t.Error("the change is not that of the relay that is hit")
	}
}

func TestTurn(t *testing.T) {
	t.Parallel()
	all := []int{1, 2, 3, 4}
	first := make(map[int]int)
	for round := range 8 {
		order := turn(all, round)
		first[order[0]]++
		if sorted := slices.Sorted(slices.Values(order)); !slices.Equal(sorted, all) {
			t.Errorf("round %d has %v", round, order)
		}
	}
	if len(first) != len(all) {
		t.Errorf("only %v begin a round", first)
	}
}

func TestPlanRefuses(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"-relays", "none"}, {"-relays", "1000000"}, {"-only", "("}, {"-measure", "nothing"}, {"-rounds", "-1"}, {"-slice", "-1s"}, {"again"}, {"-what"},
	} {
		if _, err := newPlan(args, io.Discard); err == nil {
			t.Errorf("took %v", args)
		}
	}
}
