package daemon

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"natd/internal/imds"
	standin "natd/internal/lab/imds"
)

// source is a metadata that asks a stand-in.
type source struct {
	*metadata
	t       *testing.T
	service *standin.Service
	tells   atomic.Pointer[standin.Instance]
	news    chan struct{} // a value for every time that the loop is woken
	log     bytes.Buffer  // to be read after the end
	end     func()        // and wait for it
}

func newSource(t *testing.T, service *standin.Service) *source {
	t.Helper()
	s := &source{t: t, service: service, news: make(chan struct{}, 100)}
	s.tells.Store(&standin.Instance{ID: "i-1"})
	service.Source = func() (*standin.Instance, error) { return s.tells.Load(), nil }
	server := httptest.NewServer(service)
	t.Cleanup(server.Close)
	s.metadata = newMetadata(slog.New(slog.NewTextHandler(&s.log, nil)), func() { s.news <- struct{}{} })
	s.client = imds.New(server.URL)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.run(ctx) }()
	ended := false
	s.end = func() {
		if cancel(); !ended {
			ended = true
			if err := <-done; err != nil {
				t.Errorf("run ends with %v", err)
			}
		}
	}
	t.Cleanup(s.end)
	return s
}

// await waits until the loop is woken.
func (s *source) await() {
	s.t.Helper()
	select {
	case <-s.news:
	case <-time.After(patience):
		s.t.Fatal("the loop is not woken")
	}
}

// eventually waits until the condition holds.
func eventually(t *testing.T, cond func() error) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		err := cond()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func TestMetadataLearns(t *testing.T) {
	t.Parallel()
	s := newSource(t, new(standin.Service))
	if s.last() != nil {
		t.Fatal("something is known before anybody was asked")
	}
	s.enable(true)
	s.await()
	if id := s.last().identity.ID; id != "i-1" {
		t.Errorf("it is %s, want i-1", id)
	}
	s.tells.Store(&standin.Instance{ID: "i-2"})
	s.poke()
	s.await()
	if id := s.last().identity.ID; id != "i-2" {
		t.Errorf("after the change it is %s, want i-2", id)
	}
	asked := s.last().asked
	s.poke()
	eventually(t, func() error {
		if !s.last().asked.After(asked) {
			return errors.New("nobody was asked again")
		}
		return nil
	})
	if len(s.news) > 0 {
		t.Error("the loop was woken for the same answer")
	}
	s.eager.Store(true)
	s.poke()
	s.await() // the answer is the same, and the loop waits for it
	s.end()
	if n := strings.Count(s.log.String(), "says what this instance is"); n != 2 {
		t.Errorf("%d reports, want one for each instance:\n%s", n, &s.log)
	}
}

func TestMetadataKeepsTheLastAnswer(t *testing.T) {
	t.Parallel()
	s := newSource(t, new(standin.Service))
	s.enable(true)
	s.await()
	asked := s.last().asked
	s.tells.Store(new(standin.Instance)) // without an id it is no instance
	s.poke()
	eventually(t, func() error {
		if s.last().failure == "" {
			return errors.New("the failure is not noted")
		}
		return nil
	})
	if known := s.last(); known.identity.ID != "i-1" || !known.asked.Equal(asked) {
		t.Errorf("now known: %+v, want i-1 of %v", known, asked)
	}
	s.end()
	if n := strings.Count(s.log.String(), "level=WARN"); n != 1 {
		t.Errorf("%d warnings, want one:\n%s", n, &s.log)
	}
}

func TestMetadataOff(t *testing.T) {
	t.Parallel()
	requests := new(counter)
	s := newSource(t, &standin.Service{Log: requests})
	s.enable(false)
	for range 3 {
		s.poke()
	}
	s.enable(true)
	s.await()
	s.enable(false)
	if s.last() != nil {
		t.Error("what was known is not forgotten")
	}
	before := requests.Load()
	s.poke()
	eventually(t, func() error { // the token is taken, and the question that it stands for is not put
		if len(s.wake) > 0 {
			return errors.New("still waiting")
		}
		return nil
	})
	s.end()
	if n := requests.Load() - before; n != 0 {
		t.Errorf("%d requests although it is off", n)
	}
}

// counter counts writes.
type counter struct{ atomic.Int64 }

func (c *counter) Write(line []byte) (int, error) {
	c.Add(1)
	return len(line), nil
}

// TestMetadataStopsAtOnce ends natd, or switches off, while nobody answers.
func TestMetadataStopsAtOnce(t *testing.T) {
	t.Parallel()
	for name, stop := range map[string]func(*source){
		"stop": func(*source) {}, "off": func(s *source) { s.enable(false) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			requests := new(counter)
			s := newSource(t, &standin.Service{Silent: true, Log: requests})
			s.enable(true)
			eventually(t, func() error {
				if requests.Load() < 2 { // for the token, and one that nobody answers
					return errors.New("nobody was asked yet")
				}
				return nil
			})
			stop(s)
			s.end()
			if s.failing || s.last() != nil {
				t.Error("the end counts as a failure of the service")
			}
		})
	}
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
	s := new(standin.Service)
	tells := &standin.Instance{ID: "i-1"}
	s.Source = func() (*standin.Instance, error) { return tells, nil }
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	w := new(watched)
	w.metadata = newMetadata(slog.New(slog.NewTextHandler(w, nil)), w.look)
	w.client = imds.New(server.URL)
	w.enable(true)
	w.ask(t.Context())
	tells = new(standin.Instance)
	w.ask(t.Context())
	if w.told != 3 || w.locked > 0 {
		t.Errorf("told %d times, %d of them with the lock held; want 3, and none", w.told, w.locked)
	}
}
