package flow

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"natd/internal/lab"
	"natd/nat"
)

// again is a report of a packet of the connection.
func again(e *Entry, toTarget, toClient Volume) *Repeated {
	return &Repeated{ends: ends{e.Proto, e.Orig.Src, e.Reply.Src}, volume: carried{toTarget, toClient}}
}

// What a connection repeats counts once, over samples, a natd that is started anew, and its end.
func TestMeterCountsRepeated(t *testing.T) {
	t.Parallel()
	m := newMetered(t)
	e := m.track("a", "10.1.0.5:1000", 1)
	e.state, e.Timeout = 1, 57 // SYN_SENT, as it is three of sixty seconds after its first packet
	carry(e, 1, 60)
	twice := func(second int) { m.At(when(second)).Repeated(again(e, Volume{1, 60}, Volume{2, 120})) }
	twice(2)
	twice(3)
	m.dump(4, true)
	m.want(1, 0, 0, 3, 180)
	m.wantSampled(1, 0, 3, 180)
	if last := m.samples[0].Last; !last.Equal(when(3)) {
		t.Errorf("the last packet was at %v, want %v", last, when(3))
	}
	twice(5)
	m.dump(6, false)
	m.want(1, 0, 0, 4, 240)

	next := newMetered(t)
	next.table, next.samples = m.table, m.samples
	if err := next.Resume(m.Save(), func(Owner) bool { return true }); err != nil {
		t.Fatal(err)
	}
	next.dump(7, false)
	next.At(when(8)).Repeated(again(e, Volume{1, 60}, Volume{2, 120}))
	next.destroy("a", 9)
	next.want(1, 0, 0, 5, 300)
	next.wantSampled(1, 1, 5, 300)
	if next.Losses() != 0 || len(next.repeats.waiting) != 0 {
		t.Errorf("%d losses, %d wait", next.Losses(), len(next.repeats.waiting))
	}
}

// The SYN-ACK that comes first behind a SYN that was answered before has been counted; the ones behind it have not, nor any before.
func TestMeterLeavesOutCounted(t *testing.T) {
	t.Parallel()
	m := newMetered(t)
	e := m.track("a", "10.1.0.5:1000", 1)
	carry(e, 1, 60)
	syn, synACK := again(e, Volume{1, 60}, Volume{}), again(e, Volume{}, Volume{1, 60})
	syn.answeredSYN, synACK.synACK = true, true
	tell := func(second int, all ...*Repeated) {
		for _, r := range all {
			m.At(when(second)).Repeated(r)
		}
	}
	tell(1, synACK, syn, synACK, synACK)
	m.dump(2, false)
	m.want(1, 0, 0, 2, 120)
	tell(3, syn)
	m.dump(4, false)
	tell(4, synACK, synACK, synACK)
	m.dump(5, false)
	m.want(1, 0, 0, 3, 180)
	if len(m.repeats.waiting) != 0 {
		t.Errorf("%d wait", len(m.repeats.waiting))
	}
}

// What nobody asks for is forgotten, and a connection that the kernel does not count is not counted by what it repeats.
func TestMeterForgetsRepeated(t *testing.T) {
	t.Parallel()
	m := newMetered(t)
	other := translated(nat.TCP, "10.1.0.5:1000", host+":80", "10.3.0.100:8080", established)
	m.At(when(1)).Repeated(again(other, Volume{1, 60}, Volume{}))
	m.dump(2, false)
	if len(m.repeats.waiting) != 1 {
		t.Error("it was forgotten after one dump: its end may be on its way")
	}
	m.dump(3, false)
	if len(m.repeats.waiting) != 0 {
		t.Error("it was not forgotten")
	}
	old := m.track("old", "10.1.0.5:1001", 1)
	m.At(when(4)).Repeated(again(old, Volume{1, 60}, Volume{}))
	m.dump(5, true)
	m.want(1, 0, 0, 0, 0)
}

// What the rules or the memory may have left out is told, once.
func TestMeterLosesRepeated(t *testing.T) {
	t.Parallel()
	tell := func(m *metered, count int, at func(i int) int) {
		for i := range count {
			r := Repeated{ends: ends{client: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), uint16(i>>16))}}
			m.At(when(at(i))).Repeated(&r)
		}
	}
	m := newMetered(t)
	tell(m, 60_000, func(i int) int { return i / (nat.RepeatedBurst/2 - 1) })
	if m.Losses() != 0 {
		t.Errorf("%d losses, though nothing is missing", m.Losses())
	}
	tell(m, nat.RepeatedBurst, func(int) int { return 100 })
	if m.Losses() != 1 {
		t.Errorf("%d losses after a burst, want 1", m.Losses())
	}
	m = newMetered(t)
	tell(m, maxRepeated+10, func(i int) int { return i / 1000 })
	if m.Losses() != 1 || len(m.repeats.waiting) != maxRepeated {
		t.Errorf("%d losses, %d wait, want 1 and %d", m.Losses(), len(m.repeats.waiting), maxRepeated)
	}
}

// errNotYet says that there is more to hear of.
var errNotYet = errors.New("not everything has been heard of")

// listener collects what Events hears.
type listener struct {
	ended    []Entry
	repeated []Repeated
}

func (l *listener) Ended(e *Entry)       { l.ended = append(l.ended, e.Clone()) }
func (l *listener) Repeated(r *Repeated) { l.repeated = append(l.repeated, *r) }

// From the wire to the report, with the real kernel in between: the packets that conntrack says it has counted and those that were
// reported are together what the client sent, of a protocol whose repetitions this kernel does not count, and of one whose it counts. What
// was repeated is told before the end.
func TestRepeated(t *testing.T) {
	t.Parallel()
	p := lab.New(t)
	apply(t, p, func(r *nat.Relay) { r.Log = false }, true)
	c := &tracker{t: t, host: p.B}
	c.account()
	events := c.listen()
	lab.Check(t, events.Deaf())
	lab.Check(t, p.C.Nft(t.Context(), "table inet mute { chain in { type filter hook input priority 0; meta l4proto { tcp, udp } drop; }; }"))
	listen := netip.AddrPortFrom(p.B.Addr, 80)
	tap, err := p.B.Tap(t.Context(), lab.Device, "dst port 80", t.TempDir()+"/tap.pcap")
	lab.Check(t, err)
	udp, err := p.A.Dial(t.Context(), "udp", listen.String())
	lab.Check(t, err)
	defer udp.Close()
	for range 4 {
		_, err := udp.Write([]byte("again"))
		lab.Check(t, err)
	}
	_, err = p.A.Call(t.Context(), lab.Plan{Network: "tcp", To: listen, Count: 1, Within: 2500 * time.Millisecond})
	lab.Check(t, err)
	p.B.Output(t, "conntrack", "-F")
	var l listener
	lab.Eventually(t, 10*time.Second, func() error {
		lost, err := events.Take(&l)
		if lost {
			t.Error("reports were lost")
		}
		if err == nil && len(l.ended) < 2 {
			err = errNotYet
		}
		return err
	})
	sent, err := tap.Count()
	lab.Check(t, err)
	for i := range l.ended {
		e := &l.ended[i]
		sum, own := e.ToTarget, 0
		for _, r := range l.repeated {
			if r.ends == (ends{e.Proto, e.Orig.Src, e.Reply.Src}) {
				sum.add(r.volume.toTarget)
				own++
			}
		}
		want := sent[lab.Wire{Proto: uint8(e.Proto), Src: e.Orig.Src, Dst: e.Orig.Dst}]
		t.Logf("%s: sent %v, counted %v, reported %d", e.Proto, want, e.ToTarget, own)
		if sum != Volume(want) || want.Packets < 3 || e.Proto == nat.UDP && own != 0 {
			t.Errorf("%s: %v was sent, the kernel has counted %v, and %d packets were reported", e.Proto, want, e.ToTarget, own)
		}
	}
}

// The group is for one program: a second one hears of ends all the same.
func TestDeaf(t *testing.T) {
	t.Parallel()
	c := newTracker(t)
	c.account()
	first, second := c.listen(), c.listen()
	if first.Deaf() != nil || second.Deaf() == nil {
		t.Errorf("deaf: %v and %v", first.Deaf(), second.Deaf())
	}
	c.insert("udp", "10.1.0.5:40000", host+":80", "10.3.0.100:8080", host+":40000")
	c.host.Output(t, "conntrack", "-F")
	var l listener
	lab.Eventually(t, 10*time.Second, func() error {
		_, err := second.Take(&l)
		if err == nil && !slices.ContainsFunc(l.ended, func(e Entry) bool { return e.Orig.Dst.Port() == 80 }) {
			err = errNotYet
		}
		return err
	})
}
