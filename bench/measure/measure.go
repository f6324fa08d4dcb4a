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
	// Take measures once. What it has to do before, it does each time. nil = it measures once a heat, at the end.
	Take Way
	// Finish gives the figures of a heat, those of all its rounds together; nil = there are none.
	Finish Way
}

// Way is how figures are taken of a stand. An error that wraps arena.ErrBeyond says that it does not stand the measure.
type Way func(context.Context, *Stand) ([]Figure, error)

// own is the processor time of the candidate's processes so far.
func (s *Stand) own() (total time.Duration) {
	for _, pid := range s.Running.PIDs() {
		total += processCPU(pid)
	}
	return total
}

// cpu is the processor time of the server and of the candidate's processes so far. What the kernel does for packets counts to the
// process that sent them. Time that others take on a busy machine does not count: that is why it is steadier than a rate.
func (s *Stand) cpu() time.Duration {
	return processCPU(s.Server.PID()) + s.own()
}

// processCPU is the processor time of a process so far: that of the threads it has, and of its children that have ended. One that has
// ended itself counts nothing.
func processCPU(pid int) (total time.Duration) {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid)) // the pattern is good
	for _, path := range threads {
		text, _ := os.ReadFile(path) // a thread that is gone has none
		first, _, _ := strings.Cut(string(text), " ")
		ns, _ := strconv.ParseInt(first, 10, 64)
		total += time.Duration(ns)
	}
	return total + childrenCPU(pid)
}

// childrenCPU is the processor time of the children of a process that have ended, as proc(5) tells it.
func childrenCPU(pid int) (total time.Duration) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)) // a process that is gone has none
	// The name of the program, in parentheses, may hold anything; cutime and cstime are the 14th and 15th field behind it.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	const cutime, tick = 13, 10 * time.Millisecond
	if len(fields) < cutime+2 {
		return 0
	}
	for _, f := range fields[cutime : cutime+2] {
		ticks, _ := strconv.ParseInt(f, 10, 64)
		total += time.Duration(ticks) * tick
	}
	return total
}
