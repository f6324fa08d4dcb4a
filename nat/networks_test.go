package nat

import (
	"net/netip"
	"slices"
	"testing"
)

// TestNetworks wants what a spec asks for to be read from the table that it becomes.
func TestNetworks(t *testing.T) {
	t.Parallel()
	p := netip.MustParsePrefix
	spec := &Spec{
		Gateways: []Gateway{
			{Name: "any", From: []netip.Prefix{p("10.100.0.0/16")}, To: []netip.Prefix{p("0.0.0.0/0")}, Enabled: true},
			{Name: "by", From: []netip.Prefix{p("fd00:7::/64")}, To: []netip.Prefix{p("2000::/3")}, Egress: "ens5", Enabled: true},
		},
		Statics: []Static{{
			Name: "c", External: p("10.2.64.0/24"), Internal: p("192.168.1.0/24"), From: []netip.Prefix{p("10.1.0.7/32")},
			SNAT: SNAT{Mode: SNATOff}, Enabled: true,
		}},
	}
	got := Build(spec, &Placements{Gateways: make([]Placement, 2), Statics: make([]Placement, 1)}).Networks()
	want := []Networks{
		{Src: p("10.100.0.0/16"), Dst: p("0.0.0.0/0")},
		{Src: p("fd00:7::/64"), Dst: p("2000::/3")},
		{Src: p("10.1.0.7/32"), Dst: p("10.2.64.0/24"), To: p("192.168.1.0/24")},
		{Src: p("192.168.1.0/24"), Dst: p("10.1.0.7/32")},
	}
	if len(got) != len(want) {
		t.Errorf("got %v", got)
	}
	for _, n := range want {
		if !slices.Contains(got, n) {
			t.Errorf("%v is not in %v", n, got)
		}
	}
}
