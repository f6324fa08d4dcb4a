package flow

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"natd/internal/nfnl"
	"natd/nat"
)

// encoded is an entry as the kernel dumps it.
func encoded(e *Entry) []byte {
	var b nfnl.Builder
	encodeTuple(&b, e)
	reply := b.Nest(ctaTupleReply)
	tuple := Entry{Proto: e.Proto, Orig: e.Reply}
	var inner nfnl.Builder
	encodeTuple(&inner, &tuple)
	for typ, payload := range nfnl.Attrs(nfnl.Attr(inner.Payload(), ctaTupleOrig)) {
		b.Bytes(typ, payload)
	}
	b.Unnest(reply)
	b.Uint32(ctaStatus, e.status)
	b.Uint32(ctaTimeout, e.Timeout)
	info := b.Nest(ctaProtoInfo)
	tcp := b.Nest(ctaProtoInfoTCP)
	b.Uint8(ctaProtoInfoTCPState, e.tcpState)
	b.Unnest(tcp)
	b.Unnest(info)
	for typ, v := range map[uint16]Volume{ctaCountersOrig: e.ToTarget, ctaCountersReply: e.ToClient} {
		counters := b.Nest(typ)
		b.Uint64(ctaCountersPackets, v.Packets)
		b.Uint64(ctaCountersBytes, v.Bytes)
		b.Unnest(counters)
	}
	b.Bytes(ctaID, e.id)
	b.Bytes(ctaZone, e.zone)
	return b.Payload()
}

// example is an entry with everything that an entry can have.
func example() *Entry {
	e := translated(nat.TCP, client, host+":80", "10.3.0.100:8080", established)
	e.Timeout, e.tcpState = 431999, 3
	e.ToTarget, e.ToClient = Volume{5, 500}, Volume{4, 4000}
	e.id, e.zone = []byte{1, 2, 3, 4}, []byte{0, 7}
	return e
}

func TestDecodeEntry(t *testing.T) {
	t.Parallel()
	var got Entry
	if !decodeEntry(encoded(example()), &got) {
		t.Fatal("the entry was not recognised")
	}
	if diff := cmp.Diff(example(), &got, cmp.AllowUnexported(Entry{}), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got.Listen() != (nat.Endpoint{Addr: netip.MustParseAddr(host), Proto: nat.TCP, Port: 80}) {
		t.Errorf("Listen() = %v", got.Listen())
	}
	if !got.Translated() || !got.Replied() || !got.Assured() {
		t.Errorf("translated %v, replied %v, assured %v", got.Translated(), got.Replied(), got.Assured())
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
	if e.Timeout != 0 || e.tcpState != 0 || e.ToTarget != (Volume{}) || len(e.zone) != 0 || e.status != 0 {
		t.Errorf("the next entry has something of the last: %+v", e)
	}
	if kept.id[0] != 1 || kept.zone[1] != 7 {
		t.Errorf("the clone changed with its original: id %v, zone %v", kept.id, kept.zone)
	}
}

func TestDecodeEntryOfOtherKinds(t *testing.T) {
	t.Parallel()
	icmp := example()
	icmp.Proto = 1
	for name, attrs := range map[string][]byte{
		"nothing": nil, "ICMP": encoded(icmp), "cut off": encoded(example())[:20],
	} {
		if decodeEntry(attrs, new(Entry)) {
			t.Errorf("%s was taken for a connection", name)
		}
	}
}

func TestState(t *testing.T) {
	t.Parallel()
	for want, e := range map[string]Entry{
		"NONE":        {Proto: nat.TCP},
		"SYN_SENT":    {Proto: nat.TCP, tcpState: 1},
		"ESTABLISHED": {Proto: nat.TCP, tcpState: 3},
		"TIME_WAIT":   {Proto: nat.TCP, tcpState: 7},
		"SYN_SENT2":   {Proto: nat.TCP, tcpState: 9},
		"UNREPLIED":   {Proto: nat.UDP},
		"REPLIED":     {Proto: nat.TCP, tcpState: 99, status: statusSeenReply},
	} {
		if got := e.State(); got != want {
			t.Errorf("State() = %s, want %s", got, want)
		}
	}
}

func FuzzDecodeEntry(f *testing.F) {
	f.Add(encoded(example()))
	f.Fuzz(func(_ *testing.T, b []byte) {
		var e Entry
		if decodeEntry(b, &e) {
			newJudge().Condemned(&e)
			_ = e.State()
			var request nfnl.Builder
			encodeTuple(&request, &e)
		}
	})
}
