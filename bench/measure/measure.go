// Package measure takes the figures of candidates at work.
package measure

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"natd/bench/arena"
)

// Stand is a candidate at work in an arena of its own.
type Stand struct {
	*arena.Arena
	Candidate arena.Candidate
	Running   arena.Running
	Job       arena.Job
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
	// Take measures once. What it has to do before, it does each time.
	Take func(context.Context, *Stand) ([]Figure, error)
}

// LowerIsBetter tells how figures of a name compare: what is a time or a size is better when it is less.
func LowerIsBetter(name string) bool {
	for _, unit := range []string{", ns", ", us", ", ms", ", s", ", MiB"} {
		if strings.HasSuffix(name, unit) {
			return true
		}
	}
	return false
}

// processCPU is the processor time that processes have taken so far. One that has ended counts nothing.
func processCPU(pids []int) (total time.Duration) {
	for _, pid := range pids {
		ticks, err := cpuTicks(pid)
		if err == nil {
			total += ticks
		}
	}
	return total
}

// tick is the unit of /proc/PID/stat, which is the same on all of Linux (USER_HZ).
const tick = time.Second / 100

func cpuTicks(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name, in parentheses, may hold anything. Of what follows, fields 12 and 13 are utime and stime.
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("process %d: %q is no stat", pid, text)
	}
	user, errUser := strconv.Atoi(fields[11])
	system, errSystem := strconv.Atoi(fields[12])
	if errUser != nil || errSystem != nil {
		return 0, fmt.Errorf("process %d: %q is no stat", pid, text)
	}
	return time.Duration(user+system) * tick, nil
}
