package nat

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestPassages reads back from the elements which networks gateways and statics are between.
func TestPassages(t *testing.T) {
	t.Parallel()
	prefixes := func(list ...string) (all []netip.Prefix) {
		for _, p := range list {
			all = append(all, netip.MustParsePrefix(p))
		}
		return all
	}
	spec := &Spec{
		Gateways: []Gateway{
			{Name: "a", Enabled: true, From: prefixes("10.100.20.0/23", "fd00:1::/64"), To: prefixes("0.0.0.0/0", "::/0")},
			{Name: "b", Enabled: true, From: prefixes("10.100.30.7/32"), To: prefixes("192.0.2.0/25"), Egress: "ens6"},
		},
		Statics: []Static{
			{Name: "c", Enabled: true, External: netip.MustParsePrefix("10.2.64.0/24"), Internal: netip.MustParsePrefix("192.168.1.0/24"), From: prefixes("10.1.0.0/16")},
			{Name: "d", Enabled: true, External: netip.MustParsePrefix("fd00:2::/120"), Internal: netip.MustParsePrefix("fd00:3::/120")},
		},
	}
	var got []string
	for _, p := range Build(spec, &Placements{Gateways: make([]Placement, 2), Statics: make([]Placement, 2)}).Passages() {
		text := p.Src.String() + " > " + p.Dst.String()
		if p.To.IsValid() {
			text += " = " + p.To.String()
		}
		got = append(got, text)
	}
	slices.Sort(got)
	want := []string{
		"10.1.0.0/16 > 10.2.64.0/24 = 192.168.1.0/24",
		"10.100.20.0/23 > 0.0.0.0/0",
		"10.100.30.7/32 > 192.0.2.0/25",
		"192.168.1.0/24 > 10.1.0.0/16",
		"::/0 > fd00:2::/120 = fd00:3::/120",
		"fd00:1::/64 > ::/0",
		"fd00:3::/120 > ::/0",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
