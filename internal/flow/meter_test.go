package flow

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"natd/nat"
)

// when is the time at which the tests of the Meter begin.
func when(seconds int) time.Time { return time.Unix(1_800_000_000+int64(seconds), 0) }

// metered is a Meter, the connections that its kernel tracks, and what its sink got.
type metered struct {
	*Meter
	t       *testing.T
	table   map[string]*Entry
	samples []Sample
	windows []string
}

func newMetered(t *testing.T) *metered {
	t.Helper()
	m := &metered{t: t, table: make(map[string]*Entry)}
	m.Meter = NewMeter(ownerByPort, when(0))
	m.Sink = m
	m.Timeouts = timeouts(map[string]time.Duration{
		"tcp_timeout_established": 100 * time.Hour, "tcp_timeout_time_wait": 120 * time.Second, "tcp_timeout_syn_sent": 60 * time.Second,
	})
	return m
}

// timeouts is those of a kernel with these settings.
func timeouts(set map[string]time.Duration) *Timeouts {
	return ReadTimeouts(func(key string) time.Duration { return set[key] })
}

// ownerByPort owns what goes to port 80.
func ownerByPort(e *Entry) Owner {
	if e.Orig.Dst.Port() == 80 {
		return Owner{KindRelay, "web"}
	}
	return Owner{}
}

func (m *metered) Sample(s *Sample) {
	c := *s
	e := s.Entry.Clone()
	c.Entry = &e
	m.samples = append(m.samples, c)
}

func (m *metered) Window(from, until time.Time, lossy bool) {
	m.windows = append(m.windows, fmt.Sprintf("%d-%d %t", from.Unix()-when(0).Unix(), until.Unix()-when(0).Unix(), lossy))
}

// track makes a connection that begins then.
func (m *metered) track(name, from string, began int) *Entry {
	e := translated(nat.TCP, from, host+":80", "10.3.0.100:8080", established)
	e.state, e.status = 3, established|statusDstNAT|statusSrcNAT
	e.tuple, e.id = []byte(from), []byte{0, 0, 0, 1}
	e.began = uint64(when(began).UnixNano())
	e.Timeout = 100 * 3600
	m.table[name] = e
	return e
}

func carry(e *Entry, packets, bytes uint64) {
	e.ToTarget.Packets += packets
	e.ToTarget.Bytes += bytes
	e.ToClient.Packets += 2 * packets
	e.ToClient.Bytes += 2 * bytes
}

func (m *metered) dump(second int, atEnd bool) {
	m.t.Helper()
	err := m.Dump(when(second), atEnd, func(each func(*Entry)) error {
		for _, e := range m.table {
			each(e)
		}
		return nil
	})
	if err != nil {
		m.t.Fatal(err)
	}
}

// destroy ends the connection, with its event.
func (m *metered) destroy(name string, second int) {
	e := m.table[name]
	delete(m.table, name)
	e.ended = uint64(when(second).UnixNano())
	e.status |= statusDying
	m.Ended(e, when(second))
}

func (m *metered) want(begun, refused, unanswered, packets, bytes uint64) {
	m.t.Helper()
	want := []Tally{{
		Owner: Owner{KindRelay, "web"}, Target: netip.MustParseAddrPort("10.3.0.100:8080"),
		Totals: Totals{begun, refused, unanswered, Volume{packets, bytes}, Volume{2 * packets, 2 * bytes}},
	}}
	if diff := cmp.Diff(want, m.Tallies(), cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
		m.t.Errorf("(-want +counted):\n%s", diff)
	}
}

// wantSampled checks that the samples add up, and begin and end as often as connections did.
func (m *metered) wantSampled(began, ended int, packets, bytes uint64) {
	m.t.Helper()
	var sum, double Volume
	for _, s := range m.samples {
		sum.add(s.ToTarget)
		double.add(s.ToClient)
		if s.Began {
			began--
		}
		if s.Ended {
			ended--
		}
		if s.Last.Before(s.First) {
			m.t.Errorf("a sample from %v to %v", s.First, s.Last)
		}
	}
	if sum != (Volume{packets, bytes}) || double != (Volume{2 * packets, 2 * bytes}) || began != 0 || ended != 0 {
		m.t.Errorf("samples add up to %v and %v, %d begun and %d ended are missing", sum, double, began, ended)
	}
}

// A connection that is in dumps and in an event counts once.
func TestMeterCountsOnce(t *testing.T) {
	t.Parallel()
	m := newMetered(t)
	e := m.track("a", "10.1.0.5:1000", 1)
	carry(e, 1, 100)
	m.dump(2, false)
	m.want(1, 0, 0, 1, 100)
	carry(e, 2, 200)
	m.dump(3, false)
	m.dump(4, true)
	m.wantSampled(1, 0, 3, 300)
	carry(e, 4, 400)
	m.destroy("a", 5)
	m.dump(6, false)
	m.dump(7, true)
	m.want(1, 0, 0, 7, 700)
	m.wantSampled(1, 1, 7, 700)
	if diff := cmp.Diff([]string{"0-4 false", "4-7 false"}, m.windows); diff != "" {
		t.Error(diff)
	}
	if len(m.live) != 0 {
		t.Errorf("%d connections are remembered", len(m.live))
	}
}

// A connection that no dump has seen is known from its event alone.
func TestMeterCountsTheShort(t *testing.T) {
	t.Parallel()
	m := newMetered(t)
	m.dump(0, true)
	carry(m.track("a", "10.1.0.5:1000", 1), 3, 300)
	m.destroy("a", 2)
	carry(m.track("refused", "10.1.0.5:1001", 1), 1, 60)
	r := m.table["refused"]
	r.state, r.status = 8, statusDstNAT
	m.destroy("refused", 2)
	u := m.track("unanswered", "10.1.0.5:1002", 1)
	u.state, u.status = 1, statusDstNAT
	m.destroy("unanswered", 61)
	o := m.track("other", "10.1.0.5:1002", 1)
	o.Orig.Dst = netip.MustParseAddrPort("10.9.9.9:22")
	m.destroy("other", 61)
	m.want(3, 1, 1, 4, 360)
	m.wantSampled(3, 3, 4, 360)
}

// An entry that dies has its event: a dump that still has it says nothing new.
func TestMeterSkipsTheDying(t *testing.T) {
	t.Parallel()
	m := newMetered(t)
	e := m.track("a", "10.1.0.5:1000", 1)
	carry(e, 3, 300)
	m.destroy("a", 2)
	m.table["a"] = e
	m.dump(3, true)
	m.want(1, 0, 0, 3, 300)
}

// An event that was lost is made good for by the dumps, and one that comes late is not taken for a new connection.
func TestMeterLosesEvents(t *testing.T) {
	t.Parallel()
	m := newMetered(t)
	for _, name := range []string{"lost", "late"} {
		carry(m.track(name, "10.1.0.5:1"+fmt.Sprint(len(name)*100+len(m.table)), 1), 3, 300)
	}
	late := m.table["late"]
	m.dump(2, true)
	clear(m.table)
	m.Lost()
	m.dump(3, true)
	m.want(2, 0, 0, 6, 600)
	carry(late, 1, 100)
	m.Ended(late, when(3))
	m.want(2, 0, 0, 7, 700)
	m.dump(4, true)
	m.wantSampled(2, 2, 7, 700)
	if diff := cmp.Diff([]string{"0-2 false", "2-3 true", "3-4 false"}, m.windows); diff != "" {
		t.Error(diff)
	}
	if m.Losses() != 1 {
		t.Errorf("%d losses", m.Losses())
	}
}

// The next connection of the same ports is another one, whether the kernel tells when it began or not.
func TestMeterTellsTheNextApart(t *testing.T) {
	t.Parallel()
	for _, stamped := range []bool{true, false} {
		m := newMetered(t)
		carry(m.track("a", "10.1.0.5:1000", 1), 3, 300)
		if !stamped {
			m.table["a"].began = 0
		}
		m.dump(2, true)
		carry(m.track("a", "10.1.0.5:1000", 3), 1, 100)
		if !stamped {
			m.table["a"].began = 0
		}
		m.dump(4, true)
		m.dump(5, true)
		m.dump(6, true)
		m.want(2, 0, 0, 4, 400)
		ended := 0
		for _, s := range m.samples {
			if s.Ended {
				ended++
			}
		}
		if ended != 1 {
			t.Errorf("stamped %t: %d ended, want 1", stamped, ended)
		}
	}
}

// Somebody may set the counters to zero ("conntrack -L -z"): the connection is still the same one, and goes on.
func TestMeterCountsOnBehindZero(t *testing.T) {
	t.Parallel()
	m := newMetered(t)
	e := m.track("a", "10.1.0.5:1000", 1)
	carry(e, 3, 300)
	m.dump(2, true)
	carry(e, 1, 100)
	m.dump(3, false) // counted, and not sampled yet
	e.ToTarget, e.ToClient = Volume{}, Volume{}
	m.dump(4, false)
	carry(e, 2, 200)
	m.dump(5, true)
	m.wantSampled(1, 0, 6, 600)
	carry(e, 1, 100)
	m.destroy("a", 6)
	m.want(1, 0, 0, 7, 700)
	m.wantSampled(1, 1, 7, 700)
}

// A dump that fails proves nothing about those that are missing in it.
func TestMeterDumpFails(t *testing.T) {
	t.Parallel()
	m := newMetered(t)
	e := m.track("a", "10.1.0.5:1000", 1)
	carry(e, 3, 300)
	m.dump(2, true)
	failed := errors.New("no")
	for range 3 {
		if err := m.Dump(when(3), true, func(func(*Entry)) error { return failed }); !errors.Is(err, failed) {
			t.Errorf("Dump: %v", err)
		}
	}
	carry(e, 1, 100)
	m.dump(4, true)
	m.want(1, 0, 0, 4, 400)
	m.wantSampled(1, 0, 4, 400)
}

// A connection belongs for good to what it belonged to first.
func TestMeterOwnerStays(t *testing.T) {
	t.Parallel()
	m := newMetered(t)
	e := m.track("a", "10.1.0.5:1000", 1)
	carry(e, 3, 300)
	m.dump(2, true)
	m.Owner = func(*Entry) Owner { return Owner{} }
	carry(e, 1, 100)
	m.destroy("a", 3)
	m.want(1, 0, 0, 4, 400)
}

// The last packet is found from the time that is left, and never outside of what is possible.
func TestLastPacket(t *testing.T) {
	t.Parallel()
	times := timeouts(map[string]time.Duration{
		"tcp_timeout_established": 432000 * time.Second, "tcp_timeout_unacknowledged": 300 * time.Second, "tcp_timeout_time_wait": 120 * time.Second,
		"udp_timeout": 30 * time.Second, "udp_timeout_stream": 120 * time.Second,
	})
	tcp := func(left uint32, state uint8) *Entry {
		return &Entry{Proto: nat.TCP, Timeout: left, state: state, status: established}
	}
	ended := func(e *Entry, at int) *Entry {
		e.ended = uint64(when(at).UnixNano())
		return e
	}
	for name, c := range map[string]struct {
		e    *Entry
		want int
	}{
		"idle for 10 s":             {tcp(431990, 3), 90},
		"waits for acknowledgement": {tcp(295, 3), 95},
		"longer than possible":      {tcp(432010, 3), 100},
		"UDP without a reply":       {&Entry{Proto: nat.UDP, Timeout: 25}, 95},
		"UDP in both directions":    {&Entry{Proto: nat.UDP, Timeout: 100, status: statusAssured}, 80},
		"timed out":                 {ended(&Entry{Proto: nat.UDP}, 95), 65},
		"removed":                   {ended(tcp(0, 3), 95), 95},
		"refused":                   {ended(&Entry{Proto: nat.TCP, state: 8, ToClient: Volume{1, 40}}, 90), 90},
		"of no known protocol":      {&Entry{Proto: 99, Timeout: 600}, 100},
	} {
		if got := times.lastPacket(c.e, when(50), when(100)); !got.Equal(when(c.want)) {
			t.Errorf("%s: %v, want %v", name, got.Sub(when(0)), when(c.want).Sub(when(0)))
		}
	}
}
