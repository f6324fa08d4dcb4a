// Command bench lets natd compete with what else does its job, in labs of its own, and prints a table. It needs root and leaves
// nothing behind, also when interrupted. "make bench" runs it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"natd/bench/arena"
	"natd/bench/load"
	"natd/bench/measure"
	"natd/bench/report"
	"natd/bench/rival"
)

func main() {
	load.Child()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out, progress io.Writer) (err error) {
	p, err := newPlan(args, progress)
	if err != nil {
		return err
	}
	if err := ready(p.programs); err != nil {
		return err
	}
	restore, err := goFirst()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, restore()) }()
	now := time.Now()
	machine := report.Describe(now)
	c := contest{plan: p, progress: progress, began: now}
	failed := c.run(ctx)
	if len(c.samples) == 0 {
		return failed
	}
	r := &report.Report{
		Machine: machine, Method: method(p), Reference: rival.Reference, Candidates: tookPart(p, c.samples),
		Summaries: report.Summarise(c.samples, rival.Reference, measure.ByNft), Samples: c.samples,
	}
	r.Verdicts = report.Judge(goals(p), c.samples)
	if failed != nil {
		r.Unfinished = failed.Error()
		return errors.Join(failed, publish(p, r, out)) // it may have taken hours to get there
	}
	c.say("done")
	return errors.Join(publish(p, r, out), compare(p, r, out))
}

// tookPart are those that the samples tell of, in the order of the tables.
func tookPart(p plan, samples []report.Sample) (all []string) {
	for _, c := range slices.Concat(p.candidates, p.controlled) {
		all = append(all, c.Name())
	}
	var some []string
	for _, name := range append(all, measure.ByNatd, measure.ByNft) {
		if !slices.Contains(some, name) && slices.ContainsFunc(samples, func(s report.Sample) bool { return s.Candidate == name }) {
			some = append(some, name)
		}
	}
	return some
}

// ready tells what is missing on this machine, and how to get it.
func ready(programs string) error {
	if os.Geteuid() != 0 {
		return errors.New("this needs root, for network namespaces: sudo make bench")
	}
	for _, name := range []string{"natd", "natctl"} {
		if _, err := os.Stat(filepath.Join(programs, name)); err != nil {
			return fmt.Errorf("looking for the program to measure: %w; build it first: make build", err)
		}
	}
	for _, name := range []string{"nft", "ip"} {
		if _, err := exec.LookPath(name); err != nil {
			return fmt.Errorf("%w; on Debian: apt-get install nftables iproute2", err)
		}
	}
	return nil
}

// method says how it was measured.
func method(p plan) []string {
	var settings []string
	for _, s := range arena.Settings() {
		settings = append(settings, fmt.Sprintf("%s on %s = %s", s.Key, s.Host, s.Value))
	}
	return []string{
		"A client, a relay and a server in network namespaces, in a line; the load comes to the last relay.",
		fmt.Sprintf("%d heats, for which everything is built anew, of %d rounds after one that does not count; all candidates side by side, "+
			"in another order each round, %v each time.", p.heats, p.rounds, p.lengths.Count),
		fmt.Sprintf("A cell has the median of the medians of the heats, and how far it may be off; in parentheses the same of its ratio to %q "+
			"in the same round.", rival.Reference),
		fmt.Sprintf("The control plane: %d lives of each candidate, from start to end, each with every stage once; %v of rest, reloads under load "+
			"for %v at most. Rulesets are loaded and read %d times each, by natd's means and nft's in turn, the ratio is to %q.",
			p.lives, p.times.Rest, p.times.Load, p.lives*p.loads, measure.ByNft),
		"The client has the first processor and the server the last; what is forwarded is forwarded on the sender's.",
		"Settings that are not the kernel's own: " + strings.Join(settings, ", ") + ".",
		fmt.Sprintf("Each host can track %s connections (nf_conntrack_max).", tracked()),
		"Ratios above 1 are good where a rate is measured, those below where a time is. \"map again\" is \"map\" once more: what differs by less " +
			"than it does is noise. Who is \"beyond\" cannot do the job, or not within the limit; the reason is below the table.",
	}
}

// tracked is how many connections a host can track.
func tracked() string {
	text, err := os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_max")
	if err != nil {
		return "an unknown number of"
	}
	return strings.TrimSpace(string(text))
}

// publish writes the tables and the JSON.
func publish(p plan, r *report.Report, out io.Writer) error {
	if p.json != "" {
		text, err := json.MarshalIndent(r, "", "  ")
		if err == nil {
			err = os.WriteFile(p.json, append(text, '\n'), 0o644)
		}
		if err != nil {
			return fmt.Errorf("writing the JSON: %w", err)
		}
	}
	if p.markdown == "" {
		return r.Markdown(out)
	}
	var text strings.Builder
	if err := r.Markdown(&text); err != nil {
		return err
	}
	if err := os.WriteFile(p.markdown, []byte(text.String()), 0o644); err != nil {
		return fmt.Errorf("writing the tables: %w", err)
	}
	return nil
}

// compare says where the ratios of an earlier run were others.
func compare(p plan, r *report.Report, out io.Writer) error {
	if p.before == "" {
		return nil
	}
	text, err := os.ReadFile(p.before)
	if err != nil {
		return fmt.Errorf("reading the earlier run: %w", err)
	}
	var before report.Report
	if err := json.Unmarshal(text, &before); err != nil {
		return fmt.Errorf("reading the earlier run %s: %w", p.before, err)
	}
	_, err = io.WriteString(out, "\n"+report.Compare(before.Summaries, r.Summaries))
	return err
}
