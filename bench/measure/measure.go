// Package measure takes the figures of candidates at work.
package measure

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"natd/bench/arena"
	"natd/bench/load"
)

// Stand is a candidate at work in an arena of its own.
type Stand struct {
	*arena.Arena
	Candidate arena.Candidate
	Running   arena.Running
	Job       arena.Job

	// Started is how long the start took, until the last relay answered.
	Started time.Duration
	// Latency is that of all connections of the rounds so far.
	Latency load.Histogram
}

// Figure is what a measure says of a stand.
type Figure struct {
	Name  string // with its unit
	Value float64
}

// Measure is something that can be measured of a stand again and again.
type Measure struct {
	Name string
	// UDP is whether it wants relays of UDP.
	UDP bool
	// Prepare is done once for a stand, for all of them at the same time; nil = nothing has to be.
	Prepare func(context.Context, *Stand) error
	// Take measures once. What it has to do before, it does each time.
	Take func(context.Context, *Stand) ([]Figure, error)
	// Finish gives the figures of all rounds of a heat together; nil = there are none.
	Finish func(*Stand) []Figure
}

// cpu is the processor time of the server and of the candidate's processes so far. What the kernel does for packets counts to the
// process that sent them. Time that others take on a busy machine does not count: that is why it is steadier than a rate.
func (s *Stand) cpu() (total time.Duration) {
	for _, pid := range append([]int{s.Server.PID()}, s.Running.PIDs()...) {
		total += processCPU(pid)
	}
	return total
}

// processCPU is the processor time of a process so far: that of the threads it has. One that has ended counts nothing.
func processCPU(pid int) (total time.Duration) {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid)) // the pattern is good
	for _, path := range threads {
		text, _ := os.ReadFile(path) // a thread that is gone has none
		first, _, _ := strings.Cut(string(text), " ")
		ns, _ := strconv.ParseInt(first, 10, 64)
		total += time.Duration(ns)
	}
	return total
}
