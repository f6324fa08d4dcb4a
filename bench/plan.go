package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"natd/bench/arena"
	"natd/bench/measure"
	"natd/bench/rival"
)

// plan is what a run measures.
type plan struct {
	jobs       []arena.Job
	candidates []arena.Candidate
	measures   []measure.Measure
	lengths    measure.Lengths
	heats      int // arenas are built anew for each
	rounds     int // of a heat

	scales     []arena.Job // of the control plane
	controlled []arena.Candidate
	stages     []measure.Stage
	start      bool // starts are measured
	times      measure.Times
	lives      int // of each candidate
	loads      int // of the ruleset in each round of lives; 0 = none

	patience time.Duration
	programs string
	markdown string // file; empty = standard output
	json     string // file
	before   string // file of an earlier run
}

// flagsOf are the flags as they are given.
type flagsOf struct {
	quick                               bool
	heats, rounds                       int
	slice                               time.Duration
	only, measures, relays, prefixes    string
	programs, markdown, json, beforeRun string
}

// newPlan makes a plan of the command line.
func newPlan(args []string, errors io.Writer) (plan, error) {
	var f flagsOf
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(errors)
	flags.BoolVar(&f.quick, "quick", false, "less of everything: under two minutes")
	flags.IntVar(&f.heats, "heats", 0, "how often everything is built anew (default 5, of the control plane 3; quick: 2 and 1)")
	flags.IntVar(&f.rounds, "rounds", 0, "rounds of a heat that count (default 10; quick: 3)")
	flags.DurationVar(&f.slice, "slice", 0, "how long one measurement counts (default 100ms; quick: 50ms)")
	flags.StringVar(&f.only, "only", "", "only candidates whose name matches the `regexp`; map, the reference, always takes part")
	flags.StringVar(&f.measures, "measure", "", "only measures whose name matches the `regexp`: "+strings.Join(measureNames(), ", "))
	flags.StringVar(&f.relays, "relays", "", "`numbers` of relays (default 1,10,1000,10000,100000, of the control plane not 1; quick: 1000, of the control plane 10)")
	flags.StringVar(&f.prefixes, "prefixes", "", "`numbers` of sources of each of 1000 relays (default 1,5,100; quick: none)")
	flags.StringVar(&f.programs, "bin", "bin", "the `directory` that has natd and natctl")
	flags.StringVar(&f.markdown, "md", "", "write the tables to a `file`, not to standard output")
	flags.StringVar(&f.json, "json", "", "write everything to a `file`, as JSON")
	flags.StringVar(&f.beforeRun, "compare", "", "say where ratios differ from those of an earlier run's JSON `file`")
	if err := flags.Parse(args); err != nil {
		return plan{}, err
	}
	if flags.NArg() > 0 {
		return plan{}, fmt.Errorf("unexpected argument %q; see -help", flags.Arg(0))
	}
	return f.plan()
}

// plan puts the defaults where nothing is given.
func (f *flagsOf) plan() (plan, error) {
	p := plan{
		heats: cmp.Or(f.heats, 5), rounds: cmp.Or(f.rounds, 10), patience: time.Minute, programs: f.programs, markdown: f.markdown, json: f.json, before: f.beforeRun,
	}
	count := cmp.Or(f.slice, 100*time.Millisecond)
	relays, prefixes := cmp.Or(f.relays, "1,10,1000,10000,100000"), cmp.Or(f.prefixes, "1,5,100")
	if f.quick {
		p.heats, p.rounds, p.patience = cmp.Or(f.heats, 2), cmp.Or(f.rounds, 3), 10*time.Second
		count = cmp.Or(f.slice, 50*time.Millisecond)
		relays, prefixes = cmp.Or(f.relays, "1000"), f.prefixes
	} else if f.relays != "" {
		prefixes = f.prefixes // who asks for numbers gets those
	}
	p.lengths = measure.Lengths{Warm: count / 5, Count: count}
	var errs []error
	var err error
	p.jobs, err = jobs(relays, prefixes)
	errs = append(errs, err)
	p.candidates, err = matching(rival.All(), f.only, arena.Candidate.Name, rival.Reference)
	errs = append(errs, err)
	errs = append(errs, f.measured(&p))
	if p.heats < 1 || p.rounds < 1 || p.lengths.Count <= 0 {
		errs = append(errs, errors.New("want at least one heat and one round, and some time"))
	}
	return p, errors.Join(errs...)
}

// Names of measures that are not those of their package.
const (
	nameStart   = "start"
	nameRuleset = "ruleset"
)

// measureNames are those of all measures.
func measureNames() (names []string) {
	for _, m := range measure.Data(measure.Lengths{}) {
		names = append(names, m.Name)
	}
	names = append(names, nameStart)
	for _, s := range measure.Control(measure.Times{}) {
		names = append(names, s.Name)
	}
	return append(names, nameRuleset)
}

// measured chooses what is measured, of the data path and of the control plane.
func (f *flagsOf) measured(p *plan) error {
	chosen, err := matching(measureNames(), f.measures, func(name string) string { return name }, "")
	if err != nil {
		return err
	}
	has := func(name string) bool { return slices.Contains(chosen, name) }
	p.measures = slices.DeleteFunc(measure.Data(p.lengths), func(m measure.Measure) bool { return !has(m.Name) })
	p.lives, p.loads, p.start = cmp.Or(f.heats, 3), min(p.rounds, 3), has(nameStart)
	scales := f.relays
	if !has(nameRuleset) {
		p.loads = 0
	}
	p.times = measure.Times{Settled: 10 * time.Second, Rest: 35 * time.Second, Load: 20 * time.Second, Reloads: 100, Heal: 5 * time.Second}
	if f.quick {
		p.lives, scales = cmp.Or(f.heats, 1), cmp.Or(f.relays, "10")
		p.times = measure.Times{Settled: time.Second, Rest: 2 * time.Second, Load: time.Second, Reloads: 100, Heal: 2 * time.Second}
	}
	p.stages = slices.DeleteFunc(measure.Control(p.times), func(s measure.Stage) bool { return !has(s.Name) })
	if p.start || len(p.stages) > 0 || p.loads > 0 {
		if p.scales, err = jobs(cmp.Or(scales, "10,1000,10000,100000"), ""); err != nil {
			return err
		}
	}
	p.controlled, err = matching(rival.Controlled(), f.only, arena.Candidate.Name, rival.Reference)
	return err
}

// jobs are those of the numbers of relays, for everybody, and of the numbers of prefixes.
func jobs(relays, prefixes string) (all []arena.Job, err error) {
	const relaysWithSources = 1000
	for _, n := range split(relays) {
		count, err := number("relays", n)
		if err != nil {
			return nil, err
		}
		all = append(all, arena.Job{Relays: count})
	}
	for _, n := range split(prefixes) {
		count, err := number("prefixes", n)
		if err != nil {
			return nil, err
		}
		all = append(all, arena.Job{Relays: relaysWithSources, Prefixes: count})
	}
	return all, nil
}

func split(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' })
}

func number(of, text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > arena.MaxRelays {
		return 0, fmt.Errorf("-%s: %q is no number from 1 to %d", of, text, arena.MaxRelays)
	}
	return n, nil
}

// matching are those whose name matches, and the one that is always there.
func matching[T any](all []T, expression string, name func(T) string, always string) ([]T, error) {
	re, err := regexp.Compile(expression)
	if err != nil {
		return nil, fmt.Errorf("%q is no regular expression: %w", expression, err)
	}
	some := slices.DeleteFunc(all, func(v T) bool { return name(v) != always && !re.MatchString(name(v)) })
	if len(some) == 0 {
		return nil, fmt.Errorf("nothing has a name that matches %q", expression)
	}
	return some, nil
}
