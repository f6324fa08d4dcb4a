package record

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// wanted is a flow of the tests: a relay with a client of that port.
func wanted(port int) Flow {
	at := netip.MustParseAddrPort
	return Flow{
		Relay: "web", Kind: "relay", Protocol: 6, Client: at(fmt.Sprintf("10.1.0.100:%d", port)), Listen: at("10.2.0.100:80"),
		SNAT: at(fmt.Sprintf("10.2.0.100:%d", port+1)), Target: at("10.3.0.100:8080"), Start: 1000, End: 1010, Action: Accept, Status: OK,
		ToTarget: Volume{5, 500, SYN | FIN}, ToClient: Volume{4, 4000, SYNACK | FIN},
	}
}

// legs is the records of a flow: those of directions that have packets.
func legs(f Flow) (records []Record) {
	one := func(leg uint8, dir Direction, src, dst, from, to netip.AddrPort, v Volume) {
		if v.Packets == 0 {
			return
		}
		records = append(records, Record{
			Relay: f.Relay, Kind: f.Kind, Leg: leg, Client: f.Client, Listen: f.Listen, SNAT: f.SNAT, Target: f.Target, Protocol: f.Protocol,
			Src: src.Addr(), SrcPort: src.Port(), Dst: dst.Addr(), DstPort: dst.Port(), PktSrc: from.Addr(), PktDst: to.Addr(),
			Packets: v.Packets, Bytes: v.Bytes, TCPFlags: v.TCPFlags, Start: f.Start, End: f.End, Direction: dir, Action: f.Action, Status: f.Status,
		})
	}
	if f.Action == Reject {
		one(1, Ingress, f.Client, f.Listen, f.Client, f.Listen, f.ToTarget)
		return records
	}
	one(1, Ingress, f.Client, f.Listen, f.Client, f.Target, f.ToTarget)
	one(2, Egress, f.SNAT, f.Target, f.Client, f.Target, f.ToTarget)
	one(3, Ingress, f.Target, f.SNAT, f.Target, f.Client, f.ToClient)
	one(4, Egress, f.Listen, f.Client, f.Target, f.Client, f.ToClient)
	return records
}

// refused, unanswered and answers are flows of which records are missing.
func refused(port int) Flow {
	f := wanted(port)
	f.Action, f.SNAT, f.Target, f.ToTarget, f.ToClient = Reject, netip.AddrPort{}, netip.AddrPort{}, Volume{1, 60, SYN}, Volume{}
	return f
}

func unanswered(port int) Flow {
	f := wanted(port)
	f.ToTarget, f.ToClient = Volume{1, 60, SYN}, Volume{}
	return f
}

func answers(port int) Flow {
	f := wanted(port)
	f.ToTarget = Volume{}
	return f
}

// written is flows as a file in a format.
func written(t testing.TB, format string, flows ...Flow) string {
	t.Helper()
	f := parse(t, format)
	out := []byte(f.Header())
	for _, flow := range flows {
		for _, r := range legs(flow) {
			out = f.Append(out, &r)
		}
	}
	return string(out)
}

// join reads a file and puts its flows together.
func join(t testing.TB, file string) (flows []Flow) {
	t.Helper()
	var j Joiner
	for r := NewReader(strings.NewReader(file)); ; {
		var rec Record
		err := r.Read(&rec)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if f, ok := j.Add(&rec); ok {
			flows = append(flows, f)
		}
	}
	if f, ok := j.Flush(); ok {
		flows = append(flows, f)
	}
	return flows
}

// without is a flow as a format shows it that does not have all.
func without(f Flow, relay, flags bool) Flow {
	if relay {
		f.Relay, f.Kind = "", ""
	}
	if flags {
		f.ToTarget.TCPFlags, f.ToClient.TCPFlags = 0, 0
	}
	return f
}

// TestJoin wants the flows back that were written, in every format that can have them.
func TestJoin(t *testing.T) {
	t.Parallel()
	ping := wanted(1)
	ping.Protocol = 1
	for _, end := range []*netip.AddrPort{&ping.Client, &ping.Listen, &ping.SNAT, &ping.Target} {
		*end = netip.AddrPortFrom(end.Addr(), 0)
	}
	v6 := wanted(2)
	for i, end := range []*netip.AddrPort{&v6.Client, &v6.Listen, &v6.SNAT, &v6.Target} {
		*end = netip.AddrPortFrom(netip.MustParseAddr(fmt.Sprintf("fd00::%d", i+1)), end.Port())
	}
	gateway := wanted(40000)
	gateway.Listen = gateway.Target
	// The same window and counters twice, one after the other; then flows that lack a direction in between.
	flows := []Flow{
		wanted(40000), wanted(40002), unanswered(40004), unanswered(40006), refused(40008), refused(40010), answers(40012), answers(40014),
		wanted(40016), ping, v6, gateway,
	}
	for name, test := range map[string]struct {
		format       string
		relay, flags bool // are missing
	}{
		"json": {JSON, false, false},
		"v5":   {V5, true, false},
		"v2":   {V2, true, true},
		"own":  {"${natd-relay} ${natd-kind} ${natd-leg} ${natd-client} ${natd-listen} ${natd-snat} ${natd-target} ${srcaddr} ${protocol} ${packets} ${bytes} ${start} ${end} ${action} ${log-status} ${tcp-flags}", false, false},
		"ends": {"${natd-relay} ${natd-kind} ${natd-client} ${natd-listen} ${natd-snat} ${natd-target} ${srcaddr} ${srcport} ${dstaddr} ${dstport} ${protocol} ${packets} ${bytes} ${start} ${end} ${action} ${log-status} ${tcp-flags}", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var want []Flow
			for _, f := range flows {
				want = append(want, without(f, test.relay, test.flags))
			}
			diff := cmp.Diff(want, join(t, written(t, test.format, flows...)), cmpopts.EquateComparable(netip.AddrPort{}), cmpopts.IgnoreFields(Flow{}, "Records"))
			if diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Where nothing was dialled before, answers alone are told by the port of the server.
func TestJoinAnswersFirst(t *testing.T) {
	t.Parallel()
	want := []Flow{without(answers(40000), true, false)}
	if diff := cmp.Diff(want, join(t, written(t, V5, answers(40000))), cmpopts.EquateComparable(netip.AddrPort{}), cmpopts.IgnoreFields(Flow{}, "Records")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What tells of no traffic stands alone.
func TestJoinSkipData(t *testing.T) {
	t.Parallel()
	skip := Flow{Start: 1000, End: 1060, Status: SkipData, Records: 1}
	var j Joiner
	for _, r := range append(legs(unanswered(1)), Record{Start: 1000, End: 1060, Status: SkipData}) {
		f, ok := j.Add(&r)
		if ok != (r.Status == SkipData) {
			t.Errorf("leg %d: %v", r.Leg, ok)
		}
		if ok && f.Client != unanswered(1).Client {
			t.Errorf("first comes %+v", f)
		}
	}
	if f, ok := j.Flush(); !ok || cmp.Diff(skip, f, cmpopts.EquateComparable(netip.AddrPort{})) != "" {
		t.Errorf("then %+v", f)
	}
}

func TestLacks(t *testing.T) {
	t.Parallel()
	for format, want := range map[string]string{
		V2: "[]", V5: "[]", every(): "[]",
		"${srcaddr} ${dstaddr} ${start}": "[srcport dstport end]",
		"${natd-client} ${natd-listen} ${natd-snat} ${natd-target} ${natd-leg} ${start} ${end}": "[]",
		"${natd-client} ${natd-listen} ${natd-snat} ${natd-target} ${start} ${end}":             "[srcaddr srcport dstaddr dstport]",
	} {
		var p Parser
		if _, err := p.Parse([]byte(parse(t, format).Header()), new(Record)); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(p.Lacks(true)); got != want {
			t.Errorf("%s lacks %s, want %s", format, got, want)
		}
	}
}

// TestFinder asks for connections that lived at some time.
func TestFinder(t *testing.T) {
	t.Parallel()
	during := func(start, end int64, flags uint8) Flow {
		f := wanted(40000)
		f.Start, f.End, f.ToTarget.TCPFlags = start, end, flags
		return f
	}
	f := Finder{From: 1025, Until: 1025}
	for _, flow := range []Flow{
		during(1000, 1010, SYN), during(1020, 1030, 0), during(1070, 1080, FIN), // one, over three windows
		during(1100, 1101, SYN|FIN), // its port was used again
	} {
		f.Add(flow)
	}
	lives := f.Nearest(9)
	if len(lives) != 2 || lives[0].Windows != 3 || lives[0].Start != 1000 || lives[0].End != 1080 || lives[0].ToTarget.Packets != 15 || lives[1].Start != 1100 {
		t.Errorf("found %+v", lives)
	}
	for at, want := range map[int64]int64{1000: 0, 1080: 0, 1081: -1, 990: 10} {
		if got := lives[0].Distance(at, at); got != want {
			t.Errorf("at %d: distance %d, want %d", at, got, want)
		}
	}
}

// However long the log: the memory of the search is bounded, and the nearest are kept.
func TestFinderIsBounded(t *testing.T) {
	t.Parallel()
	f := Finder{From: 500_000, Until: 500_000}
	for i := range int64(10_000) {
		flow := wanted(40000)
		flow.Start, flow.End = i*100, i*100+1
		f.Add(flow)
		if len(f.lives) > livesHeld {
			t.Fatalf("%d lives are held", len(f.lives))
		}
	}
	if near := f.Nearest(1); near[0].Start != 500_000 {
		t.Errorf("the nearest began at %d", near[0].Start)
	}
}
