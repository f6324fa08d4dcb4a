package trace

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// The connection of these tests, and the relay.
const (
	dialled, sent = "10.1.0.100:54012 > 10.2.0.100:80", "10.2.0.100:2000 > 10.3.0.100:8080"
	start         = 1000 // the client's sequence number; the target's is 5000
)

func aRelay(proto Protocol) Relay {
	return Relay{
		Listen:  []End{{Addr: netip.MustParseAddr("10.2.0.100"), Proto: proto, First: 80, Last: 80}},
		Targets: []End{{Addr: netip.MustParseAddr("10.3.0.100"), Proto: proto, First: 8080, Last: 8080}},
	}
}

// seen is a packet on an interface: "1 in" or "2 out".
func seen(where, tuple string, change ...func(*Packet)) Packet {
	var index int
	var way, src, dst string
	if _, err := fmt.Sscanf(where+" "+tuple, "%d %s %s > %s", &index, &way, &src, &dst); err != nil {
		panic(err) // a test that is wrong
	}
	p := Packet{Index: index, Outgoing: way == "out", Tuple: Tuple{TCP, netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst)}, Flags: ACK}
	for _, c := range change {
		c(&p)
	}
	return p
}

func syn(seq uint32) func(*Packet) { return func(p *Packet) { p.Flags, p.Seq = SYN, seq } }

func data(seq uint32, length int) func(*Packet) {
	return func(p *Packet) { p.Seq, p.Length = seq, length }
}

func acks(ack uint32) func(*Packet) { return func(p *Packet) { p.Ack = ack } }

func datagram(content uint64, at time.Duration) func(*Packet) {
	return func(p *Packet) {
		p.Proto, p.Flags, p.Length, p.Digest, p.Time = UDP, 0, 4, content, time.Unix(1, 0).Add(at)
	}
}

// TestSameOnTwoDevices has every packet pass a bridge and its port, or a VLAN and its interface: that is no retransmission.
func TestSameOnTwoDevices(t *testing.T) {
	t.Parallel()
	f := Follower{Relay: aRelay(TCP)}
	a, begins := f.See(seen("1 in", dialled, syn(start)))
	if !begins {
		t.Fatal("no connection")
	}
	for _, where := range []string{"2 in", "1 in", "2 in"} {
		f.See(seen(where, dialled, syn(start)))
	}
	for _, where := range []string{"4 out", "3 out", "4 out", "3 out", "4 out"} {
		f.See(seen(where, sent, syn(start)))
	}
	if a.Opening.Times != 2 || a.Forwarded.Times != 3 || a.Stage() != SentOn || a.Elsewhere() || a.SourceKept() {
		t.Errorf("%d and %d times: %+v", a.Opening.Times, a.Forwarded.Times, a)
	}
}

// TestPortUsedAgain has a client dial anew from the same port, and another from another: each is a connection of its own.
func TestPortUsedAgain(t *testing.T) {
	t.Parallel()
	f := Follower{Relay: aRelay(TCP)}
	first, _ := f.See(seen("1 in", dialled, syn(start)))
	second, begins := f.See(seen("1 in", dialled, syn(start+77)))
	other, _ := f.See(seen("1 in", "10.1.0.7:54012 > 10.2.0.100:80", syn(start)))
	if !begins || first == second || other == first || other == second {
		t.Fatal("they are not told apart")
	}
	f.See(seen("1 out", sent, syn(start+77)))
	f.See(seen("1 in", dialled))
	if second.Stage() != Completed || first.Stage() != Arrived {
		t.Errorf("stages %v and %v", first.Stage(), second.Stage())
	}
	for i := range 2 * maxAttempts {
		f.See(seen("1 in", fmt.Sprintf("10.1.0.9:%d > 10.2.0.100:80", 1000+i), syn(start)))
	}
	if len(f.attempts) != maxAttempts {
		t.Errorf("%d connections are followed", len(f.attempts))
	}
	for _, p := range []Packet{
		seen("1 in", dialled, syn(start), func(p *Packet) { p.Flags |= ACK }), seen("1 out", dialled, syn(start)),
		seen("1 in", "10.1.0.100:54012 > 10.2.0.100:81", syn(start)), seen("1 in", "10.1.0.100:54012 > 10.2.0.101:80", syn(start)),
	} {
		if _, begins := aRelay(TCP).Begin(p); begins {
			t.Errorf("it begins with %v", p)
		}
	}
}

// TestDatagrams recognises a datagram by its content, soon after it came, and whatever follows by its addresses.
func TestDatagrams(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		p    Packet
		want Stage
	}{
		"sent on":       {seen("1 out", sent, datagram(7, time.Millisecond)), SentOn},
		"other content": {seen("1 out", sent, datagram(8, time.Millisecond)), Arrived},
		"too late":      {seen("1 out", sent, datagram(7, 2*again)), Arrived},
		"not out":       {seen("1 in", sent, datagram(7, time.Millisecond)), Arrived},
		"TCP":           {seen("1 out", sent, syn(0)), Arrived},
	} {
		a, _ := aRelay(UDP).Begin(seen("1 in", dialled, datagram(7, 0)))
		a.See(tt.p)
		if a.Stage() != tt.want {
			t.Errorf("%s: %v, want %v", name, a.Stage(), tt.want)
		}
		if tt.want == SentOn && (!a.See(seen("1 out", sent, datagram(9, time.Hour))) || a.Forwarded.Times != 2) {
			t.Errorf("%s: the next one is not counted", name)
		}
	}
	empty := func(p *Packet) { p.Length, p.Digest = 0, 0 }
	a, _ := aRelay(UDP).Begin(seen("1 in", dialled, datagram(7, 0), empty))
	if a.See(seen("1 out", "10.2.0.100:5 > 192.0.2.1:53", datagram(7, 0), empty)) {
		t.Error("an empty datagram to anybody is taken for the one that came")
	}
	if !a.See(seen("1 out", sent, datagram(7, 0), empty)) {
		t.Error("an empty datagram to the target is not recognised")
	}
}

// TestStuck finds the oldest segment that was sent again and is not acknowledged.
func TestStuck(t *testing.T) {
	t.Parallel()
	var d Data
	for _, p := range []Packet{
		seen("1 out", sent, data(start, 100)), seen("1 out", sent, data(start+100, 1400)), seen("2 out", sent, data(start+100, 1400)), seen("1 out", sent, data(start+1500, 300)),
	} {
		d.leave(p)
	}
	d.acknowledged(seen("1 in", dialled, acks(start+100)))
	if length, times := d.Stuck(); times != 0 {
		t.Errorf("%d bytes %d times, though nothing was sent again", length, times)
	}
	for range 2 {
		d.leave(seen("1 out", sent, data(start+100, 1380)))
	}
	if length, times := d.Stuck(); length != 1380 || times != 3 {
		t.Errorf("%d bytes %d times, want the smallest piece that was tried, 3 times", length, times)
	}
	d.acknowledged(seen("1 in", dialled, acks(start+1800)))
	if length, times := d.Stuck(); times != 0 || len(d.pending) != 0 {
		t.Errorf("%d bytes %d times, though all is acknowledged", length, times)
	}
	for i := range 2 * maxUnacknowledged {
		d.leave(seen("1 out", sent, data(uint32(i), 1)))
	}
	if len(d.pending) != maxUnacknowledged {
		t.Errorf("%d segments are remembered", len(d.pending))
	}
}

// TestMissing finds what did not arrive although later bytes did, also where sequence numbers go round.
func TestMissing(t *testing.T) {
	t.Parallel()
	type step struct {
		from, length, missing int
	}
	for name, steps := range map[string][]step{
		"in order":      {{0, 100, 0}, {100, 1400, 0}, {1500, 10, 0}},
		"again":         {{0, 100, 0}, {0, 100, 0}, {50, 60, 0}, {110, 1, 0}},
		"a gap":         {{0, 100, 0}, {1500, 10, 1400}, {1510, 10, 1400}, {100, 700, 700}, {800, 700, 0}, {1520, 5, 0}},
		"two gaps":      {{0, 100, 0}, {500, 100, 400}, {300, 10, 200}, {100, 200, 0}},
		"the beginning": {{100, 10, 100}},
	} {
		for _, seq := range []uint32{start, ^uint32(0) - 200} {
			var d Data
			d.expect(seq)
			for i, s := range steps {
				if d.arrive(seen("1 in", sent, data(seq+uint32(s.from), s.length))); d.Missing != s.missing {
					t.Errorf("%s from %d: step %d: %d bytes are missing, want %d", name, seq, i, d.Missing, s.missing)
				}
			}
		}
	}
}

// TestFilterOf wants the filter of one connection to pass its packets alone.
func TestFilterOf(t *testing.T) {
	t.Parallel()
	a, _ := aRelay(TCP).Begin(seen("1 in", dialled, syn(start)))
	if !a.Filter().passes(seen("1 out", "10.2.0.100:5 > 192.0.2.1:9", syn(start))) {
		t.Error("a connection that may have been sent elsewhere is not looked for")
	}
	a.See(seen("1 out", sent, syn(start)))
	for tuple, want := range map[string]bool{
		dialled: true, sent: true, "10.3.0.100:8080 > 10.2.0.100:2000": true, "10.2.0.100:80 > 10.1.0.100:54012": true,
		"10.1.0.100:54013 > 10.2.0.100:80": false, "10.2.0.100:2001 > 10.3.0.100:8080": false,
	} {
		if got := a.Filter().passes(seen("1 in", tuple)); got != want {
			t.Errorf("%s passes: %v", tuple, got)
		}
	}
}

// TestAssemble wants filters of any size to fit.
func TestAssemble(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 2, maxRanges, maxRanges + 1, 1000} {
		f := Filter{Openings: true, Elsewhere: true}
		for i := range n {
			for _, proto := range []Protocol{TCP, UDP, SCTP} {
				f.Ends = append(f.Ends, End{Proto: proto, First: uint16(i + 1), Last: uint16(i + 2)})
			}
		}
		code, err := f.assemble()
		if err != nil || len(code) > 4096 {
			t.Errorf("%d ranges: %d instructions, %v", n, len(code), err)
		}
	}
}
