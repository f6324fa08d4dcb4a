package flowlog

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"natd/internal/flow"
	"natd/internal/record"
	"natd/nat"
)

const fields = "${interface-id} ${srcaddr} ${srcport} ${dstaddr} ${dstport} ${protocol} ${packets} ${bytes} ${start} ${end} ${action} " +
	"${tcp-flags} ${pkt-srcaddr} ${pkt-dstaddr} ${flow-direction} ${traffic-path} ${natd-relay} ${natd-leg} ${log-status}"

func at(second int64) time.Time { return time.Unix(second, 0) }

func addrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// ens5 and ens6 are the interfaces of the host of tests, in a VPC that the target is in, too.
func host() *Host {
	prefixes := []netip.Prefix{netip.MustParsePrefix("10.2.0.0/16"), netip.MustParsePrefix("10.3.0.0/16")}
	return NewHost(Facts{
		Interfaces: []Interface{
			{ID: "ens5", Index: 2, Addrs: []netip.Addr{netip.MustParseAddr("10.2.0.100")}, VPCs: prefixes},
			{ID: "ens6", Index: 3, Addrs: []netip.Addr{netip.MustParseAddr("10.2.9.1")}},
			{ID: "docker0", Index: 4, Minor: true},
		},
		Way: func(a netip.Addr) int {
			if a == netip.MustParseAddr("192.0.2.9") {
				return 3
			}
			return 0
		},
	})
}

// newLog is a Log that begins at the time 100, and what it has written so far.
func newLog(t *testing.T) (l *Log, lines func() []string) {
	t.Helper()
	format, err := record.ParseFormat(fields)
	if err != nil {
		t.Fatal(err)
	}
	l = New(format, host, func() {}, at(100))
	return l, func() (all []string) {
		for _, s := range l.Take() {
			lines := strings.Split(strings.TrimSuffix(string(s.Text), "\n"), "\n")
			if len(lines) != s.Records {
				t.Errorf("%d lines are counted as %d records", len(lines), s.Records)
			}
			all = append(all, lines...)
			l.Wrote(s)
		}
		return all
	}
}

// sample is of a connection that a relay made, but for what edit changes.
func sample(edit func(*flow.Sample)) *flow.Sample {
	s := &flow.Sample{
		Entry: &flow.Entry{
			Proto: nat.UDP,
			Orig:  flow.Tuple{Src: addrPort("10.1.0.5:40000"), Dst: addrPort("10.2.0.100:80")},
			Reply: flow.Tuple{Src: addrPort("10.3.0.100:8080"), Dst: addrPort("10.2.0.100:50000")},
		},
		Owner:    flow.Owner{Kind: flow.KindRelay, Name: "web"},
		ToTarget: flow.Volume{Packets: 5, Bytes: 500}, ToClient: flow.Volume{Packets: 4, Bytes: 4000},
		First: at(110), Last: at(120),
	}
	edit(s)
	return s
}

func TestLegs(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		edit func(*flow.Sample)
		want []string
	}{
		"a relay": {func(*flow.Sample) {}, []string{
			"ens5 10.1.0.5 40000 10.2.0.100 80 17 5 500 110 120 ACCEPT 0 10.1.0.5 10.3.0.100 ingress - web 1 OK",
			"ens5 10.2.0.100 50000 10.3.0.100 8080 17 5 500 110 120 ACCEPT 0 10.1.0.5 10.3.0.100 egress 1 web 2 OK",
			"ens5 10.3.0.100 8080 10.2.0.100 50000 17 4 4000 110 120 ACCEPT 0 10.3.0.100 10.1.0.5 ingress - web 3 OK",
			"ens5 10.2.0.100 80 10.1.0.5 40000 17 4 4000 110 120 ACCEPT 0 10.3.0.100 10.1.0.5 egress - web 4 OK",
		}},
		"unanswered": {func(s *flow.Sample) { s.ToClient = flow.Volume{} }, []string{
			"ens5 10.1.0.5 40000 10.2.0.100 80 17 5 500 110 120 ACCEPT 0 10.1.0.5 10.3.0.100 ingress - web 1 OK",
			"ens5 10.2.0.100 50000 10.3.0.100 8080 17 5 500 110 120 ACCEPT 0 10.1.0.5 10.3.0.100 egress 1 web 2 OK",
		}},
		"nothing": {func(s *flow.Sample) { s.ToTarget, s.ToClient = flow.Volume{}, flow.Volume{} }, nil},
		"before the window": {func(s *flow.Sample) { s.First, s.Last, s.ToClient = at(10), at(20), flow.Volume{} }, []string{
			"ens5 10.1.0.5 40000 10.2.0.100 80 17 5 500 100 100 ACCEPT 0 10.1.0.5 10.3.0.100 ingress - web 1 OK",
			"ens5 10.2.0.100 50000 10.3.0.100 8080 17 5 500 100 100 ACCEPT 0 10.1.0.5 10.3.0.100 egress 1 web 2 OK",
		}},
		"to a program of the host": {func(s *flow.Sample) { s.Entry.Reply.Src = addrPort("127.0.0.1:8080") }, []string{
			"ens5 10.1.0.5 40000 10.2.0.100 80 17 5 500 110 120 ACCEPT 0 10.1.0.5 127.0.0.1 ingress - web 1 OK",
			"ens5 10.2.0.100 80 10.1.0.5 40000 17 4 4000 110 120 ACCEPT 0 127.0.0.1 10.1.0.5 egress - web 4 OK",
		}},
		"a gateway, whose clients dial others": {func(s *flow.Sample) {
			s.Entry.Orig = flow.Tuple{Src: addrPort("192.0.2.9:0"), Dst: addrPort("203.0.113.1:0")}
			s.Entry.Reply = flow.Tuple{Src: addrPort("203.0.113.1:0"), Dst: addrPort("10.2.0.100:0")}
			s.Entry.Proto, s.ToClient, s.Owner.Name = 1, flow.Volume{}, "out"
		}, []string{
			"ens6 192.0.2.9 0 203.0.113.1 0 1 5 500 110 120 ACCEPT 0 192.0.2.9 203.0.113.1 ingress - out 1 OK",
			"ens5 10.2.0.100 0 203.0.113.1 0 1 5 500 110 120 ACCEPT 0 192.0.2.9 203.0.113.1 egress - out 2 OK",
		}},
		"from nobody knows where": {func(s *flow.Sample) {
			s.Entry.Orig.Dst, s.ToClient = addrPort("10.2.64.9:80"), flow.Volume{}
		}, []string{
			"- 10.1.0.5 40000 10.2.64.9 80 17 5 500 110 120 ACCEPT 0 10.1.0.5 10.3.0.100 ingress - web 1 OK",
			"ens5 10.2.0.100 50000 10.3.0.100 8080 17 5 500 110 120 ACCEPT 0 10.1.0.5 10.3.0.100 egress 1 web 2 OK",
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, lines := newLog(t)
			l.Sample(sample(tt.edit))
			if diff := cmp.Diff(tt.want, lines()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

const (
	noData5 = "ens5 - - - - - - - 100 160 - - - - - - - - NODATA"
	noData6 = "ens6 - - - - - - - 100 160 - - - - - - - - NODATA"
)

// A window says of each interface that it had no traffic, or of all that records are missing; of none where it is not known.
func TestWindow(t *testing.T) {
	t.Parallel()
	skipped := func(from, until int) (all []string) {
		for _, id := range []string{"ens5", "ens6", "docker0"} {
			all = append(all, fmt.Sprintf("%s - - - - - - - %d %d - - - - - - - - SKIPDATA", id, from, until))
		}
		return all
	}
	busy := func(l *Log, _ func() []string) { l.Sample(sample(func(*flow.Sample) {})) }
	tests := map[string]struct {
		before func(l *Log, lines func() []string)
		lossy  bool
		want   []string
	}{
		"quiet":        {func(*Log, func() []string) {}, false, []string{noData5, noData6}},
		"one had some": {busy, false, []string{noData6}},
		"lossy":        {busy, true, skipped(100, 160)},
		"skipped":      {func(l *Log, _ func() []string) { l.Skip() }, false, skipped(100, 160)},
		"unsure": {func(l *Log, _ func() []string) {
			l.Sample(sample(func(s *flow.Sample) { s.Entry.Orig.Dst = addrPort("10.2.64.9:80") }))
		}, false, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, lines := newLog(t)
			tt.before(l, lines)
			lines()
			l.Window(at(100), at(160), tt.lossy)
			if diff := cmp.Diff(tt.want, lines()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			l.Window(at(160), at(220), false)
			if got := lines(); len(got) != 2 || !strings.HasSuffix(got[0], "160 220 - - - - - - - - NODATA") {
				t.Errorf("the next window has %q, want it quiet", got)
			}
		})
	}
}

// What nobody takes is bounded: it is left out and counted, and the log says so once there is room. The lines of a flow stay together.
func TestFull(t *testing.T) {
	t.Parallel()
	l, lines := newLog(t)
	n := 0
	for ; l.Dropped() == 0; n++ {
		l.Sample(sample(func(*flow.Sample) {}))
	}
	l.Window(at(100), at(160), false)
	if got := l.Dropped(); got != 4+3 {
		t.Errorf("%d records were dropped, want those of a flow and SKIPDATA for three interfaces", got)
	}
	taken := l.Take()
	size := 0
	for _, s := range taken {
		size += len(s.Text)
		if s.Records%4 != 0 {
			t.Errorf("the records of a flow are torn apart: %d", s.Records)
		}
	}
	if size < maxPending || size > maxPending+segmentSize {
		t.Errorf("%d bytes wait", size)
	}
	l.Sample(sample(func(*flow.Sample) {}))
	if got := lines(); got != nil {
		t.Errorf("there is room before anything was written: %q", got)
	}
	for _, s := range taken {
		l.Wrote(s)
	}
	l.Window(at(160), at(220), false)
	if got := lines(); len(got) != 3 || !strings.HasSuffix(got[0], "160 220 - - - - - - - - SKIPDATA") {
		t.Errorf("the next window has %q", got)
	}
	l.Window(at(220), at(280), false)
	if got := lines(); len(got) != 2 || !strings.HasSuffix(got[0], "NODATA") {
		t.Errorf("the window after that has %q", got)
	}
}

func refused(port uint16) *flow.Refused {
	from := netip.AddrPortFrom(netip.MustParseAddr("10.1.0.5"), port)
	return &flow.Refused{
		Proto: nat.TCP, From: from, Dialled: addrPort("10.2.0.100:80"), Target: addrPort("10.3.0.100:8080"), Bytes: 60, Flags: record.SYN, Device: 2,
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	l, lines := newLog(t)
	web := flow.Owner{Kind: flow.KindRelay, Name: "web"}
	l.Refused(refused(1), web, at(110))
	again := refused(1)
	again.Flags = 0x10 | record.RST // with an ACK that counts for nothing
	l.Refused(again, web, at(115))
	l.Window(at(100), at(160), false)
	want := []string{
		"ens5 10.1.0.5 1 10.2.0.100 80 6 2 120 110 115 REJECT 6 10.1.0.5 10.3.0.100 ingress - web 1 OK",
		noData6,
	}
	if diff := cmp.Diff(want, lines()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for port := range maxRefused + 1 {
		l.Refused(refused(uint16(port)), web, at(int64(170+port>>16)))
	}
	other := refused(1)
	other.Dialled = addrPort("10.2.0.100:81")
	l.Refused(other, web, at(170))
	if l.Dropped() != 2 {
		t.Errorf("%d were dropped, want the two that are too many", l.Dropped())
	}
	if !l.End() {
		t.Error("nothing is said to be missing")
	}
	if got := lines(); len(got) != maxRefused {
		t.Errorf("%d records, want %d", len(got), maxRefused)
	}
}

func TestSentFlags(t *testing.T) {
	t.Parallel()
	for flags, want := range map[uint8]uint8{0x02: 2, 0x12: 18, 0x11: 1, 0x14: 4, 0x10: 0, 0x18: 0, 0x00: 0} {
		if got := sentFlags(flags); got != want {
			t.Errorf("%#x is %d, want %d", flags, got, want)
		}
	}
}

// A connection costs what its four lines cost.
func BenchmarkSample(b *testing.B) {
	format, err := record.ParseFormat(record.V5)
	if err != nil {
		b.Fatal(err)
	}
	h := host()
	l := New(format, func() *Host { return h }, func() {}, at(100))
	s := sample(func(*flow.Sample) {})
	b.ReportAllocs()
	for b.Loop() {
		l.Sample(s)
		if len(l.pending) > 1 {
			for _, s := range l.Take() {
				l.Wrote(s)
			}
		}
	}
}
