package flow

import (
	"net/netip"
	"time"
)

// Totals is what was counted of connections that belong together. None of it ever falls.
type Totals struct {
	Begun      uint64
	Refused    uint64 // by the target: see Entry.Refused
	Unanswered uint64 // ended without an answer of the target
	ToTarget   Volume
	ToClient   Volume
}

// Tally is the totals of one owner; of a relay, those of one target.
type Tally struct {
	Owner  Owner
	Target netip.AddrPort // of a relay only
	Totals
}

// tallied is what has a Tally of its own.
type tallied struct {
	owner  Owner
	target netip.AddrPort
}

// Meter counts every connection of natd's once, and what it carries to the byte. It is told of the connections that end by their
// events, and of the others by dumps of the table; both say what a connection has carried since it began. It knows what it has
// counted of each that lives, so that neither a dump more nor an event less makes a difference in the end.
//
// It is for one goroutine, which tells it of all events that have arrived before a dump, and of none during one: a connection whose
// end was told already would begin again. What ends during a dump is in it or not, and its event comes behind it.
type Meter struct {
	// Owner finds what a connection belongs to. It belongs to that for good.
	Owner func(*Entry) Owner
	// Timeouts is what the sysctls say now.
	Timeouts *Timeouts
	// Sink takes samples; nil for none.
	Sink Sink

	live    map[key]*known
	repeats repeats
	tallies []Tally
	places  map[tallied]uint32
	since   time.Time // the beginning of all that was counted
	lost    uint64
	dumps   uint64
	version uint64
	began   time.Time // of this Meter
	window  time.Time // when it began
	lossy   bool      // events were lost in it
	looked  bool      // there was a dump: what is new since then has begun since then

	changed        []key    // connections, since the Meter was saved
	changedTallies []uint32 // likewise, by their positions
	isChanged      []bool   // for each tally

	met      known  // room for a connection that is met for the first time: most are met when they end
	sampling Sample // likewise for what the sink gets
}

// NewMeter begins to count.
func NewMeter(owner func(*Entry) Owner, now time.Time) *Meter {
	return &Meter{
		Owner: owner, live: make(map[key]*known), places: make(map[tallied]uint32),
		repeats: newRepeats(), since: now, began: now, window: now, Timeouts: new(Timeouts),
	}
}

// Tallies is what was counted. It is the Meter's own: copy what has to last.
func (m *Meter) Tallies() []Tally { return m.tallies }

// Since is when the counts began, also when that was in the life of an earlier natd.
func (m *Meter) Since() time.Time { return m.since }

// Version changes with everything that is counted.
func (m *Meter) Version() uint64 { return m.version }

// Losses is how many times events were lost since then.
func (m *Meter) Losses() uint64 { return m.lost }

// Lost is told that the kernel dropped events. The dumps make good for what they can: what ended unheard has carried what it had
// carried in the last dump, and what also began unheard is not counted.
func (m *Meter) Lost() {
	m.lossy = true
	m.lost++
	m.version++
}

// At is the Meter as one who is told at that time what Events hears.
func (m *Meter) At(now time.Time) Hearer { return meterAt{m, now} }

type meterAt struct {
	meter *Meter
	now   time.Time
}

// Ended is told of a connection that the kernel has forgotten.
func (m meterAt) Ended(e *Entry) { m.meter.Ended(e, m.now) }

// Repeated is told of a packet that the kernel has let through and does not count. Its connection counts it when it is read again.
func (m meterAt) Repeated(r *Repeated) {
	if !m.meter.repeats.add(r, m.meter.dumps, m.now) {
		m.meter.Lost()
	}
}

// Ended is told of a connection that the kernel has forgotten.
func (m *Meter) Ended(e *Entry, now time.Time) {
	id := keyOf(e)
	k := m.find(id, e)
	if k == nil {
		return
	}
	m.count(id, k, e, now)
	m.end(id, k, e)
	if k != &m.met {
		delete(m.live, id)
	}
	m.version++
}

// Dump is told of everything that is tracked now: entries calls what it is given for every connection, as Conntrack.Entries does. With
// atEnd the window ends here, and the sink gets a sample of every connection that has carried something in it.
func (m *Meter) Dump(now time.Time, atEnd bool, entries func(each func(*Entry)) error) error {
	m.dumps++
	if err := entries(func(e *Entry) { m.tracked(e, now, atEnd) }); err != nil {
		m.dumps-- // who is missing in it is not known
		return err
	}
	m.buryMissing()
	m.repeats.forget(m.dumps)
	m.looked = true
	if atEnd {
		if m.Sink != nil {
			m.Sink.Window(m.window, now, m.lossy)
		}
		m.window, m.lossy = now, false
	}
	return nil
}

// tracked is told of one connection that lives.
func (m *Meter) tracked(e *Entry, now time.Time, atEnd bool) {
	if e.Dying() {
		return
	}
	id := keyOf(e)
	k := m.find(id, e)
	if k == nil {
		return
	}
	if k == &m.met {
		k = new(known)
		*k = m.met
		m.live[id] = k
		m.change(id, k)
	}
	k.seen = m.dumps
	m.count(id, k, e, now)
	k.note(e)
	if atEnd && k.counted != k.sampled {
		m.sample(id, k, e, false)
	}
}

// buryMissing ends what was neither in this dump nor in the one before, whose end should have been told by then: the event was lost, or the
// connection began when nobody listened. One dump proves nothing: the connection may have ended while it was under way, and its
// event be here soon; or the kernel was about to rearrange its table.
func (m *Meter) buryMissing() {
	for id, k := range m.live {
		if k.seen+1 < m.dumps {
			m.bury(id, k)
		}
	}
}

// find is what is known of the connection; of one that is met for the first time that is m.met, and nil for one that is none of natd's.
func (m *Meter) find(id key, e *Entry) *known {
	if k := m.live[id]; k != nil {
		switch {
		case !carriedBy(e).below(k.counted):
			return k
		case id.began != 0:
			k.restart()
			m.change(id, k)
			return k
		}
		m.bury(id, k) // one without a time stamp may look like another before it
	}
	owner := m.Owner(e)
	if owner == (Owner{}) {
		return nil
	}
	m.met = known{tally: m.place(owner, e)}
	m.tally(m.met.tally).Begun++
	return &m.met
}

// place is the position of the tally that the connection counts in.
func (m *Meter) place(owner Owner, e *Entry) uint32 {
	t := tallied{owner: owner}
	if owner.Kind == KindRelay {
		t.target = e.Reply.Src
	}
	i, ok := m.places[t]
	if !ok {
		i = uint32(len(m.tallies))
		m.places[t] = i
		m.addTally(Tally{Owner: t.owner, Target: t.target})
	}
	return i
}

func (m *Meter) addTally(t Tally) {
	m.tallies, m.isChanged = append(m.tallies, t), append(m.isChanged, false)
}

// count adds what the connection has carried since it was counted last.
func (m *Meter) count(id key, k *known, e *Entry, now time.Time) {
	more := carriedBy(e).since(k.counted)
	repeated, at := m.repeats.take(e)
	if more != (carried{}) || repeated != (carried{}) {
		if m.Sink != nil {
			k.last = max(m.Timeouts.lastPacket(e, m.first(id, k), now).UnixNano(), at)
		}
		t := m.tally(k.tally)
		for _, c := range []carried{more, repeated} {
			t.ToTarget.add(c.toTarget)
			t.ToClient.add(c.toClient)
		}
		k.counted, k.sampled = carriedBy(e), k.sampled.since(repeated)
		m.change(id, k)
	}
}

// bury ends a connection whose end was not told, as it was read last.
func (m *Meter) bury(id key, k *known) {
	if k.met() { // else a natd before this one might have seen how it ended
		m.end(id, k, k.entry(id))
	}
	delete(m.live, id)
	m.version++
}

// end counts the end of a connection, which was read last as e.
func (m *Meter) end(id key, k *known, e *Entry) {
	switch {
	case e.Refused():
		m.tally(k.tally).Refused++
	case !e.Replied():
		m.tally(k.tally).Unanswered++
	}
	m.sample(id, k, e, true)
}

// sample hands what was carried since the last sample to the sink.
func (m *Meter) sample(id key, k *known, e *Entry, ended bool) {
	more, shown := k.counted.since(k.sampled), k.shown
	first := m.first(id, k)
	k.sampled, k.shown = k.counted, true
	m.change(id, k)
	if m.Sink == nil {
		return
	}
	began := !shown && (m.looked || id.beganAt().After(m.began))
	last := time.Unix(0, max(k.last, first.UnixNano()))
	m.sampling = Sample{
		Entry: e, Owner: m.tallies[k.tally].Owner, ToTarget: more.toTarget, ToClient: more.toClient,
		Began: began, Ended: ended, First: first, Last: last,
	}
	m.Sink.Sample(&m.sampling)
}

// first is the earliest time that what was not sampled yet can be of.
func (m *Meter) first(id key, k *known) time.Time {
	began := id.beganAt()
	if !k.shown && id.began != 0 || began.After(m.window) {
		return began
	}
	return m.window
}
