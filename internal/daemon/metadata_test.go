package daemon

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"natd/internal/imds"
)

// source is a metadata that asks the test, in the time of a bubble. Outside of pass its fields are the test's.
type source struct {
	*metadata
	turn  atomic.Int64 // hands the fields over: time that goes by in a bubble does not
	tells func(context.Context) (*imds.Identity, error)
	began time.Time
	asked []time.Duration // since then
	woken int             // how often the loop was
	log   bytes.Buffer
	end   func() // and wait for it
}

// simulate runs a test of a source in a bubble of its own.
func simulate(t *testing.T, test func(*testing.T, *source)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &source{began: time.Now(), tells: says("i-1")}
		s.metadata = newMetadata(slog.New(slog.NewTextHandler(&s.log, nil)), func() { s.turn.Load(); s.woken++ })
		s.identity = func(ctx context.Context) (*imds.Identity, error) {
			s.turn.Load()
			s.asked = append(s.asked, time.Since(s.began))
			return s.tells(ctx)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.run(ctx) }()
		s.end = sync.OnceFunc(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("run ends with %v", err)
			}
		})
		test(t, s)
		s.end()
	})
}

// says answers with an instance of that id.
func says(id string) func(context.Context) (*imds.Identity, error) {
	return func(context.Context) (*imds.Identity, error) { return &imds.Identity{ID: id}, nil }
}

// pass lets time go by, and everything that is due in it happen.
func (s *source) pass(d time.Duration) {
	s.turn.Add(1)
	time.Sleep(d)
	synctest.Wait()
}

func TestMetadataLearns(t *testing.T) {
	simulate(t, func(t *testing.T, s *source) {
		s.pass(time.Minute)
		if s.last() != nil || len(s.asked) > 0 {
			t.Fatal("something is known before anybody may be asked")
		}
		s.enable(true)
		s.pass(0)
		if id := s.last().identity.ID; id != "i-1" || s.woken != 1 {
			t.Errorf("it is %s, and the loop was woken %d times; want i-1 at once, and 1", id, s.woken)
		}
		s.tells = says("i-2")
		s.pass(askInterval)
		if id := s.last().identity.ID; id != "i-2" || s.woken != 2 {
			t.Errorf("after the change it is %s, and the loop was woken %d times; want i-2, and 2", id, s.woken)
		}
		asked := s.last().asked
		s.pass(askInterval)
		if !s.last().asked.After(asked) || s.woken != 2 {
			t.Errorf("nobody was asked again, or the loop was woken for the same answer (%d times)", s.woken)
		}
		s.hope(true)
		s.pass(askGap(0))
		if s.woken != 3 {
			t.Error("the answer is the same, and the loop that waits for it was not woken")
		}
		s.pass(askSoon)
		if s.woken != 4 {
			t.Errorf("the loop that hopes for another answer was not served after %v", askSoon)
		}
		s.end()
		if n := strings.Count(s.log.String(), "says what this instance is"); n != 2 {
			t.Errorf("%d reports, want one for each instance:\n%s", n, &s.log)
		}
	})
}

func TestMetadataKeepsTheLastAnswer(t *testing.T) {
	simulate(t, func(t *testing.T, s *source) {
		s.enable(true)
		s.pass(0)
		asked := s.last().asked
		s.tells = func(context.Context) (*imds.Identity, error) { return nil, errors.New("half an answer") }
		s.pass(askInterval)
		if known := s.last(); known.failure != "half an answer" || known.identity.ID != "i-1" || !known.asked.Equal(asked) {
			t.Errorf("now known: %+v, want i-1 of %v and why there is nothing newer", known, asked)
		}
		s.pass(askInterval)
		s.end()
		if n := strings.Count(s.log.String(), "level=WARN"); n != 1 {
			t.Errorf("%d warnings, want one:\n%s", n, &s.log)
		}
	})
}

func TestMetadataOff(t *testing.T) {
	simulate(t, func(t *testing.T, s *source) {
		s.enable(false)
		for range 9 { // which is no reason to be slow later
			s.poke()
			s.pass(time.Minute)
		}
		s.enable(true)
		s.pass(0)
		if s.last() == nil || len(s.asked) != 1 {
			t.Fatalf("asked at %v, want at once when that is allowed, and not before", s.asked)
		}
		s.enable(false)
		s.poke()
		s.pass(time.Hour)
		if s.last() != nil || len(s.asked) != 1 {
			t.Errorf("known: %+v, asked at %v, although it is off", s.last(), s.asked)
		}
	})
}

// TestMetadataStopsAtOnce ends natd, or switches off, while nobody answers.
func TestMetadataStopsAtOnce(t *testing.T) {
	for name, stop := range map[string]func(*source){
		"stop": func(*source) {}, "off": func(s *source) { s.enable(false) },
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(t *testing.T, s *source) {
				s.tells = func(ctx context.Context) (*imds.Identity, error) { <-ctx.Done(); return nil, ctx.Err() }
				s.enable(true)
				s.pass(0)
				stop(s)
				s.end()
				if s.failing || s.last() != nil || len(s.asked) != 1 || time.Since(s.began) > 0 {
					t.Errorf("it took %v, or the end counts as a failure of the service", time.Since(s.began))
				}
			})
		})
	}
}

// TestMetadataPace wants a host that changes all the time to be no reason for a stream of questions, and one that is calm
// again to be answered at once.
func TestMetadataPace(t *testing.T) {
	simulate(t, func(t *testing.T, s *source) {
		s.enable(true)
		for range 1000 {
			s.poke()
			s.pass(100 * time.Millisecond)
		}
		want := []time.Duration{0, time.Second, 11 * time.Second, 41 * time.Second, 71 * time.Second}
		if !slices.Equal(s.asked, want) {
			t.Errorf("while the host changes all the time AWS is asked at %v, want %v", s.asked, want)
		}
		s.pass(3 * askInterval)
		calm, now := len(s.asked), time.Since(s.began)
		s.poke()
		s.pass(0)
		s.poke()
		s.pass(2 * time.Second)
		if want := []time.Duration{now, now + time.Second}; !slices.Equal(s.asked[calm:], want) {
			t.Errorf("after a time of calm AWS is asked at %v, want %v", s.asked[calm:], want)
		}
	})
}

// TestMetadataPaceEager wants a loop that hopes to be served every few seconds, and no more often for all the changes.
func TestMetadataPaceEager(t *testing.T) {
	simulate(t, func(t *testing.T, s *source) {
		s.enable(true)
		s.hope(true)
		for range 300 {
			s.poke()
			s.pass(100 * time.Millisecond)
		}
		for i := 2; i < len(s.asked); i++ {
			if gap := s.asked[i] - s.asked[i-1]; gap != askSoon {
				t.Errorf("AWS is asked at %v, want every %v after the first two", s.asked, askSoon)
				break
			}
		}
	})
}

func TestMetadataBacksOff(t *testing.T) {
	t.Parallel()
	m := newMetadata(slog.New(slog.DiscardHandler), func() {})
	var pauses []time.Duration
	for range 9 {
		pause, _ := m.fail(imds.ErrNoService)
		pauses = append(pauses, pause)
	}
	if pauses[0] != askSoon || pauses[1] != 2*askSoon || pauses[8] != askLongest {
		t.Errorf("the pauses are %v", pauses)
	}
	if next, _ := m.learn(&answer{identity: &imds.Identity{}}); next != askInterval {
		t.Errorf("after an answer the next question is in %v, want %v", next, askInterval)
	}
	if pause, _ := m.fail(imds.ErrNoService); pause != askSoon {
		t.Errorf("after an answer the first pause is %v, want %v", pause, askSoon)
	}
	m.eager.Store(true)
	if next, _ := m.learn(&answer{identity: &imds.Identity{}}); next != askSoon {
		t.Errorf("for a loop that hopes the next question is in %v, want %v", next, askSoon)
	}
}

// watched is a log, and a loop, that want the lock to be free while they are told something.
type watched struct {
	*metadata
	told, locked int
}

func (w *watched) Write(text []byte) (int, error) {
	w.look()
	return len(text), nil
}

func (w *watched) look() {
	w.told++
	if !w.mu.TryLock() {
		w.locked++
		return
	}
	w.mu.Unlock()
}

// TestMetadataTellsUnlocked: a log that takes its time must not hold up the loop, which takes the same lock.
func TestMetadataTellsUnlocked(t *testing.T) {
	t.Parallel()
	w := new(watched)
	w.metadata = newMetadata(slog.New(slog.NewTextHandler(w, nil)), w.look)
	w.enable(true)
	w.identity = says("i-1")
	w.ask(t.Context())
	w.identity = func(context.Context) (*imds.Identity, error) { return nil, errors.New("half an answer") }
	w.ask(t.Context())
	if w.told != 3 || w.locked > 0 {
		t.Errorf("told %d times, %d of them with the lock held; want 3, and none", w.told, w.locked)
	}
}
