package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"natd/internal/vm"
)

// result is how a scenario went.
type result struct {
	scenario
	kernelVersion string
	count         vm.Count
	took          time.Duration
	err           error
}

// printer writes lines of several machines, each with the time since the start.
type printer struct {
	mu    sync.Mutex
	w     io.Writer
	start time.Time
}

func (p *printer) say(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.w, "%5.0f s  %s\n", time.Since(p.start).Seconds(), text)
}

// run runs the machine of a scenario. It shows how each test ended and what the machine says of itself, and when a stage
// fails, the end of what it wrote.
func (r *result) run(ctx context.Context, m *vm.Machine, p *printer) {
	start := time.Now()
	r.kernelVersion = m.Kernel.Version
	p.say(fmt.Sprintf("%s: %s on %s starts: %s", r.name, r.suite, m.Kernel.Version, r.what))
	const shown = 60
	var last []string
	var idle error
	before := 0
	r.err = m.Run(ctx, func(line string) {
		if line == vm.Again {
			r.count, before, idle = vm.Count{}, 0, nil
		}
		r.count.Add(line)
		// A stage that selects no test ends well, too.
		if strings.HasPrefix(line, "##VM stage ") {
			before = r.count.Passed
		}
		if stage, ended := strings.CutPrefix(line, "##VM ended "); ended && r.count.Passed == before {
			idle = errors.Join(idle, fmt.Errorf("no test ran in %s", stage))
		}
		if strings.HasPrefix(line, "--- ") || strings.HasPrefix(line, "    --- ") || strings.HasPrefix(line, "##VM ") {
			p.say(r.name + ": " + strings.TrimPrefix(line, "##VM "))
		}
		last = append(last, line)
		last = last[max(0, len(last)-shown):]
	})
	r.err = errors.Join(r.err, idle)
	r.took = time.Since(start)
	if r.err != nil {
		p.say(fmt.Sprintf("%s: FAILED: %v; logs are in %s; the last lines:\n%s", r.name, r.err, m.Out, strings.Join(last, "\n")))
	}
}

// table prints a line for each scenario, and the sum. The error says what failed.
func (p *printer) table(results []*result) error {
	var sum vm.Count
	var failed []string
	t := tabwriter.NewWriter(p.w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nSCENARIO\tDEBIAN\tKERNEL\tTESTS\tSECONDS\tRESULT")
	for _, r := range results {
		verdict := "ok"
		if r.err != nil {
			verdict = "FAILED: " + r.err.Error()
			failed = append(failed, r.name)
		}
		sum.Passed, sum.Failed, sum.Skipped = sum.Passed+r.count.Passed, sum.Failed+r.count.Failed, sum.Skipped+r.count.Skipped
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%.0f\t%s\n", r.name, r.suite, r.kernelVersion, r.count, r.took.Seconds(), verdict)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(p.w, "\n%s\n", sum)
	if len(failed) > 0 {
		return fmt.Errorf("failed: %s", strings.Join(failed, ", "))
	}
	return nil
}
