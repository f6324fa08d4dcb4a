package control

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestConnectionFilter(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		args ConnectionsArgs
		want ConnectionFilter
	}{
		"nothing": {ConnectionsArgs{}, ConnectionFilter{Protocol: -1, Limit: MaxConnections}},
		"everything": {
			ConnectionsArgs{Relay: "web", Client: "10.1.2.3/16", Target: "10.3.0.100:80", SNAT: "10.2.0.100", State: "established", Protocol: "TCP", Sort: "bytes", Limit: 3},
			ConnectionFilter{
				Relay: "web", Client: netip.MustParsePrefix("10.1.0.0/16"), Target: Place{netip.MustParseAddr("10.3.0.100"), 80},
				SNAT: Place{Addr: netip.MustParseAddr("10.2.0.100")}, State: "ESTABLISHED", Protocol: 6, Sort: SortByBytes, Limit: 3,
			},
		},
		"IPv6": {
			ConnectionsArgs{Client: "fd00::1", Target: "[fd00::2]:80", SNAT: "[fd00::3]", Protocol: "icmpv6"},
			ConnectionFilter{
				Client: netip.MustParsePrefix("fd00::1/128"), Target: Place{netip.MustParseAddr("fd00::2"), 80},
				SNAT: Place{Addr: netip.MustParseAddr("fd00::3")}, Protocol: 58, Limit: MaxConnections,
			},
		},
		"number": {ConnectionsArgs{Protocol: "47"}, ConnectionFilter{Protocol: 47, Limit: MaxConnections}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := test.args.Filter()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(&test.want, got, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestConnectionFilterErrors(t *testing.T) {
	t.Parallel()
	for want, args := range map[string]ConnectionsArgs{
		`client "10.1" must be an address`:                      {Client: "10.1"},
		`client "fe80::1%eth0" must be`:                         {Client: "fe80::1%eth0"},
		`target "10.3.0.100:0" must be`:                         {Target: "10.3.0.100:0"},
		`target "web" must be`:                                  {Target: "web"},
		`snat "10.2.0.0/16" must be`:                            {SNAT: "10.2.0.0/16"},
		`protocol "tpc" must be one of tcp, udp`:                {Protocol: "tpc"},
		`protocol "256" must be`:                                {Protocol: "256"},
		`sort "size" must be one of bytes`:                      {Sort: "size"},
		`limit -1 must be from 1 to 100000`:                     {Limit: -1},
		`limit 100001 must be`:                                  {Limit: 100_001},
		`client "x" must be an address such as "10.1.0.100" or`: {Client: "x", Target: "y"},
	} {
		_, err := args.Filter()
		if err == nil || !strings.Contains(err.Error(), want) || AsError(err).Code != CodeUsage || strings.Contains(err.Error(), "\n") {
			t.Errorf("%+v: %v, want %q", args, err, want)
		}
	}
}

// What the client did not check, the daemon does.
func TestConnectionsRefused(t *testing.T) {
	t.Parallel()
	r := run(t, well(), nil)
	err := Call(t.Context(), r.path, OpConnections, ConnectionsArgs{Target: "nowhere"}, new(ConnectionList))
	if err == nil || AsError(err).Code != CodeUsage || !strings.Contains(err.Error(), `target "nowhere"`) {
		t.Errorf("got %v", err)
	}
}

func TestPlaceHas(t *testing.T) {
	t.Parallel()
	at := netip.MustParseAddrPort("10.3.0.100:80")
	for _, test := range []struct {
		place Place
		want  bool
	}{
		{Place{}, true},
		{Place{Addr: at.Addr()}, true},
		{Place{at.Addr(), 80}, true},
		{Place{at.Addr(), 81}, false},
		{Place{netip.MustParseAddr("10.3.0.101"), 80}, false},
	} {
		if got := test.place.Has(at); got != test.want {
			t.Errorf("%v has %v: %v", test.place, at, got)
		}
	}
}
