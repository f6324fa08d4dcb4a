package flow

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"natd/internal/lab"
	"natd/internal/nfnl"
	"natd/nat"
)

// account makes the tracker's host count what connections carry, and tell of their ends.
func (c *tracker) account() {
	c.t.Helper()
	for key, value := range map[string]string{"events": "1", "timestamp": "1", "acct": "1"} {
		c.host.Output(c.t, "sysctl", "-qw", "net.netfilter.nf_conntrack_"+key+"="+value)
	}
}

// listen hears of the ends of connections on the tracker's host.
func (c *tracker) listen() *Events {
	c.t.Helper()
	var events *Events
	lab.Check(c.t, c.host.Do(func() (err error) {
		events, err = OpenEvents()
		return err
	}))
	c.t.Cleanup(func() { lab.Check(c.t, events.Close()) })
	return events
}

// ended is a Hearer of ends alone.
type ended func(*Entry)

func (f ended) Ended(e *Entry)   { f(e) }
func (ended) Repeated(*Repeated) {}

// The end of a connection is heard of, whether it began before or after somebody listened.
func TestEvents(t *testing.T) {
	t.Parallel()
	c := newTracker(t)
	c.account()
	c.insert("tcp", "10.1.0.5:40000", host+":80", "10.3.0.100:8080", host+":40000", "-u", "SEEN_REPLY,ASSURED")
	events := c.listen()
	c.insert("tcp", client6, "["+host6+"]:80", "[2001:db8:3::100]:8080", "["+host6+"]:40000", "-u", "SEEN_REPLY,ASSURED")
	entries, want := c.entries()
	began := make(map[uint32]uint64)
	for _, e := range entries {
		began[binary.BigEndian.Uint32(e.id)] = e.began
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for _, family := range []string{"ipv4", "ipv6"} {
		c.host.Output(t, "conntrack", "-D", "-f", family)
		lab.Check(t, events.Wait(ctx))
		if family == "ipv4" {
			events.Gather()
		}
	}
	heard := make(map[string]bool)
	lost, err := events.Take(ended(func(e *Entry) {
		heard[fmt.Sprintf("%s %v>%v %v>%v", e.Proto, e.Orig.Src, e.Orig.Dst, e.Reply.Src, e.Reply.Dst)] = true
		if was, ok := began[binary.BigEndian.Uint32(e.id)]; !ok || was != e.began {
			t.Errorf("%v began at %d when it was tracked, and at %d when it ended", e.Orig, was, e.began)
		}
		if !e.Dying() || e.ended == 0 || e.ended < e.began || !e.Assured() {
			t.Errorf("%v: dying %t, from %d to %d, assured %t", e.Orig, e.Dying(), e.began, e.ended, e.Assured())
		}
	}))
	if lost || err != nil {
		t.Errorf("Take: %t, %v", lost, err)
	}
	for _, text := range want {
		if !heard[text] {
			t.Errorf("heard %v, want also %s", heard, text)
		}
	}
}

// fromPort is the i-th of the addresses and ports that connections come from.
func fromPort(i int) netip.AddrPort {
	addr := netip.AddrFrom4([4]byte{10, 1, byte(i >> 22), byte(i >> 14)})
	return netip.AddrPortFrom(addr, uint16(1024+i&(1<<14-1)))
}

// churn makes connections by netlink, and forgets them: one behind the other.
func churn(t testing.TB, s *nfnl.Socket, count int) {
	t.Helper()
	var b nfnl.Builder
	for done := 0; done < count; {
		b.Reset()
		for range min(deleteAtOnce, count-done) {
			from := fromPort(done)
			e := &Entry{Proto: nat.UDP, Orig: Tuple{from, addrPort(host + ":80")}, Reply: Tuple{addrPort(host + ":80"), from}}
			request(&b, 0, unix.NLM_F_ACK|unix.NLM_F_CREATE, unix.AF_INET)
			b.Bytes(ctaTupleOrig|unix.NLA_F_NESTED, encodedTuple(e.Proto, e.Orig))
			b.Bytes(ctaTupleReply|unix.NLA_F_NESTED, encodedTuple(e.Proto, e.Reply))
			b.Uint32(ctaTimeout, 600)
			b.End()
			request(&b, msgDelete, unix.NLM_F_ACK, unix.AF_INET)
			b.Bytes(ctaTupleOrig|unix.NLA_F_NESTED, encodedTuple(e.Proto, e.Orig))
			b.End()
			done++
		}
		if err := s.Do(&b, func(refusal *nfnl.Error) { t.Errorf("the kernel refuses a connection: %v", refusal) }); err != nil {
			t.Fatal(err)
		}
	}
}

// Every end is heard of at 15,000 a second.
func TestEventsAreNotLost(t *testing.T) {
	t.Parallel()
	c := newTracker(t)
	c.account()
	events := c.listen()
	const count, rate = 30_000, 15_000
	stop, cancel := context.WithCancel(t.Context())
	m := NewMeter(func(*Entry) Owner { return Owner{KindRelay, "web"} }, time.Now())
	done := make(chan error, 1)
	go func() {
		for stop.Err() == nil {
			if err := events.Wait(stop); err != nil {
				done <- err
				return
			}
			lost, err := events.Take(m.At(time.Now()))
			if err != nil {
				done <- err
				return
			}
			if lost {
				m.Lost()
			}
		}
		done <- nil
	}()
	began := time.Now()
	for made := 0; made < count; made += rate / 100 {
		time.Sleep(time.Until(began.Add(time.Duration(made) * time.Second / rate)))
		churn(t, c.socket, rate/100)
	}
	took := time.Since(began)
	cancel()
	lab.Check(t, <-done)
	_, err := events.Take(m.At(time.Now()))
	lab.Check(t, err)
	t.Logf("%.0f connections a second", count/took.Seconds())
	if got := m.Tallies()[0].Begun; got != count || m.Losses() != 0 {
		t.Errorf("%d connections counted, want %d; events were lost %d times", got, count, m.Losses())
	}
}

// overrun is more events than there is room for.
const overrun = 40_000

// What is lost is noticed, and made good for.
func TestEventsOverrun(t *testing.T) {
	t.Parallel()
	c := newTracker(t)
	c.account()
	events := c.listen()
	m := NewMeter(func(*Entry) Owner { return Owner{KindRelay, "web"} }, time.Now())
	c.insertMany("udp", 40000, 50)
	lab.Check(t, m.Dump(time.Now(), true, c.Entries))
	churn(t, c.socket, overrun)
	c.host.Output(t, "conntrack", "-D", "-f", "ipv4")
	lost, err := events.Take(m.At(time.Now()))
	lab.Check(t, err)
	if !lost {
		t.Fatal("nothing was lost")
	}
	m.Lost()
	for range 2 {
		lab.Check(t, m.Dump(time.Now(), true, c.Entries))
	}
	total := m.Tallies()[0].Totals
	for _, tally := range m.Tallies()[1:] {
		total.Begun += tally.Begun
	}
	if len(m.live) != 0 || total.Begun < 50 || total.Begun >= 50+overrun {
		t.Errorf("%d live, %d begun", len(m.live), total.Begun)
	}
}

// What an event costs, and what a connection in a dump.
func BenchmarkMeter(b *testing.B) {
	e := example()
	e.zone = nil
	attrs := encoded(e)
	owner := newJudge()
	b.Run("event", func(b *testing.B) {
		m := NewMeter(owner.Owner, time.Now())
		var got Entry
		for b.Loop() {
			decodeEntry(attrs, &got)
			m.Ended(&got, when(100))
		}
	})
	b.Run("dump", func(b *testing.B) {
		m := NewMeter(owner.Owner, time.Now())
		var got Entry
		for b.Loop() {
			decodeEntry(attrs, &got)
			m.tracked(&got, when(100), false)
		}
	})
}

// BenchmarkEvents is what natd's processor works for each connection that ends, from the socket to the counts.
func BenchmarkEvents(b *testing.B) {
	c := newTracker(b)
	c.account()
	events := c.listen()
	const burst = 300 // of 20 ms at 15,000 a second
	m := NewMeter(func(*Entry) Owner { return Owner{KindRelay, "web"} }, time.Now())
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var worked time.Duration
	heard := uint64(0)
	for b.Loop() {
		churn(b, c.socket, burst)
		began := threadTime(b)
		lost, err := events.Take(m.At(time.Now()))
		worked += threadTime(b) - began
		lab.Check(b, err)
		if heard += burst; lost || m.Tallies()[0].Begun != heard {
			b.Fatalf("%d connections counted, want %d; lost: %t", m.Tallies()[0].Begun, heard, lost)
		}
	}
	b.ReportMetric(float64(worked.Nanoseconds())/float64(heard), "cpu-ns/event")
}

// threadTime is how long a processor has worked for this thread.
func threadTime(t testing.TB) time.Duration {
	t.Helper()
	var used unix.Timespec
	lab.Check(t, unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &used))
	return time.Duration(used.Nano())
}

// BenchmarkMeterMemory is what a live connection costs.
func BenchmarkMeterMemory(b *testing.B) {
	const count = 262_144
	e := example()
	e.zone = nil
	for b.Loop() {
		m := NewMeter(newJudge().Owner, time.Now())
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for i := range count {
			binary.BigEndian.PutUint32(e.id, uint32(i))
			m.tracked(e, when(100), false)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/count, "B/connection")
		runtime.KeepAlive(m)
	}
}
