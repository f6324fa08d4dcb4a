package rival

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"natd/internal/lab"
)

// family are the ids of processes and of all that descend from them, the processes first.
func family(processes ...*lab.Process) (pids []int) {
	children := parentage()
	for _, p := range processes {
		pids = append(pids, p.PID())
	}
	for i := 0; i < len(pids); i++ { // which grows while it goes
		pids = append(pids, children[pids[i]]...)
	}
	return pids
}

// parentage are the children of each process. Not every kernel tells them by parent.
func parentage() map[int][]int {
	children := make(map[int][]int)
	all, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is good
	for _, path := range all {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		// The name, in parentheses, may hold anything.
		rest := string(text[strings.LastIndexByte(string(text), ')')+1:])
		var state string
		var parent int
		if n, _ := fmt.Sscan(rest, &state, &parent); n == 2 {
			children[parent] = append(children[parent], pid)
		}
	}
	return children
}
