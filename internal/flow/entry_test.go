package flow

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"natd/internal/nfnl"
	"natd/nat"
)

// encodedTuple is a tuple as the kernel writes it.
func encodedTuple(proto nat.Protocol, t Tuple) []byte {
	var b nfnl.Builder
	src, dst := uint16(ctaIPv4Src), uint16(ctaIPv4Dst)
	if t.Src.Addr().Is6() {
		src, dst = ctaIPv6Src, ctaIPv6Dst
	}
	ip := b.Nest(ctaTupleIP)
	b.Bytes(src, t.Src.Addr().AsSlice())
	b.Bytes(dst, t.Dst.Addr().AsSlice())
	b.Unnest(ip)
	l4 := b.Nest(ctaTupleProto)
	b.Uint8(ctaProtoNum, uint8(proto))
	b.Uint16(ctaProtoSrc, t.Src.Port())
	b.Uint16(ctaProtoDst, t.Dst.Port())
	b.Unnest(l4)
	return b.Payload()
}

// encoded is an entry as the kernel dumps it.
func encoded(e *Entry) []byte {
	var b nfnl.Builder
	b.Bytes(ctaTupleOrig, encodedTuple(e.Proto, e.Orig))
	b.Bytes(ctaTupleReply, encodedTuple(e.Proto, e.Reply))
	b.Uint32(ctaStatus, e.status)
	b.Uint32(ctaTimeout, e.Timeout)
	protocol := uint16(ctaProtoInfoTCP)
	if e.Proto == nat.SCTP {
		protocol = ctaProtoInfoSCTP
	}
	info := b.Nest(ctaProtoInfo)
	state := b.Nest(protocol)
	b.Uint8(ctaProtoInfoState, e.state)
	b.Unnest(state)
	b.Unnest(info)
	for typ, v := range map[uint16]Volume{ctaCountersOrig: e.ToTarget, ctaCountersReply: e.ToClient} {
		counters := b.Nest(typ)
		b.Uint64(ctaCountersPackets, v.Packets)
		b.Uint64(ctaCountersBytes, v.Bytes)
		b.Unnest(counters)
	}
	stamp := b.Nest(ctaTimestamp)
	b.Uint64(ctaTimestampStart, e.began)
	if e.ended != 0 {
		b.Uint64(ctaTimestampStop, e.ended)
	}
	b.Unnest(stamp)
	b.Bytes(ctaID, e.id)
	b.Bytes(ctaZone, e.zone)
	return b.Payload()
}

// example is an entry with everything that an entry can have.
func example() *Entry {
	e := translated(nat.TCP, client, host+":80", "10.3.0.100:8080", established)
	return complete(e)
}

// example6 is the same of IPv6 and SCTP.
func example6() *Entry {
	e := translated(nat.SCTP, client6, "["+host6+"]:80", "[2001:db8:3::100]:8080", established)
	return complete(e)
}

func complete(e *Entry) *Entry {
	e.Timeout, e.state = 431999, 3
	e.ToTarget, e.ToClient = Volume{5, 500}, Volume{4, 4000}
	e.began, e.ended = 1_800_000_000_000_000_001, 1_800_000_060_000_000_001
	e.tuple, e.id, e.zone = encodedTuple(e.Proto, e.Orig), []byte{1, 2, 3, 4}, []byte{0, 7}
	return e
}

func TestDecodeEntry(t *testing.T) {
	t.Parallel()
	for _, want := range []*Entry{example(), example6()} {
		var got Entry
		if !decodeEntry(encoded(want), &got) {
			t.Fatalf("%v was not recognised", want.Orig)
		}
		if diff := cmp.Diff(want, &got, cmp.AllowUnexported(Entry{}), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if got.Listen() != (nat.Endpoint{Addr: want.Orig.Dst.Addr(), Proto: want.Proto, Port: 80}) {
			t.Errorf("Listen() = %v", got.Listen())
		}
		if !got.Translated() || !got.Replied() || !got.Assured() || got.Masqueraded() {
			t.Errorf("translated %v, replied %v, assured %v, masqueraded %v", got.Translated(), got.Replied(), got.Assured(), got.Masqueraded())
		}
	}
}

// One Entry is used for a whole dump: nothing of one connection shows in the next.
func TestDecodeEntryForgetsTheLast(t *testing.T) {
	t.Parallel()
	e := *example()
	kept := e.Clone()
	next := &Entry{Proto: nat.UDP, Orig: e.Reply, Reply: e.Orig, id: []byte{9, 9, 9, 9}}
	if !decodeEntry(encoded(next), &e) {
		t.Fatal("the entry was not recognised")
	}
	if e.Timeout != 0 || e.state != 0 || e.began != 0 || e.ended != 0 || e.ToTarget != (Volume{}) || len(e.zone) != 0 || e.status != 0 {
		t.Errorf("the next entry has something of the last: %+v", e)
	}
	if diff := cmp.Diff(*example(), kept, cmp.AllowUnexported(Entry{}), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
		t.Errorf("the clone changed with its original:\n%s", diff)
	}
}

func TestDecodeEntryOfOtherKinds(t *testing.T) {
	t.Parallel()
	mixed := example()
	mixed.Orig.Src = addrPort(client6)
	for name, attrs := range map[string][]byte{
		"nothing": nil, "two families": encoded(mixed), "cut off": encoded(example())[:20],
	} {
		if decodeEntry(attrs, new(Entry)) {
			t.Errorf("%s was taken for a connection", name)
		}
	}
}

func TestState(t *testing.T) {
	t.Parallel()
	for want, e := range map[string]Entry{
		"NONE":            {Proto: nat.TCP},
		"SYN_SENT":        {Proto: nat.TCP, state: 1},
		"ESTABLISHED":     {Proto: nat.TCP, state: 3},
		"TIME_WAIT":       {Proto: nat.TCP, state: 7},
		"SYN_SENT2":       {Proto: nat.TCP, state: 9},
		"HEARTBEAT_ACKED": {Proto: nat.SCTP, state: 9},
		"SHUTDOWN_SENT":   {Proto: nat.SCTP, state: 5},
		"UNREPLIED":       {Proto: nat.UDP},
		"REPLIED":         {Proto: nat.TCP, state: 99, status: statusSeenReply},
	} {
		if got := e.State(); got != want {
			t.Errorf("State() = %s, want %s", got, want)
		}
	}
}

func FuzzDecodeEntry(f *testing.F) {
	f.Add(encoded(example()))
	f.Add(encoded(example6()))
	f.Fuzz(func(t *testing.T, b []byte) {
		var e Entry
		if decodeEntry(b, &e) {
			newJudge().Condemned(&e)
			_, _ = e.State(), e.family()
			new(PortUse).Add(Owner{}, &e)
			m := newMetered(t)
			m.Owner = func(*Entry) Owner { return Owner{KindRelay, "web"} }
			m.tracked(&e, when(0), true)
			m.Ended(&e, when(1))
			if c := m.Tallies()[0]; c.ToTarget != e.ToTarget || c.ToClient != e.ToClient {
				t.Errorf("counted %v, want %v", c.Totals, carriedBy(&e))
			}
		}
	})
}

func TestRefused(t *testing.T) {
	t.Parallel()
	const tcpSynSent, tcpClose, tcpTimeWait, sctpClosed = 1, 8, 7, 1
	one := Volume{1, 40}
	for name, c := range map[string]struct {
		e    Entry
		want bool
	}{
		"reset for an answer":      {Entry{Proto: nat.TCP, state: tcpClose, ToClient: one}, true},
		"reset, the state untold":  {Entry{Proto: nat.TCP, ToClient: one}, true},
		"silence, state untold":    {Entry{Proto: nat.TCP}, false},
		"reset while it is tried":  {Entry{Proto: nat.TCP, state: tcpSynSent, ToClient: one}, false},
		"reset by the client":      {Entry{Proto: nat.TCP, state: tcpClose}, false},
		"reset in the middle":      {Entry{Proto: nat.TCP, state: tcpClose, ToClient: one, status: established}, false},
		"closed":                   {Entry{Proto: nat.TCP, state: tcpTimeWait, ToClient: one, status: established}, false},
		"an association aborted":   {Entry{Proto: nat.SCTP, state: sctpClosed, ToClient: one, status: statusSeenReply}, true},
		"an association that was":  {Entry{Proto: nat.SCTP, state: sctpClosed, ToClient: one, status: established}, false},
		"datagrams with an answer": {Entry{Proto: nat.UDP, ToClient: one}, false},
	} {
		if got := c.e.Refused(); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
