package nat

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"natd/internal/lab"
)

// patience is how long tests wait for what should come at once.
const patience = 10 * time.Second

// heard collects what a Watcher reports.
type heard struct {
	mu      sync.Mutex
	changes []Change
	seen    int
}

func (h *heard) add(c Change) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.changes = append(h.changes, c)
}

func (h *heard) all() []Change {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.changes)
}

// next waits for the next report.
func (h *heard) next(t *testing.T) (c Change) {
	t.Helper()
	lab.Eventually(t, patience, func() error {
		all := h.all()
		if len(all) == h.seen {
			return fmt.Errorf("no report after the first %d", h.seen)
		}
		c = all[h.seen]
		return nil
	})
	h.seen++
	return c
}

func (m *machine) newWatcher(own uint32) *Watcher {
	m.t.Helper()
	var w *Watcher
	lab.Check(m.t, m.host.Do(func() (err error) {
		w, err = NewWatcher(own)
		return err
	}))
	return w
}

// watch runs a Watcher until the test ends.
func (m *machine) watch(own uint32) *heard {
	m.t.Helper()
	h := new(heard)
	m.run(m.newWatcher(own), h)
	return h
}

func (m *machine) run(w *Watcher, h *heard) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx, h.add) }()
	m.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			m.t.Errorf("Run: %v", err)
		}
		if err := w.Close(); err != nil {
			m.t.Error(err)
		}
	})
}

func TestWatcherNamesTheWriter(t *testing.T) {
	t.Parallel()
	m := newMachine(t, ProtectOff)
	h := m.watch(m.Port())
	for _, args := range [][]string{{"add", "table", "inet", "natd"}, {"flush", "ruleset"}, {"add", "table", "ip", "other"}} {
		nft := m.host.Command(t.Context(), "nft", args...)
		lab.Check(t, nft.Run())
		if w := h.next(t).Writer; w.Name != "nft" || w.PID != nft.Process.Pid {
			t.Errorf("nft %v, process %d, was reported as %v", args, nft.Process.Pid, w)
		}
	}
}

// A change that is said to be elsewhere has left natd's tables alone, whatever it is; and each has its generation.
func TestWatcherTellsWhatIsElsewhere(t *testing.T) {
	t.Parallel()
	m := newMachine(t, ProtectGuard)
	m.bring(build(web()))
	h := m.watch(0)
	const other = "add table inet other; add set inet other s { type ipv4_addr; }; "
	for _, tt := range []struct {
		script    string
		elsewhere bool
	}{
		{other, true},
		{"add element inet other s { 192.0.2.1, 192.0.2.2 }", true},
		{"add table ip natd2; add chain inet other natd; delete table ip natd2", true},
		{other + "delete element inet natd listens4 { 10.2.0.100 . tcp . 80 }", false},
		{"add element inet natd listens4 { 10.2.0.100 . tcp . 81 }; " + other, false},
		{"add chain inet natd forward { policy accept; }", false},
		{"insert rule inet natd forward drop", false},
		{"flush map inet natd snat4", false},
		{"flush chain inet natd forward", false},
		{"flush table inet natd", false},
		{"flush ruleset", false},
		{other, true},
	} {
		m.nft(tt.script)
		c := h.next(t)
		if generation, err := m.Generation(); err != nil || c.Generation != generation || c.Elsewhere != tt.elsewhere || c.Touched == tt.elsewhere {
			t.Errorf("%s: reported is %+v at generation %d, want elsewhere %t", tt.script, c, generation, tt.elsewhere)
		}
	}
}

// Natd's own changes are not reported, also those of a hundred elements, which come with a notification for each.
func TestWatcherIsSilentAboutNatd(t *testing.T) {
	t.Parallel()
	m := newMachine(t, ProtectOff)
	h := m.watch(m.Port())
	m.bring(build(web(width(100))))
	m.bring(nil)
	m.nft("add table inet last")
	if w := h.next(t).Writer; w.Name != "nft" {
		t.Errorf("the first report is of %v", w)
	}
}

// What happens during a pause is not told; what comes after it is.
func TestWatcherPauses(t *testing.T) {
	t.Parallel()
	m := newMachine(t, ProtectOff)
	w, h := m.newWatcher(m.Port()), new(heard)
	m.run(w, h)
	lab.Check(t, w.Pause())
	m.nft("add table inet meanwhile")
	lab.Check(t, w.Resume())
	m.nft("add table inet last")
	c := h.next(t)
	if generation, err := m.Generation(); err != nil || c.Generation != generation || c.Writer.Name != "nft" {
		t.Errorf("the first report is %+v at generation %d", c, generation)
	}
}

// Another socket of the same process is not natd's: who opened it does not tell who writes.
func TestWatcherReportsTheSameProcess(t *testing.T) {
	t.Parallel()
	m := newMachine(t, ProtectOff)
	h := m.watch(m.Port())
	lab.Check(t, m.open().make("other"))
	if w, want := h.next(t).Writer, filepath.Base(os.Args[0]); w.Name != want || w.PID == 0 {
		t.Errorf("reported is %v, want %s", w, want)
	}
}

// When the kernel had to drop notifications, that is reported as a change by nobody, and the watch goes on.
func TestWatcherSurvivesLoss(t *testing.T) {
	t.Parallel()
	m := newMachine(t, ProtectOff)
	w := m.newWatcher(m.Port())
	flood := m.open()
	for range 3000 { // of which each takes about a kilobyte of the watcher's two megabytes
		lab.Check(t, flood.make("flood"))
	}
	h := new(heard)
	m.run(w, h)
	lab.Eventually(t, patience, func() error {
		if slices.Contains(h.all(), Change{}) {
			return nil
		}
		return fmt.Errorf("among %d reports none of a loss", len(h.all()))
	})
	for _, c := range h.all() { // each may be what is left of a change whose beginning was dropped
		if c.Elsewhere || c.Touched {
			t.Errorf("of %+v a part may be lost, and it is said where it was", c)
			break
		}
	}
	m.nft("add table inet last")
	lab.Eventually(t, patience, func() error {
		if all := h.all(); all[len(all)-1].Writer.Name != "nft" {
			return fmt.Errorf("the last of %d reports is of %v", len(all), all[len(all)-1])
		}
		return nil
	})
	h.seen = len(h.all())
	m.nft("add table inet more")
	if c := h.next(t); !c.Elsewhere {
		t.Errorf("after the loss, of a whole change is reported %+v", c)
	}
}

func TestWatcherEndsWithItsContext(t *testing.T) {
	t.Parallel()
	m := newMachine(t, ProtectOff)
	w := m.newWatcher(m.Port())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.Run(ctx, func(Change) {}); err != nil {
		t.Errorf("Run with an ended context: %v", err)
	}
	lab.Check(t, w.Close())
}
