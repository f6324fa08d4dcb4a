package probe

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"natd/internal/durable"
)

const (
	storeVersion = 1
	// maxStore bounds what is read, in bytes: 30,000 names of the greatest length with ten addresses each.
	maxStore = 32 << 20
	// keepFor is how long the answer to a name that is not followed any more is kept, for the case that it comes back.
	keepFor = 7 * 24 * time.Hour
	// savePause is from one writing to the next.
	savePause = time.Second
	// longestSavePause is that after many writings that failed.
	longestSavePause = 5 * time.Minute
	// maxHost is the greatest length of a name (RFC 1035, 2.3.4).
	maxHost = 255
)

// store is the file of the last good answers. What goes wrong with it is logged and costs no more than a restart without
// a resolver: it is no reason to stop.
type store struct {
	path string
	log  *slog.Logger
}

// storeJSON is the file.
type storeJSON struct {
	Version int     `json:"version"`
	Names   []saved `json:"names"`
}

// saved is the last good answer to a name, as it stands in the file.
type saved struct {
	Host    string       `json:"host"`
	Family  Family       `json:"family"`
	Addrs   []netip.Addr `json:"addresses"`
	Changed time.Time    `json:"changed"`
	Used    time.Time    `json:"used"` // when the name was last followed
}

// expired tells whether an answer was used too long ago. One of the future is as old as the clock was wrong, which nobody
// knows.
func (s saved) expired(now time.Time) bool { return now.Sub(s.Used) > keepFor }

// load reads the answers. What cannot be used is left out.
func (s store) load(now time.Time) map[Name]saved {
	answers := map[Name]saved{}
	if s.path == "" {
		return answers
	}
	stored, err := s.read()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.log.Warn("the last good answers of names cannot be read; natd starts without them", "file", s.path, "error", err)
	}
	ignored := 0
	for _, a := range stored {
		a.Addrs = usable(a.Addrs, a.Family)
		switch {
		case a.Host == "" || len(a.Host) > maxHost || len(a.Addrs) == 0:
			ignored++
		case !a.expired(now):
			answers[Name{a.Host, a.Family}] = a
		}
	}
	if ignored > 0 {
		s.log.Warn("some of the last good answers of names make no sense and are not used", "file", s.path, "answers", ignored)
	}
	return answers
}

func (s store) read() ([]saved, error) {
	file, err := os.Open(s.path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxStore+1))
	if err != nil {
		return nil, err
	}
	if len(content) > maxStore {
		return nil, fmt.Errorf("it is longer than %d bytes", maxStore)
	}
	var stored storeJSON
	if err := json.Unmarshal(content, &stored); err != nil {
		return nil, err
	}
	if stored.Version != storeVersion {
		return nil, fmt.Errorf("it has version %d, this natd knows %d", stored.Version, storeVersion)
	}
	return stored.Names, nil
}

// save writes the answers, and tells whether they are on disk.
func (s store) save(answers map[Name]saved) bool {
	if s.path == "" {
		return true
	}
	sorted := slices.SortedFunc(maps.Values(answers), func(a, b saved) int {
		if c := strings.Compare(a.Host, b.Host); c != 0 {
			return c
		}
		return int(a.Family) - int(b.Family)
	})
	content, err := json.Marshal(storeJSON{Version: storeVersion, Names: sorted})
	if err == nil {
		err = durable.Replace(s.path, append(content, '\n'))
	}
	if err != nil {
		s.log.Warn("the last good answers of names cannot be kept for the next start "+
			"(is the state directory there, writable and not full?)", "file", s.path, "error", err)
	}
	return err == nil
}
