package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"natd/nat"
)

// minimalStatic is a static with all that is required.
const minimalStatic = "[[static]]\nname = \"c\"\nexternal = \"10.2.64.0/24\"\ninternal = \"192.168.1.0/24\"\n"

func TestParseStatic(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, keys string
		want       nat.Static
	}{
		{"minimal", "external = \"10.2.64.0/24\"\ninternal = \"192.168.1.0/24\"", nat.Static{
			External: networks("10.2.64.0/24")[0], Internal: networks("192.168.1.0/24")[0], Enabled: true,
		}},
		{"addresses", "external = \"10.2.64.7\"\ninternal = \"192.168.1.9/32\"", nat.Static{
			External: networks("10.2.64.7/32")[0], Internal: networks("192.168.1.9/32")[0], Enabled: true,
		}},
		{"IPv6", "external = \"fd00:2::/64\"\ninternal = \"fd00:3::/64\"\nfrom = [\"fd00:1::/64\"]\nsnat = \"fd00:9::1\"", nat.Static{
			External: networks("fd00:2::/64")[0], Internal: networks("fd00:3::/64")[0], From: networks("fd00:1::/64"),
			SNAT: nat.SNAT{Mode: nat.SNATFixed, Addrs: addrs("fd00:9::1")}, Enabled: true,
		}},
		{"all", "external = \"10.0.0.0/9\"\ninternal = \"10.128.0.0/9\"\nfrom = [\"172.16.0.0/12\"]\nsnat = \"off\"\nenabled = false\noverride_local = true", nat.Static{
			External: networks("10.0.0.0/9")[0], Internal: networks("10.128.0.0/9")[0], From: networks("172.16.0.0/12"),
			SNAT: nat.SNAT{Mode: nat.SNATOff}, OverrideLocal: true,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.want.Name = "c"
			want := nat.Spec{Statics: []nat.Static{tt.want}}
			if diff := cmp.Diff(want, mustParse(t, "[[static]]\nname = \"c\"\n"+tt.keys).NAT, compareAddresses()); diff != "" {
				t.Errorf("Spec (-want +got):\n%s", diff)
			}
		})
	}
}

func TestStaticErrors(t *testing.T) {
	t.Parallel()
	tests := []struct{ external, internal, want string }{
		{`"0.0.0.0/0"`, `"10.0.0.0/8"`, `3: static "c": external = "0.0.0.0/0": "0.0.0.0/0" is every address there is: name the network that is translated`},
		{`"fd00:2::/64"`, `"::/0"`, `4: static "c": internal = "::/0": "::/0" is every address there is: name the network that is translated`},
		{`"10.2.64.1/24"`, `"192.168.1.0/24"`, `3: static "c": external = "10.2.64.1/24": "10.2.64.1/24": host bits set; did you mean 10.2.64.0/24?`},
		{`"10.2.64.0/24"`, `"web.example"`, `4: static "c": internal = "web.example": "web.example" is not a network such as "10.1.0.0/16" or "fd00:1::/64"`},
		{`"10.2.64.0/24"`, `["192.168.1.0/24"]`, `4: static "c": internal = ["192.168.1.0/24"]: must be a string, in quotes`},
		{`"127.0.0.1"`, `"10.3.0.1"`, `3: static "c": external = "127.0.0.1": 127.0.0.1 is a loopback address: nothing can be relayed from or to it`},
		{`"10.3.0.1"`, `"ff02::1"`, `4: static "c": internal = "ff02::1": ff02::1 is a multicast address: only unicast can be relayed`},
		{`"169.254.0.0/24"`, `"10.3.0.0/24"`, `3: static "c": external = "169.254.0.0/24": "169.254.0.0/24" overlaps 169.254.0.0/16, which is not unicast that can be routed`},
		{`"128.0.0.0/1"`, `"10.0.0.0/8"`, `3: static "c": external = "128.0.0.0/1": "128.0.0.0/1" overlaps 169.254.0.0/16, which is not unicast that can be routed`},
		{`"10.2.64.0/24"`, `"fd00:3::/64"`, `4: static "c": internal = "fd00:3::/64": IPv6, but external is IPv4: natd does not turn one into the other`},
		{`"10.2.64.0/24"`, `"192.168.0.0/16"`, `4: static "c": internal = "192.168.0.0/16": /16, but external is /24: both must have the same length, for each address becomes one`},
		{`"10.2.64.7"`, `"192.168.1.0/24"`, `4: static "c": internal = "192.168.1.0/24": /24, but external is /32: both must have the same length, for each address becomes one`},
		{`"10.2.64.0/24"`, `"10.2.64.0/24"`, `4: static "c": internal = "10.2.64.0/24": overlaps external (10.2.64.0/24): a packet could not tell whether it is translated already`},
	}
	for _, tt := range tests {
		t.Run(tt.external+tt.internal, func(t *testing.T) {
			t.Parallel()
			checkErrors(t, "[[static]]\nname = \"c\"\nexternal = "+tt.external+"\ninternal = "+tt.internal, tt.want)
		})
	}
	for keys, want := range map[string]string{
		`from = []`:                             `5: static "c": from = []: an empty list would admit nobody; leave the key out to admit everyone`,
		`from = ["10.1.0.0/16", "10.1.7.0/24"]`: `5: static "c": from = ["10.1.0.0/16", "10.1.7.0/24"]: 10.1.7.0/24 is part of 10.1.0.0/16: leave it out`,
		`from = ["fd00:1::/64"]`:                `5: static "c": from = ["fd00:1::/64"]: "fd00:1::/64" is IPv6, but external is IPv4: write an IPv4 network`,
		`snat = "fd00:2::1"`:                    `5: static "c": snat = "fd00:2::1": "fd00:2::1" is IPv6, but external is IPv4: write an IPv4 address`,
		`snat = "none"`:                         `5: static "c": snat = "none": "none" must be "auto", "off", an IP address or a range of them`,
		`override_local = 1`:                    `5: static "c": override_local = 1: must be true or false, without quotes`,
		`egress = "ens5"`:                       `5: static "c": egress = "ens5": unknown key`,
		`inernal = "10.3.0.0/24"`:               `5: static "c": inernal = "10.3.0.0/24": unknown key; did you mean "internal"?`,
	} {
		checkErrors(t, minimalStatic+keys, want)
	}
}

// TestStaticOverlaps holds pairs; the second one begins in line 5 or 6.
func TestStaticOverlaps(t *testing.T) {
	t.Parallel()
	second := func(external, internal, keys string) string {
		return "[[static]]\nname = \"d\"\nexternal = \"" + external + "\"\ninternal = \"" + internal + "\"\n" + keys
	}
	const from = "from = [\"10.1.0.0/16\"]\n"
	tests := []struct {
		text string
		want []string
	}{
		{minimalStatic + second("10.2.64.128/25", "192.168.2.0/25", ""), []string{
			`7: static "d": external = "10.2.64.128/25": 10.2.64.128/25 for clients from 0.0.0.0/0 overlaps with 10.2.64.0/24 from 0.0.0.0/0 of static "c" (line 1): an address can become one other only; use other addresses, or give each clients of its own in from`,
		}},
		{minimalStatic + from + second("10.2.0.0/16", "172.16.0.0/16", "from = [\"10.9.0.0/16\", \"10.1.7.0/24\"]"), []string{
			`8: static "d": external = "10.2.0.0/16": 10.2.0.0/16 for clients from 10.1.7.0/24 overlaps with 10.2.64.0/24 from 10.1.0.0/16 of static "c" (line 1): an address can become one other only; use other addresses, or give each clients of its own in from`,
		}},
		{minimalStatic + from + second("10.2.65.7", "192.168.1.7", ""), []string{
			`9: static "d": internal = "192.168.1.7": 192.168.1.7/32 towards 0.0.0.0/0 overlaps with 192.168.1.0/24 towards 10.1.0.0/16 of static "c" (line 1): a host has one external address only; give each clients of its own in from`,
		}},
		{minimalStatic + second("10.2.64.0/24", "192.168.1.0/24", "enabled = false"), []string{
			`7: static "d": external = "10.2.64.0/24": 10.2.64.0/24 for clients from 0.0.0.0/0 overlaps with 10.2.64.0/24 from 0.0.0.0/0 of static "c" (line 1): an address can become one other only; use other addresses, or give each clients of its own in from`,
			`8: static "d": internal = "192.168.1.0/24": 192.168.1.0/24 towards 0.0.0.0/0 overlaps with 192.168.1.0/24 towards 0.0.0.0/0 of static "c" (line 1): a host has one external address only; give each clients of its own in from`,
		}},
		{minimalStatic + relayText(`"web"`, `"10.2.64.7:80"`, `["10.3.0.100"]`), []string{
			`7: relay "web": listen = "10.2.64.7:80": 10.2.64.7 is external of static "c" (line 1), which takes every port: use another address`,
		}},
		{relayText(`"c"`, `":80"`, `["10.3.0.100"]`) + minimalStatic + "[[gateway]]\nname = \"c\"\nfrom = [\"10.100.20.0/24\"]", []string{
			`6: static "c": name = "c": must be unique, but is also the name of the relay in line 1`,
			`10: gateway "c": name = "c": must be unique, but is also the name of the relay in line 1`,
		}},
	}
	for _, tt := range tests {
		checkErrors(t, tt.text, tt.want...)
	}
	for _, text := range []string{
		minimalStatic + second("10.2.65.0/24", "192.168.2.0/24", ""),
		minimalStatic + from + second("10.2.64.0/24", "192.168.2.0/24", "from = [\"10.9.0.0/16\"]"),
		minimalStatic + from + second("10.2.65.0/24", "192.168.1.0/24", "from = [\"10.9.0.0/16\"]"),
		minimalStatic + second("fd00:2::/64", "fd00:3::/64", ""),
		minimalStatic + relayText(`"web"`, `":80"`, `["10.3.0.100"]`),
		minimalStatic + relayText(`"web"`, `"10.2.65.7:80"`, `["10.3.0.100"]`),
		minimalStatic + "[[gateway]]\nname = \"out\"\nfrom = [\"192.168.1.0/24\"]", // inside hosts: the static comes first
	} {
		mustParse(t, text)
	}
}
