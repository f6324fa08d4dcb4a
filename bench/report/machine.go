package report

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Machine is what a run ran on.
type Machine struct {
	Processor string    `json:"processor"`
	CPUs      int       `json:"cpus"`
	MemoryMiB uint64    `json:"memory_mib"`
	Kernel    string    `json:"kernel"`
	System    string    `json:"system"`
	Go        string    `json:"go"`
	Time      time.Time `json:"time"`
	LoadAtRun string    `json:"load_before"` // the load averages before the run: what others do shows in the spread
}

// Describe describes this machine.
func Describe(now time.Time) Machine {
	m := Machine{CPUs: runtime.NumCPU(), Go: runtime.Version(), Time: now.UTC().Truncate(time.Second)}
	m.Processor = field("/proc/cpuinfo", "model name", ":")
	m.System = strings.Trim(field("/etc/os-release", "PRETTY_NAME", "="), `"`)
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		m.LoadAtRun = strings.Join(strings.Fields(string(text))[:3], " ")
	}
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		m.Kernel = unix.ByteSliceToString(name.Release[:])
	}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		m.MemoryMiB = info.Totalram * uint64(info.Unit) >> 20
	}
	return m
}

// String is the machine in a sentence.
func (m Machine) String() string {
	return fmt.Sprintf("%s: %d x %s, %d MiB, Linux %s, %s, %s; load before the run %s.",
		m.Time.Format("2006-01-02 15:04 MST"), m.CPUs, m.Processor, m.MemoryMiB, m.Kernel, m.System, m.Go, m.LoadAtRun)
}

// field is the value of the first line of a file that begins with a key.
func field(path, key, separator string) string {
	text, _ := os.ReadFile(path) // the report goes without it
	for line := range strings.Lines(string(text)) {
		k, v, found := strings.Cut(line, separator)
		if found && strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return "unknown"
}
