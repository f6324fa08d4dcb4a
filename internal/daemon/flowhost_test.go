package daemon

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"natd/internal/flowlog"
	"natd/internal/imds"
	"natd/netconf"
)

// The interfaces of flow records have AWS's names where AWS knows them, and those of the devices otherwise.
func TestFlowFacts(t *testing.T) {
	t.Parallel()
	links := []netconf.Link{
		{Name: "lo", Index: 1, Own: true},
		{Name: "ens5", Index: 2, MAC: "02:00:00:00:00:01"},
		{Name: "ens6", Index: 3, MAC: "02:00:00:00:00:02"},
		{Name: "veth0", Index: 4},
	}
	addr := netip.MustParseAddr
	addresses := []netconf.Address{
		{Addr: netip.MustParsePrefix("192.0.2.7/32"), Link: "lo"},
		{Addr: netip.MustParsePrefix("10.2.0.100/24"), Link: "ens5"},
		{Addr: netip.MustParsePrefix("10.2.0.101/24"), Link: "ens5"},
		{Addr: netip.MustParsePrefix("10.9.0.1/24"), Link: "ens6"},
	}
	vpc := []netip.Prefix{netip.MustParsePrefix("10.2.0.0/16")}
	in := &instance{Identity: &imds.Identity{
		ID: "i-1", Account: "123456789012", Region: "eu-west-1", ZoneID: "euw1-az2",
		Interfaces: []imds.Interface{{MAC: "02:00:00:00:00:01", ID: "eni-1", VPC: "vpc-1", Subnet: "subnet-1", VPCBlocks: vpc}},
	}}
	first, second := []netip.Addr{addr("10.2.0.100"), addr("10.2.0.101")}, []netip.Addr{addr("10.9.0.1")}
	for name, tt := range map[string]struct {
		in   *instance
		want flowlog.Facts
	}{
		"off AWS": {nil, flowlog.Facts{
			Interfaces: []flowlog.Interface{{ID: "ens5", Index: 2, Addrs: first}, {ID: "ens6", Index: 3, Addrs: second}},
			Own:        []netip.Addr{addr("192.0.2.7")},
		}},
		"on AWS": {in, flowlog.Facts{
			Account: "123456789012", InstanceID: "i-1", Region: "eu-west-1", ZoneID: "euw1-az2",
			Interfaces: []flowlog.Interface{
				{ID: "eni-1", Index: 2, VPC: "vpc-1", Subnet: "subnet-1", Addrs: first, VPCs: vpc}, {ID: "ens6", Index: 3, Addrs: second, Minor: true},
			},
			Own: []netip.Addr{addr("192.0.2.7")},
		}},
	} {
		if diff := cmp.Diff(tt.want, flowFacts(links, addresses, tt.in), cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
