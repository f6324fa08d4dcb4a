package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"sync"

	"natd/internal/durable"
	"natd/internal/flow"
)

// countersName is the file in the state directory that keeps what was counted.
const countersName = "counters.json"

// maxCounters bounds what is read of it: that of 4 million live connections, which is as many as are saved, half as much of changes, and some.
const maxCounters = 512 << 20

// Changes are appended until they are half as much as the whole, and this many bytes, or until so many wait for the disk.
const (
	maxChanges = 1 << 20
	maxNext    = 16
)

// countersFile keeps what was counted: a line with all of it, and behind it lines with what has changed since, so that a scrape costs what it
// has seen and not what lives. It is written by a goroutine of its own: a slow disk must not keep anybody from counting.
type countersFile struct {
	path string
	log  *slog.Logger
	wake chan struct{} // a token: there is something to write

	mu      sync.Mutex
	next    []*flow.Saved // to be written, in order
	version uint64        // of what was handed over last
	waiting []chan error
	anew    bool  // all of it is to be written next
	whole   int64 // bytes of the first line
	size    int64 // bytes of the file

	writing sync.Mutex // one at a time
	failed  bool       // the last write
}

func newCountersFile(path string, log *slog.Logger) *countersFile {
	return &countersFile{path: path, log: log, wake: make(chan struct{}, 1), anew: true}
}

// load is what an earlier natd saved; nil when there is nothing, with an error when it cannot be had. A file that is damaged is set
// aside: that counts begin anew is less of a harm than a natd that does not start.
func (f *countersFile) load() (*flow.Saved, error) {
	file, err := os.Open(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	saved, err := flow.ReadSaved(io.LimitReader(file, maxCounters))
	if err != nil {
		return nil, fmt.Errorf("%s is damaged and was moved to %s: %w", f.path, f.setAside(), err)
	}
	return saved, nil
}

// setAside takes the file out of the way, and returns where it is; "" when that failed, which the next write will tell.
func (f *countersFile) setAside() string {
	aside := f.path + ".corrupt"
	if os.Rename(f.path, aside) != nil {
		return ""
	}
	return aside
}

// begin is told that another meter counts from now on, whose versions are others.
func (f *countersFile) begin() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.version, f.anew = 0, true
}

// put hands over what was counted, if it is new, and who waits for it to be on disk. It does not block.
func (f *countersFile) put(m *flow.Meter, waiting []chan error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if v := m.Version(); v != f.version {
		f.version = v
		if f.anew || len(f.next) >= maxNext || f.size-f.whole > f.whole/2+maxChanges {
			f.next, f.anew = []*flow.Saved{m.Save()}, false
		} else {
			f.next = append(f.next, m.Changes())
		}
	}
	f.waiting = append(f.waiting, waiting...)
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// run writes until ctx ends.
func (f *countersFile) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.wake:
			f.flush()
		}
	}
}

// flush writes what there is to write, and tells those who wait.
func (f *countersFile) flush() {
	f.writing.Lock()
	defer f.writing.Unlock()
	f.mu.Lock()
	next, waiting := f.next, f.waiting
	f.next, f.waiting = nil, nil
	f.mu.Unlock()
	err := f.write(next)
	if err != nil {
		waiting = append(waiting, f.retry(next)...)
	}
	for _, w := range waiting {
		w <- err
	}
}

// retry makes the next try one of everything. It returns who waits for changes that are of no use without those that failed.
func (f *countersFile) retry(failed []*flow.Saved) (waiting []chan error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.version, f.anew = 0, true
	if len(f.next) > 0 && f.next[0].Places == nil {
		return nil
	}
	waiting, f.waiting, f.next = f.waiting, nil, nil
	if failed[0].Places == nil {
		f.next = failed // if nobody puts anything before natd ends
	}
	return waiting
}

// write writes what is new, and reports the first failure.
func (f *countersFile) write(next []*flow.Saved) (err error) {
	for i := 0; i < len(next) && err == nil; i++ {
		err = f.writeOne(next[i])
	}
	if err != nil && !f.failed {
		f.log.Warn("the counts of connections cannot be kept for the next start (is the state directory there, writable and not full?)", "error", err)
	}
	if len(next) > 0 {
		f.failed = err != nil
	}
	return err
}

func (f *countersFile) writeOne(s *flow.Saved) error {
	line, err := json.Marshal(s)
	if err != nil {
		return err
	}
	line = append(line, '\n')
	f.mu.Lock()
	whole, size := f.whole, f.size
	f.mu.Unlock()
	if s.Places == nil {
		whole, size = int64(len(line)), 0
		err = durable.Replace(f.path, line)
	} else {
		err = durable.Append(f.path, size, line)
	}
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.whole, f.size = whole, size+int64(len(line))
	return nil
}
