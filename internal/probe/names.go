package probe

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Name is a host whose addresses are followed, in one family. The Host is in lower case and without the last dot.
type Name struct {
	Host   string
	Family Family
}

// Answer is what is known of a name.
type Answer struct {
	Addrs   []netip.Addr // in use: the last good answer that was followed, ascending, at most 256; none until there was one
	Asked   time.Time    // when the name was last asked for, with or without success; zero = not yet
	Changed time.Time    // when Addrs became what they are, perhaps before natd was started
	Error   string       // why the last question has no good answer, for people; "" when it has

	Answered time.Time // when the last good answer came; zero = none since natd was started
	Failures uint64    // questions without a good answer
}

// Options are what Names works with.
type Options struct {
	Log        *slog.Logger
	Resolver   netip.AddrPort        // the only server to ask; the zero AddrPort leaves it to ResolvConf
	ResolvConf string                // the path of resolv.conf(5)
	Here       func(netip.Addr) bool // tells which addresses lead to this host: nothing is to be relayed there; nil = none does
	Store      string                // the file that keeps the last good answers; "" = none
	Changed    func()                // called when an address or the error of a name changed; must not block
}

// How often names are asked for. The load on the resolver is bounded by construction: Amazon's takes 1,024 packets a second
// from a network interface ("Amazon DNS quotas"), and the host has other needs.
const (
	questionsAtATime = 64
	questionPace     = 2 * time.Millisecond // from one question to the next: 500 a second

	// A time to live is heeded within these bounds. Below a second nobody means it; and a name that is told to live for a
	// day, but is moved in an emergency, is followed within minutes for a question each five.
	leastTTL = time.Second
	mostTTL  = 5 * time.Minute
	// late is by how much a name may be asked for after its time, at random. Not before it: a cache gives its old answer
	// once more.
	late = 250 * time.Millisecond

	firstRetry   = time.Second
	longestRetry = 30 * time.Second
	recheckPause = time.Second // between questions that Recheck asks for
)

// Names follows DNS names.
type Names struct {
	log      *slog.Logger
	changed  func()
	resolver *resolver
	lookup   func(ctx context.Context, host string, f Family) (found, error) // the resolver's
	here     func(netip.Addr) bool
	store    store
	agenda   *agenda
	unsaved  chan struct{} // a token: what the store holds is old

	mu      sync.Mutex
	names   map[Name]*followed
	shelf   map[Name]saved  // the last good answers to names that are not followed at present
	learned map[Name]Answer // of names that the next Set may follow
}

// followed is a name at work.
type followed struct {
	name     Name
	job      *job
	answer   Answer // all but Addrs
	answers  following
	failures int // in a row
}

// NewNames makes a Names that knows what the store holds.
func NewNames(o Options) *Names {
	n := &Names{
		log: o.Log, changed: o.Changed,
		resolver: &resolver{path: o.ResolvConf, fixed: o.Resolver, dial: new(net.Dialer).DialContext},
		here:     o.Here,
		store:    store{path: o.Store, log: o.Log},
		agenda:   newAgenda(questionsAtATime, questionPace),
		unsaved:  make(chan struct{}, 1),
		names:    map[Name]*followed{},
	}
	n.lookup = n.resolver.lookup
	n.shelf = n.store.load(time.Now())
	return n
}

// Set replaces the names that are followed. A name that stays keeps its answer, one that comes back has its last good one.
func (n *Names) Set(names []Name) {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	stay := make(map[Name]bool, len(names))
	for _, name := range names {
		stay[name] = true
		if e := n.names[name]; e != nil {
			if a, ok := n.learned[name]; ok && len(e.answers.addrs) == 0 {
				e.begin(a)
			}
			continue
		}
		e := &followed{name: name}
		e.begin(n.known(name))
		delete(n.shelf, name)
		e.job = n.agenda.add(now, func(ctx context.Context) time.Time { return n.ask(ctx, e) })
		n.names[name] = e
	}
	for name, e := range n.names {
		if stay[name] {
			continue
		}
		n.agenda.drop(e.job)
		delete(n.names, name)
		if len(e.answers.addrs) > 0 {
			n.shelf[name] = e.saved(now)
		}
	}
	n.learned = nil
	n.toSave()
}

// known is what is known of a name that is not followed: the addresses that it just had, or else those of its last good answer.
func (n *Names) known(name Name) Answer {
	a := n.learned[name]
	if last, ok := n.shelf[name]; ok && len(a.Addrs) == 0 {
		a.Addrs, a.Changed = last.Addrs, last.Changed
	}
	return a
}

// Learn takes answers of [Resolve], of names that the next Set may follow.
func (n *Names) Learn(answers map[Name]Answer) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.learned = answers
}

// SetResolver makes this the only server to ask; the zero AddrPort leaves it to resolv.conf. When that is another one than
// before, it is asked for every name at once: a name may be in a long pause, or come to one, because the other did not answer.
func (n *Names) SetResolver(server netip.AddrPort) {
	if !n.resolver.use(server) {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, e := range n.names {
		n.agenda.renew(e.job)
	}
}

// Answer is what is known of a name. Of one that is not followed, that is its last good answer and what Learn was told.
func (n *Names) Answer(name Name) Answer {
	n.mu.Lock()
	defer n.mu.Unlock()
	e := n.names[name]
	if e == nil {
		return n.known(name)
	}
	a := e.answer
	a.Addrs = slices.Clone(e.answers.addrs)
	return a
}

// Recheck asks for a name at once, for the case that a backend does not answer where the name was. It may be called often:
// questions are at least a second apart.
func (n *Names) Recheck(name Name) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if e := n.names[name]; e != nil {
		n.agenda.hasten(e.job, e.answer.Asked.Add(recheckPause))
	}
}

// Run asks, and keeps the store up to date, until ctx ends. It may be called once.
func (n *Names) Run(ctx context.Context) error {
	var writer sync.WaitGroup
	writer.Go(func() { n.keepSaved(ctx) })
	n.agenda.run(ctx)
	writer.Wait()
	select {
	case <-n.unsaved:
		n.store.save(n.snapshot(time.Now()))
	default:
	}
	return nil
}

// ask asks for a name once and returns when to do so again.
func (n *Names) ask(ctx context.Context, e *followed) time.Time {
	began := time.Now()
	got, err := n.lookup(ctx, e.name.Host, e.name.Family)
	if err == nil && n.here != nil {
		got, err = got.without(n.here)
	}
	now := time.Now()
	if ctx.Err() != nil {
		return now // the end of natd is no failure of the resolver
	}
	next, changed := n.take(e, got, err, began, now)
	if changed {
		n.changed()
	}
	return next
}

// take takes the end of a question.
func (n *Names) take(e *followed, got found, err error, began, now time.Time) (next time.Time, changed bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	failure, before := e.answer.Error, e.answers.addrs
	e.answer.Asked = began
	if err != nil {
		e.answer.Error = err.Error()
		e.answer.Failures++
		next = now.Add(backOff(e.failures))
		e.failures++
	} else {
		e.answer.Error, e.answer.Answered, e.failures = "", now, 0
		var again time.Time
		changed, again = e.answers.hear(got.addrs, now)
		next = now.Add(min(max(got.ttl, leastTTL), mostTTL) + rand.N(late))
		if !again.IsZero() && again.Before(next) {
			next = again
		}
	}
	if changed {
		e.answer.Changed = now
	}
	if n.names[e.name] != e {
		return next, false
	}
	n.report(e, before, changed, failure != "")
	return next, changed || failure != e.answer.Error
}

// report logs what changed, and has it kept.
func (n *Names) report(e *followed, before []netip.Addr, changed, failing bool) {
	log := n.log.With("name", e.name.Host, "family", e.name.Family.String())
	switch {
	case e.answer.Error != "" && !failing && len(before) == 0:
		log.Info("a name is not resolved, and has never been", "error", e.answer.Error) // if that matters, a relay says so
	case e.answer.Error != "" && !failing:
		log.Warn("a name is not resolved; its last good answer stays in use", "error", e.answer.Error, "addresses", some(before))
	case e.answer.Error == "" && failing:
		log.Info("a name is resolved again", "addresses", some(e.answers.addrs))
	}
	if changed {
		log.Info("the addresses of a name changed", "before", some(before), "addresses", some(e.answers.addrs))
		n.toSave()
	}
}

// some is a set for the log: a line holds as many addresses as a person looks at.
func some(addrs []netip.Addr) string {
	const most = 8
	if len(addrs) <= most {
		return fmt.Sprint(addrs)
	}
	return fmt.Sprintf("%v and %d more", addrs[:most], len(addrs)-most)
}

// backOff is the pause after so many failures before this one, up to a quarter shorter at random.
func backOff(failures int) time.Duration {
	pause := longestRetry
	if doubled := firstRetry << min(failures, 16); doubled < longestRetry {
		pause = doubled
	}
	return pause - rand.N(pause/4)
}

func (n *Names) toSave() {
	select {
	case n.unsaved <- struct{}{}:
	default: // there is a token already
	}
}

// keepSaved writes the store when there is something new, and not more often than savePause. What could not be written is tried
// again: a disk does not stay full for ever.
func (n *Names) keepSaved(ctx context.Context) {
	for pause := savePause; ; {
		select {
		case <-n.unsaved:
		case <-ctx.Done():
			return
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		if n.store.save(n.snapshot(time.Now())) {
			pause = savePause
			continue
		}
		pause = min(2*pause, longestSavePause)
		n.toSave()
	}
}

// snapshot is all good answers, those of names that were followed not too long ago included.
func (n *Names) snapshot(now time.Time) map[Name]saved {
	n.mu.Lock()
	defer n.mu.Unlock()
	maps.DeleteFunc(n.shelf, func(_ Name, s saved) bool { return s.expired(now) })
	all := maps.Clone(n.shelf)
	for name, e := range n.names {
		if len(e.answers.addrs) > 0 {
			all[name] = e.saved(now)
		}
	}
	return all
}

// begin takes what is known of a name that has no addresses yet.
func (e *followed) begin(a Answer) {
	e.answers.addrs, a.Addrs = a.Addrs, nil
	e.answer = a
}

func (e *followed) saved(now time.Time) saved {
	return saved{Host: e.name.Host, Family: e.name.Family, Addrs: e.answers.addrs, Changed: e.answer.Changed, Used: now}
}
