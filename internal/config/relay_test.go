package config

import (
	"fmt"
	"strings"
	"testing"
)

// relayText is minimal with other values; a value of "" leaves the key out.
func relayText(name, listen, to string) string {
	text := "[[relay]]\n"
	for _, kv := range [][2]string{{"name", name}, {"listen", listen}, {"to", to}} {
		if kv[1] != "" {
			text += kv[0] + " = " + kv[1] + "\n"
		}
	}
	return text
}

func TestNameErrors(t *testing.T) {
	t.Parallel()
	const rule = `must be 1-48 characters of a-z, 0-9 and "-", the first not "-"`
	tests := []struct{ name, want string }{
		{"", `1: relay 1: name: missing: a unique name, such as name = "web"`},
		{`""`, `2: relay 1: name = "": ` + rule},
		{`"Web"`, `2: relay 1: name = "Web": ` + rule},
		{`"-web"`, `2: relay 1: name = "-web": ` + rule},
		{`"web_1"`, `2: relay 1: name = "web_1": ` + rule},
		{`"web\n"`, `2: relay 1: name = "web\n": ` + rule},
		{`"` + strings.Repeat("a", 49) + `"`, `2: relay 1: name = "` + strings.Repeat("a", 49) + `": ` + rule},
		{`5`, `2: relay 1: name = 5: must be a string, in quotes`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			checkErrors(t, relayText(tt.name, `":80"`, `["10.3.0.100"]`), tt.want)
		})
	}
	mustParse(t, relayText(`"`+strings.Repeat("a", 48)+`"`, `":80"`, `["10.3.0.100"]`))
}

func TestListenErrors(t *testing.T) {
	t.Parallel()
	const multicast, linkLocal = "a multicast address: only unicast can be relayed",
		"a link-local address: it is never routed, and the metadata services of clouds live there"
	const brackets = `has no port: write an IPv6 address in brackets and the port behind, as in "[fd00:2::100]:80"`
	tests := []struct{ listen, rule string }{
		{`10.2.0.100:70000`, `port 70000 is not in 1-65535`},
		{`10.2.0.100:0`, `port 0 is not in 1-65535`},
		{`10.2.0.100:99999999999999999999`, `port 99999999999999999999 is not in 1-65535`},
		{`10.2.0.100:53/udp`, `"53/udp" has more than a port: the protocol is a key of its own, as in protocol = "udp"`},
		{`10.2.0.100:http`, `port "http" is not a number in 1-65535`},
		{`10.2.0.100:+80`, `port "+80" is not a number in 1-65535`},
		{`10.2.0.100: 80`, `port " 80" is not a number in 1-65535`},
		{`10.2.0.100:`, `a port is missing`},
		{`10.2.0.100:80-`, `a port is missing`},
		{`10.2.0.100:80-90-99`, `port "90-99" is not a number in 1-65535`},
		{`10.2.0.100:90-80`, `the first port of 90-80 is above the last; did you mean 80-90?`},
		{`10.2.0.100`, `has no port: write ADDR:PORT, ADDR:FIRST-LAST, [V6]:PORT or :PORT`},
		{`80`, `has no port: write ADDR:PORT, ADDR:FIRST-LAST, [V6]:PORT or :PORT`},
		{``, `has no port: write ADDR:PORT, ADDR:FIRST-LAST, [V6]:PORT or :PORT`},
		{`10.2.0.300:80`, `"10.2.0.300" is not an IP address`},
		{`010.2.0.100:80`, `"010.2.0.100" is not an IP address`},
		{`10.2.0.0/24:80`, `"10.2.0.0/24" is not an IP address`},
		{`nat.example:80`, `"nat.example" is not an IP address`},
		{`*:80`, `"*" is not an IP address`},
		{`fd00:2::100`, brackets},
		{`fd00:2::100:80`, brackets},
		{`[fd00:2::100]`, brackets},
		{`[fd00:2::100]:`, `a port is missing`},
		{`[fd00:2::100]:0`, `port 0 is not in 1-65535`},
		{`[fd00:2::100]80`, `only ":" and a port can come after "]": write [V6]:PORT`},
		{`[fd00:2::100:80`, `has "[" without "]": write [V6]:PORT`},
		{`[fd00:2::xyz]:80`, `"fd00:2::xyz" is not an IP address`},
		{`[fd00:2::/64]:80`, `"fd00:2::/64" is not an IP address`},
		{`[10.2.0.100]:80`, `brackets are for IPv6 addresses: leave them out`},
		{`[]:80`, `brackets are for IPv6 addresses: leave them out`},
		{`[::]:80`, `leave the address out to listen on every local address: write ":80"`},
		{`[::1]:80`, `::1 is a loopback address: nothing can be relayed from or to it`},
		{`[ff02::1]:80`, `ff02::1 is ` + multicast},
		{`[fe80::1]:80`, `fe80::1 is a link-local address: it is never routed`},
		{`[fe80::1%ens5]:80`, `"fe80::1%ens5" has a zone: only link-local addresses need one, and they are never routed`},
		{`[::ffff:10.2.0.100]:80`, `::ffff:10.2.0.100 is an IPv4 address in the notation of IPv6: write 10.2.0.100`},
		{`0.0.0.0:80`, `leave the address out to listen on every local address: write ":80"`},
		{`127.0.0.1:80`, `127.0.0.1 is a loopback address: nothing can be relayed from or to it`},
		{`224.0.0.1:80`, `224.0.0.1 is ` + multicast},
		{`255.255.255.255:80`, `255.255.255.255 is the broadcast address: only unicast can be relayed`},
		{`169.254.169.254:80`, `169.254.169.254 is ` + linkLocal},
	}
	for _, tt := range tests {
		t.Run(tt.listen, func(t *testing.T) {
			t.Parallel()
			quoted := `"` + tt.listen + `"`
			checkErrors(t, relayText(`"web"`, quoted, `["10.3.0.100"]`), `3: relay "web": listen = `+quoted+`: `+tt.rule)
		})
	}
	checkErrors(t, relayText(`"web"`, `80`, `["10.3.0.100"]`), `3: relay "web": listen = 80: must be a string, in quotes`)
	checkErrors(t, relayText(`"web"`, ``, `["10.3.0.100"]`), `1: relay "web": listen: missing: what clients dial, such as listen = "10.2.0.100:80"`)
}

func TestRelayErrors(t *testing.T) {
	t.Parallel()
	const iface = `must be "auto" or the name of an interface: 1-15 printable characters without blanks, "/", ":", "*" and quotes`
	tests := []struct{ key, value, rule string }{
		{"protocol", `"TCP"`, `must be "tcp", "udp" or "sctp", or a list of them; did you mean "tcp"?`},
		{"protocol", `6`, `must be a list: write protocol = ["tcp"]`},
		{"protocol", `[]`, `an empty list would carry nothing; leave the key out for "tcp"`},
		{"protocol", `["tcp", "icmp"]`, `must be "tcp", "udp" or "sctp", or a list of them`},
		{"protocol", `["udp", "udp"]`, `"udp" is listed twice`},
		{"protocol", `["udp", 6]`, `must be a list of strings, but item 2 is none`},
		{"from", `"10.1.0.0/16"`, `must be a list: write from = ["10.1.0.0/16"]`},
		{"from", `true`, `must be a list: write from = ["10.1.0.0/16"]`},
		{"from", `[]`, `an empty list would admit nobody; leave the key out to admit everyone`},
		{"from", `["10.1.0.5/16"]`, `"10.1.0.5/16": host bits set; did you mean 10.1.0.0/16?`},
		{"from", `["10.1.0.0/33"]`, `"10.1.0.0/33" is not a network such as "10.1.0.0/16" or "fd00:1::/64"`},
		{"from", `["vpc-a"]`, `"vpc-a" is not a network such as "10.1.0.0/16" or "fd00:1::/64"`},
		{"from", `["fd00:1::1/64"]`, `"fd00:1::1/64": host bits set; did you mean fd00:1::/64?`},
		{"from", `["fd00:1::/129"]`, `"fd00:1::/129" is not a network such as "10.1.0.0/16" or "fd00:1::/64"`},
		{"from", `["fe80::1%ens5"]`, `"fe80::1%ens5" has a zone: only link-local addresses need one, and they are never routed`},
		{"from", `["::ffff:10.1.0.1"]`, `::ffff:10.1.0.1 is an IPv4 address in the notation of IPv6: write 10.1.0.1`},
		{"from", `["::ffff:10.1.0.0/112"]`, `"::ffff:10.1.0.0/112" is IPv4 in the notation of IPv6: write the IPv4 network`},
		{"from", `["10.1.0.0/16", "10.1.0.0/16"]`, `"10.1.0.0/16" is listed twice`},
		{"from", `["10.1.0.1", "10.1.0.1/32"]`, `"10.1.0.1/32" is listed twice`},
		{"egress", `""`, iface},
		{"egress", `"abcdefghijklmnop"`, iface},
		{"egress", `"eth 0"`, iface},
		{"egress", `"eth/0"`, iface},
		{"egress", `"eth*"`, iface},
		{"egress", `".."`, iface},
		{"egress", `"default"`, iface},
		{"egress", `"e\u202e"`, iface},
		{"egress", `["eth0"]`, `must be a string, in quotes`},
		{"on_change", `"closed"`, `must be "drain" or "close"; did you mean "close"?`},
		{"log", `"yes"`, `must be true or false, without quotes`},
		{"enabled", `0`, `must be true or false, without quotes`},
		{"override_local", `[]`, `must be true or false, without quotes`},
		{"balance", `"roundrobin"`, `must be "round-robin", "random" or "source"; did you mean "round-robin"?`},
		{"balance", `"least-conn"`, `must be "round-robin", "random" or "source"`},
		{"balance", `1`, `must be a string, in quotes`},
		{"fail", `"close"`, `must be "open" or "closed"; did you mean "closed"?`},
		{"fail", `false`, `must be a string, in quotes`},
		{"target", `"10.3.0.100"`, `unknown key`},
		{"Snat", `"off"`, `unknown key; did you mean "snat"?`},
		{"loging", `true`, `unknown key`},
		{`"a b"`, `true`, `unknown key`},
	}
	for _, tt := range tests {
		t.Run(tt.key+tt.value, func(t *testing.T) {
			t.Parallel()
			checkErrors(t, minimal+tt.key+" = "+tt.value, fmt.Sprintf(`5: relay "web": %s = %s: %s`, tt.key, tt.value, tt.rule))
		})
	}
}
