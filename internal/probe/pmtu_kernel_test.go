package probe

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"natd/internal/lab"
)

// TestKernelPathMTU measures a path as wide as the interface, one with a narrow hop that tells or does not, and one to a host that does
// not answer. From outside, tcpdump counts what that costs.
func TestKernelPathMTU(t *testing.T) {
	t.Parallel()
	lab.Require(t, "tcpdump")
	for _, tt := range []struct {
		narrow        int
		tells, mute   bool
		want          MTU
		least, atMost int // packets to the target
	}{
		{want: MTU{Answers: true, Link: 9001, Route: 9001, Largest: 9001}, least: 2, atMost: 2},
		{narrow: 1400, want: MTU{Answers: true, Link: 9001, Route: 9001, Largest: 1400, Failing: 1401, Blackhole: true}, least: 5, atMost: 45},
		{narrow: 1400, tells: true, want: MTU{Answers: true, Link: 9001, Route: 9001, Largest: 1400, Failing: 1401, Reported: 1400}, least: 5, atMost: 7},
		{narrow: 1437, want: MTU{Answers: true, Link: 9001, Route: 9001, Largest: 1437, Failing: 1438, Blackhole: true}, least: 5, atMost: 45},
		{mute: true, want: MTU{Link: 9001, Route: 9001}, least: 2, atMost: 2},
	} {
		t.Run(fmt.Sprintf("%d %v %v", tt.narrow, tt.tells, tt.mute), func(t *testing.T) {
			t.Parallel()
			p := lab.New(t)
			teller := narrow(t, p, tt.narrow, tt.tells)
			if tt.mute {
				lab.Check(t, p.C.Nft(t.Context(), "table inet mute { chain in { type filter hook input priority 0; icmp type echo-request drop; icmpv6 type echo-request drop; }; }"))
			}
			capture, err := p.B.Capture(t.Context(), lab.Device, "icmp[0] == 8 or ip6[40] == 128")
			lab.Check(t, err)
			targets := [][3]netip.Addr{{p.B.Addr, p.C.Addr, teller[0]}}
			if p.B.Addr6.IsValid() {
				targets = append(targets, [3]netip.Addr{p.B.Addr6, p.C.Addr6, teller[1]})
			}
			for _, a := range targets {
				var got MTU
				lab.Check(t, p.B.Do(func() error { got = PathMTU(t.Context(), a[0], a[1]); return nil }))
				want := tt.want
				if want.By = a[2]; got.near(want) != want {
					t.Errorf("%v: %+v, want %+v", a[1], got, want)
				}
			}
			wantPackets(t, capture, tt.least*len(targets), tt.atMost*len(targets))
		})
	}
}

// wantPackets ends a capture, which must have so many packets, and no fragment among them.
func wantPackets(t *testing.T, capture *lab.Capture, least, most int) {
	t.Helper()
	packets, err := capture.Stop(t.Context())
	lab.Check(t, err)
	if n := len(packets); n < least || n > most {
		t.Errorf("%d packets, want %d to %d", n, least, most)
	}
	for _, packet := range packets {
		if strings.Contains(packet.Line, "frag (") {
			t.Errorf("a fragment: %s", packet.Line)
		}
	}
}

// near is the measurement with bounds as they should be, when they are right and not farther apart than a few bytes.
func (m MTU) near(want MTU) MTU {
	const few = 8
	if m.Largest <= want.Largest && m.Failing >= want.Failing && m.Failing-m.Largest <= few {
		m.Largest, m.Failing = want.Largest, want.Failing
	}
	return m
}

// narrow makes a hop narrow, and returns the addresses of the router that tells so, if it does.
func narrow(t *testing.T, p *lab.Peering, mtu int, tells bool) (by [2]netip.Addr) {
	t.Helper()
	if mtu == 0 {
		return by
	}
	m, err := p.Narrow(t.Context(), mtu)
	lab.Check(t, err)
	if !tells {
		return by
	}
	for _, h := range []*lab.Host{p.R, m} {
		h.Output(t, "nft", "delete", "table", "inet", "silence")
	}
	return [2]netip.Addr{netip.MustParseAddr("10.2.0.1"), netip.MustParseAddr("fd00:10:2::1")}
}

// TestSteps wants the sizes to try to lie between, each once.
func TestSteps(t *testing.T) {
	t.Parallel()
	for _, tt := range [][2]int{{84, 9001}, {1400, 1401}, {1400, 1402}, {1400, 1405}, {576, 1280}} {
		last := tt[0]
		sizes := steps(tt[0], tt[1])
		for _, size := range sizes {
			if size <= last || size >= tt[1] {
				t.Errorf("%v: %v", tt, sizes)
			}
			last = size
		}
		if want := min(perRound, tt[1]-tt[0]-1); len(sizes) != want {
			t.Errorf("%v: %v, want %d sizes", tt, sizes, want)
		}
	}
}
