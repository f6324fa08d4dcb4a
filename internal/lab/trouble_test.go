package lab

import (
	"net/netip"
	"syscall"
	"testing"
	"time"
)

// TestProvoke meets each kind of ICMP error on the way from B to C, and none where everything passes.
func TestProvoke(t *testing.T) {
	t.Parallel()
	p := New(t)
	Check(t, p.R.SetMTU("c", 1400))
	routers := []netip.Addr{netip.MustParseAddr("10.2.0.1"), netip.MustParseAddr("fd00:10:2::1")}
	for i, c := range p.C.addrs() {
		closed := netip.AddrPortFrom(c, 9)
		for _, tt := range []struct {
			hops, size int
			want       Trouble
		}{
			{64, 10, Trouble{syscall.ECONNREFUSED, c, 0}},
			{1, 10, Trouble{syscall.EHOSTUNREACH, routers[i], 0}},
			{64, 2000, Trouble{syscall.EMSGSIZE, routers[i], 1400}},
		} {
			if got, err := p.B.Provoke(closed, tt.hops, tt.size, patience); err != nil || got != tt.want {
				t.Errorf("%d bytes over %d hops to %v: %v, %v, want %v", tt.size, tt.hops, closed, got, err, tt.want)
			}
		}
		open, err := p.C.EchoUDP(netip.AddrPortFrom(c, 7).String())
		Check(t, err)
		if got, err := p.B.Provoke(open.Addr, 64, 10, 300*time.Millisecond); err == nil {
			t.Errorf("%v answered, and with it came %v", open.Addr, got)
		}
	}
}
