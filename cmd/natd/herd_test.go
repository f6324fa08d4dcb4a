package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"natd/internal/control"
	"natd/internal/lab"
)

// TestNoThunderingHerd checks a thousand backends, and looks at when the probes come and what they cost.
func TestNoThunderingHerd(t *testing.T) {
	t.Parallel()
	lab.Require(t, "tcpdump")
	b := newBox(t)
	const backends, interval, slot = 1000, 2 * time.Second, 100 * time.Millisecond
	lab.Check(t, b.C.Own(t.Context(), netip.MustParsePrefix("10.3.16.0/21")))
	_, err := b.C.Listen("tcp", "0.0.0.0:80")
	lab.Check(t, err)
	probes, err := b.C.Capture(t.Context(), lab.Device, "tcp[tcpflags] == tcp-syn")
	lab.Check(t, err)
	var config strings.Builder
	for i := range backends / 100 {
		var to []string
		for j := range 100 {
			to = append(to, fmt.Sprintf("\"10.3.%d.%d:80\"", 16+i/2, 1+i%2*100+j))
		}
		fmt.Fprintf(&config, "[[relay]]\nname = \"web%d\"\nlisten = \"10.2.0.100:%d\"\nto = [%s]\nhealth = \"tcp\"\n", i, 8000+i, strings.Join(to, ", "))
	}
	b.start(config.String())
	b.awaitStatus(func(s *control.Status) error { return allUp(s) })

	began, used := time.Now(), b.cpu()
	files, most := 0, 0
	for time.Since(began) < interval {
		open, err := os.ReadDir(filepath.Join("/proc", fmt.Sprint(b.natd.PID()), "fd"))
		lab.Check(t, err)
		files, most = len(open), max(most, len(open))
		time.Sleep(20 * time.Millisecond)
	}
	used = b.cpu() - used
	took := time.Since(began)
	packets := probes.Packets()
	if len(packets) < backends {
		t.Fatalf("only %d probes were seen on the wire", len(packets))
	}
	t.Logf("%d probes in all; %v of CPU in %v; %d files now, %d at most", len(packets), used, took, files, most)
	if used > took/2 {
		t.Errorf("1,000 backends cost %v of CPU in %v, want less than half a core, with the race detector", used, took)
	}
	if most > 200 {
		t.Errorf("natd had %d files open", most)
	}
	first, counts := when(t, packets[0].Line), make(map[int]int)
	for _, p := range packets {
		counts[int(when(t, p.Line).Sub(first)/slot)]++
	}
	const even = backends * int(slot) / int(interval)
	for at, n := range counts {
		if n > 4*even {
			t.Errorf("%d probes came between %v and %v, want about %d in each such time", n, time.Duration(at)*slot, time.Duration(at+1)*slot, even)
		}
	}
}

// allUp wants every backend of every relay to be up.
func allUp(s *control.Status) error {
	for i := range s.Relays {
		for _, one := range s.Relays[i].Backends {
			if one.State != control.BackendUp {
				return fmt.Errorf("%s is %s: %s", one.Address, one.State, one.Reason)
			}
		}
	}
	return nil
}

// when is the time of day in front of a line of tcpdump.
func when(t *testing.T, line string) time.Time {
	t.Helper()
	stamp, _, _ := strings.Cut(line, " ")
	at, err := time.Parse("15:04:05.000000", stamp)
	lab.Check(t, err)
	return at
}

// cpu is the time that natd has spent on processors: utime and stime of proc(5), in ticks of 10 ms.
func (b *box) cpu() time.Duration {
	b.t.Helper()
	stat, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(b.natd.PID()), "stat"))
	lab.Check(b.t, err)
	_, fields, _ := strings.Cut(string(stat), ") ")
	var user, system int
	_, err = fmt.Sscan(strings.Join(strings.Fields(fields)[11:13], " "), &user, &system)
	lab.Check(b.t, err)
	return time.Duration(user+system) * 10 * time.Millisecond
}
