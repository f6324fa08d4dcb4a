package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"natd/internal/imds"
)

// Times between two questions to the instance metadata service. A question is about twenty requests for each network
// interface, in one connection; an interface may send 1024 packets a second to all link-local services together, DNS and NTP among
// them (Amazon VPC User Guide, "Understanding Amazon DNS": DNS quotas).
const (
	askInterval = time.Minute // what AWS changes without a trace on the host: addresses assigned, associations
	askSoon     = 5 * time.Second
	askLongest  = 5 * time.Minute
)

// askGap is the least time from a question to the next one that a change on the host calls for: short, so that a burst of changes
// is one question, and longer when questions of that kind follow each other without a time of calm.
func askGap(changes int) time.Duration {
	switch changes {
	case 0, 1:
		return time.Second
	case 2:
		return 10 * time.Second
	default:
		return 30 * time.Second
	}
}

// metadata asks the instance metadata service in the background and keeps the last good answer. Nothing waits for it: the
// loop takes what is known when it makes a pass.
type metadata struct {
	identity func(context.Context) (*imds.Identity, error) // of run alone
	log      *slog.Logger
	changed  func() // wakes the loop
	wake     chan struct{}
	eager    atomic.Bool // the loop hopes for another answer than the last one

	mu      sync.Mutex
	on      bool
	cancel  context.CancelFunc // ends the question under way; nil when there is none
	known   *answer
	failing bool
	retry   time.Duration // the pause after the next failure
}

// answer is what the service said last. It is never changed, only replaced.
type answer struct {
	identity *imds.Identity
	asked    time.Time // when the question began: the answer is no older
	failure  string    // why there is no newer one; "" while there is no need for one
}

func newMetadata(log *slog.Logger, changed func()) *metadata {
	return &metadata{identity: imds.New().Identity, log: log, changed: changed, wake: make(chan struct{}, 1), retry: askSoon}
}

// enable follows the configuration. What is known goes when it is switched off.
func (m *metadata) enable(on bool) {
	m.mu.Lock()
	same, told := m.on == on, m.known != nil
	if !same {
		m.on, m.known, m.failing, m.retry = on, nil, false, askSoon
		if m.cancel != nil {
			m.cancel()
		}
	}
	m.mu.Unlock()
	if !same && told {
		m.changed() // what was known has shaped what was decided
	}
	if !same {
		m.poke()
	}
}

// poke asks for a question soon, unless that is switched off. It never blocks.
func (m *metadata) poke() {
	m.mu.Lock()
	on := m.on
	m.mu.Unlock()
	if !on {
		return
	}
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// hope notes whether another answer than the last one could heal a relay. What is said against a relay for the first time is
// worth a question at once: the last answer may be a minute old.
func (m *metadata) hope(eager bool) {
	if !m.eager.Swap(eager) && eager {
		m.poke()
	}
}

// last is the last good answer; nil when there is none.
func (m *metadata) last() *answer {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.known
}

// run asks until ctx ends. The first question is that of whoever enables it.
func (m *metadata) run(ctx context.Context) error {
	next := time.NewTimer(askLongest)
	defer next.Stop()
	gap := time.NewTimer(0)
	defer gap.Stop()
	var wake chan struct{} // nil until the gap is over
	for changes := 0; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-gap.C:
			wake = m.wake
			continue
		case <-wake:
			changes++
		case <-next.C:
			select {
			case <-m.wake:
				changes++
			default:
				changes = 0 // the host is calm
			}
		}
		next.Reset(m.ask(ctx))
		gap.Reset(askGap(changes))
		wake = nil
	}
}

// ask puts one question, unless that is switched off, and tells when to put the next.
func (m *metadata) ask(ctx context.Context) time.Duration {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m.mu.Lock()
	on := m.on
	m.cancel = cancel
	m.mu.Unlock()
	if !on {
		return askLongest
	}
	asked := time.Now()
	identity, err := m.identity(ctx)
	next, tell := m.conclude(ctx, &answer{identity: identity, asked: asked}, err)
	tell() // without the lock: the loop takes it, and a log may block
	return next
}

// conclude notes what came of a question. It returns when to put the next, and whom to tell what.
func (m *metadata) conclude(ctx context.Context, a *answer, err error) (next time.Duration, tell func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cancel = nil
	switch {
	case ctx.Err() != nil: // natd stops, or was told not to ask
		return askLongest, func() {}
	case err != nil:
		return m.fail(err)
	}
	return m.learn(a)
}

// fail keeps what is known, and notes that it grows old.
func (m *metadata) fail(err error) (next time.Duration, tell func()) {
	tell = func() {}
	if !m.failing {
		level := slog.LevelWarn
		if m.known == nil && errors.Is(err, imds.ErrNoService) {
			level = slog.LevelDebug // most machines are none of Amazon's
		}
		tell = func() {
			m.log.Log(context.Background(), level, "the instance metadata service does not answer as it should", "error", err)
		}
	}
	m.failing = true
	if m.known != nil {
		m.known = &answer{m.known.identity, m.known.asked, err.Error()}
	}
	next = m.retry
	m.retry = min(2*m.retry, askLongest)
	return next, tell
}

// learn replaces what is known, and wakes the loop if that makes a difference to it.
func (m *metadata) learn(a *answer) (next time.Duration, tell func()) {
	m.failing, m.retry = false, askSoon
	news, eager := m.known == nil || !m.known.identity.Equal(a.identity), m.eager.Load()
	m.known = a
	tell = func() {
		if news || eager {
			m.changed()
		}
		if news {
			m.report(a.identity)
		}
	}
	if eager {
		return askSoon, tell
	}
	return askInterval, tell
}

// report logs what natd runs on.
func (m *metadata) report(id *imds.Identity) {
	var interfaces []string
	for i := range id.Interfaces {
		eni := &id.Interfaces[i]
		interfaces = append(interfaces, fmt.Sprintf("%s in %s of %s: %s", eni.ID, eni.Subnet, eni.VPC, strings.Join(texts(eni.Addrs), " ")))
	}
	m.log.Info("the instance metadata service says what this instance is", "id", id.ID, "type", id.Type, "account", id.Account,
		"region", id.Region, "zone", id.Zone, "zone_id", id.ZoneID, "interfaces", strings.Join(interfaces, "; "))
}
