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

// maxCounters bounds what is read of it: that of 4 million live connections, which is as many as are saved, and some.
const maxCounters = 256 << 20

// countersFile keeps what was counted. It is written by a goroutine of its own: a slow disk must not keep anybody from counting.
type countersFile struct {
	path string
	log  *slog.Logger
	wake chan struct{} // a token: there is something to write

	mu      sync.Mutex
	next    *flow.Saved // to be written; nil when what is on disk is all there is
	version uint64      // of what was handed over last
	waiting []chan error

	writing sync.Mutex // one at a time
	failed  bool       // the last write
}

func newCountersFile(path string, log *slog.Logger) *countersFile {
	return &countersFile{path: path, log: log, wake: make(chan struct{}, 1)}
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
	saved := new(flow.Saved)
	if err := json.NewDecoder(io.LimitReader(file, maxCounters)).Decode(saved); err != nil {
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
	f.version = 0
}

// put hands over what was counted, if it is new, and who waits for it to be on disk. It does not block.
func (f *countersFile) put(m *flow.Meter, waiting []chan error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if v := m.Version(); v != f.version {
		f.next, f.version = m.Save(), v
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
	var err error
	if next != nil {
		err = f.write(next)
	}
	f.mu.Lock()
	if err != nil && f.next == nil {
		f.next = next // for the next try
	}
	f.mu.Unlock()
	for _, w := range waiting {
		w <- err
	}
}

func (f *countersFile) write(s *flow.Saved) error {
	content, err := json.Marshal(s)
	if err == nil {
		err = durable.Replace(f.path, append(content, '\n'))
	}
	if err != nil && !f.failed {
		f.log.Warn("the counts of connections cannot be kept for the next start (is the state directory there, writable and not full?)", "error", err)
	}
	f.failed = err != nil
	return err
}
