package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"natd/nat"
)

func TestParseSNAT(t *testing.T) {
	t.Parallel()
	tests := []struct {
		snat string
		want []string
	}{
		{`"10.2.0.101"`, []string{"10.2.0.101"}},
		{`["10.2.0.101"]`, []string{"10.2.0.101"}},
		{`"10.2.0.101-10.2.0.103"`, []string{"10.2.0.101", "10.2.0.102", "10.2.0.103"}},
		{`"10.2.0.255-10.2.1.0"`, []string{"10.2.0.255", "10.2.1.0"}},
		{`"10.2.0.101-10.2.0.101"`, []string{"10.2.0.101"}},
		{`["10.2.0.109", "10.2.0.101-10.2.0.102", "fd00:2::1", "fd00:2::ffff-fd00:2::1:0"]`, []string{
			"10.2.0.109", "10.2.0.101", "10.2.0.102", "fd00:2::1", "fd00:2::ffff", "fd00:2::1:0",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.snat, func(t *testing.T) {
			t.Parallel()
			c := mustParse(t, relayText(`"web"`, `":80"`, `["web.example"]`)+"snat = "+tt.snat)
			want := nat.SNAT{Mode: nat.SNATFixed, Addrs: addrs(tt.want...)}
			if diff := cmp.Diff(want, c.NAT.Relays[0].SNAT, compareAddresses()); diff != "" {
				t.Errorf("SNAT (-want +got):\n%s", diff)
			}
		})
	}
	c := mustParse(t, minimal+`snat = "10.2.0.0-10.2.0.255"`)
	if n := len(c.NAT.Relays[0].SNAT.Addrs); n != nat.MaxPool {
		t.Errorf("the pool has %d addresses, want %d", n, nat.MaxPool)
	}
}

func TestSNATErrors(t *testing.T) {
	t.Parallel()
	const words = `must be "auto", "off", an IP address or a range of them`
	tests := []struct{ snat, rule string }{
		{`"masquerade"`, `"masquerade" ` + words},
		{`"of"`, `"of" ` + words + `; did you mean "off"?`},
		{`""`, `"" ` + words},
		{`"nat-host.example"`, `"nat-host.example" ` + words},
		{`"10.2.0.0/24"`, `"10.2.0.0/24" ` + words},
		{`false`, `must be "auto", "off", an address or a range in quotes, or a list of them`},
		{`[]`, `an empty list has no address to send from; leave the key out for "auto"`},
		{`["10.2.0.100", 5]`, `must be a list of strings, but item 2 is none`},
		{`["10.2.0.100", "auto"]`, `"auto" stands alone: a list has addresses only`},
		{`["off", "10.2.0.100"]`, `"off" stands alone: a list has addresses only`},
		{`"0.0.0.0"`, `0.0.0.0 is not the address of a host`},
		{`"127.0.0.1"`, `127.0.0.1 is a loopback address: nothing can be relayed from or to it`},
		{`"::1"`, `::1 is a loopback address: nothing can be relayed from or to it`},
		{`"::ffff:10.2.0.1"`, `::ffff:10.2.0.1 is an IPv4 address in the notation of IPv6: write 10.2.0.1`},
		{`"10.2.0.100-"`, `"" is not an IP address`},
		{`"10.2.0.100-10.2.0.110-10.2.0.120"`, `"10.2.0.110-10.2.0.120" is not an IP address`},
		{`"10.2.0.100-110"`, `"110" is not an IP address`},
		{`"10.2.0.100-fd00:2::1"`, `10.2.0.100-fd00:2::1 is from one family into the other`},
		{`"10.2.0.110-10.2.0.100"`, `the first address of 10.2.0.110-10.2.0.100 is above the last; did you mean 10.2.0.100-10.2.0.110?`},
		{`"223.255.255.255-224.0.0.1"`, `224.0.0.1 is a multicast address: only unicast can be relayed`},
		{`"10.2.0.0-10.2.1.0"`, `more than 256 addresses: that is the limit of a pool`},
		{`"fd00:2::-fd00:3::"`, `more than 256 addresses: that is the limit of a pool`},
		{`["10.2.0.1", "10.2.0.1"]`, `10.2.0.1 is listed twice`},
		{`["10.2.0.1-10.2.0.9", "10.2.0.5"]`, `10.2.0.5 is listed twice`},
	}
	for _, tt := range tests {
		t.Run(tt.snat, func(t *testing.T) {
			t.Parallel()
			checkErrors(t, minimal+"snat = "+tt.snat, `5: relay "web": snat = `+tt.snat+`: `+tt.rule)
		})
	}
}
