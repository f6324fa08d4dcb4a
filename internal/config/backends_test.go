package config

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"natd/nat"
)

// backend is an address or a name with ports from 80 on, and the weight that is the default.
func backend(host string, ports int) nat.Backend {
	b := nat.Backend{Ports: nat.PortRange{First: 80, Last: uint16(79 + ports)}, Weight: 1}
	if strings.Trim(host, "0123456789.") == "" || strings.Contains(host, ":") {
		b.Addr = addrs(host)[0]
	} else {
		b.Name = host
	}
	return b
}

func TestParseBackends(t *testing.T) {
	t.Parallel()
	weighted, backup := backend("10.3.0.101", 1), backend("web.example", 1)
	weighted.Weight, backup.Backup = 256, true
	longest := strings.Repeat(strings.Repeat("a", 63)+".", 3) + strings.Repeat("b", 61)
	tests := []struct {
		listen, to string
		want       []nat.Backend
	}{
		{":80", `["10.3.0.100", "10.3.0.101:80"]`, []nat.Backend{backend("10.3.0.100", 1), backend("10.3.0.101", 1)}},
		{":80", `["fd00:3::100", "[fd00:3::101]", "[fd00:3::102]:80"]`, []nat.Backend{
			backend("fd00:3::100", 1), backend("fd00:3::101", 1), backend("fd00:3::102", 1),
		}},
		{":80", `["10.3.0.100", "fd00:3::100", "web.example"]`, []nat.Backend{
			backend("10.3.0.100", 1), backend("fd00:3::100", 1), backend("web.example", 1),
		}},
		{":1080-1089", `["[fd00:3::100]:80-89", "web.example:80-89"]`, []nat.Backend{backend("fd00:3::100", 10), backend("web.example", 10)}},
		{":80", `["10.3.0.100", {address = "10.3.0.101", weight = 256}, {address = "web.example", backup = true}]`, []nat.Backend{
			backend("10.3.0.100", 1), weighted, backup,
		}},
		{":80", `["Web.Example."]`, []nat.Backend{backend("web.example", 1)}},
		{":80", `["web"]`, []nat.Backend{backend("web", 1)}},
		{":80", `["my_db.x--1.3com"]`, []nat.Backend{backend("my_db.x--1.3com", 1)}},
		{":80", `["10.3.0.com"]`, []nat.Backend{backend("10.3.0.com", 1)}},
		{":80", `["` + longest + `."]`, []nat.Backend{backend(longest, 1)}},
	}
	for _, tt := range tests {
		t.Run(tt.to, func(t *testing.T) {
			t.Parallel()
			c := mustParse(t, relayText(`"web"`, `"`+tt.listen+`"`, tt.to))
			if diff := cmp.Diff(tt.want, c.NAT.Relays[0].Backends, compareAddresses()); diff != "" {
				t.Errorf("backends (-want +got):\n%s", diff)
			}
		})
	}
	c := mustParse(t, relayText(`"web"`, `":80"`, ``)+"[[relay.to]]\naddress = \"10.3.0.101\"\nweight = 256\n[[relay.to]]\naddress = \"web.example\"\nbackup = true\n")
	if diff := cmp.Diff([]nat.Backend{weighted, backup}, c.NAT.Relays[0].Backends, compareAddresses()); diff != "" {
		t.Errorf("backends of [[relay.to]] (-want +got):\n%s", diff)
	}
}

// TestBackendErrors holds lists of one backend.
func TestBackendErrors(t *testing.T) {
	t.Parallel()
	const notItem = `must be a string in quotes, or a table such as {address = "10.3.0.100:80"}`
	const noName = ` is neither an IP address nor a name of letters, digits, "-", "_" and dots`
	long := strings.Repeat("a.", 126) + "ab"
	tests := []struct{ listen, to, rule string }{
		{":80", `"10.3.0.100:80"`, `must be a list: write to = ["10.3.0.100:80"]`},
		{":80", `80`, `must be a list: write to = ["10.3.0.100:80"]`},
		{":80", `[]`, `an empty list would lead nowhere: name a backend`},
		{":80", `[80]`, notItem},
		{":80", `[["10.3.0.100"]]`, notItem},
		{":80", `["10.3.0.100:0"]`, `port 0 is not in 1-65535`},
		{":80", `["10.3.0.100:"]`, `a port is missing`},
		{":80", `["10.3.0.300:80"]`, `"10.3.0.300" is not an IP address, and the last part of a name is no number`},
		{":80", `["3"]`, `"3" is not an IP address, and the last part of a name is no number`},
		{":80", `["web.3."]`, `"web.3." is not an IP address, and the last part of a name is no number`},
		{":80", `[""]`, `names no host: write ADDR:PORT or NAME:PORT`},
		{":80", `[":80"]`, `names no host: write ADDR:PORT or NAME:PORT`},
		{":80", `["web example"]`, `"web example"` + noName},
		{":80", `["10.3.0.0/24"]`, `"10.3.0.0/24"` + noName},
		{":80", `["http://web.example"]`, `is a URL: leave "http://" out, and all that comes behind the port`},
		{":80", `["."]`, `"." is not a name: nothing stands before a dot`},
		{":80", `["web..example"]`, `"web..example" is not a name: nothing stands before a dot`},
		{":80", `[".example"]`, `".example" is not a name: nothing stands before a dot`},
		{":80", `["-web.example"]`, `no part of a name begins or ends with "-"`},
		{":80", `["web-.example"]`, `no part of a name begins or ends with "-"`},
		{":80", `["bücher.example"]`, `"bücher.example": write the name as DNS has it, in the form that begins with "xn--"`},
		{":80", `["localhost:80"]`, `"localhost" is this host itself: nothing can be relayed to it`},
		{":80", `["web.localhost"]`, `"web.localhost" is this host itself: nothing can be relayed to it`},
		{":80", `["fd00:3::xyz"]`, `"fd00:3::xyz" is not an IP address`},
		{":80", `["[fd00:3::100"]`, `has "[" without "]": write [V6]:PORT`},
		{":80", `["[web.example]:80"]`, `brackets are for IPv6 addresses: leave them out`},
		{":80", `["::1"]`, `::1 is a loopback address: nothing can be relayed from or to it`},
		{":80", `["::"]`, `:: is not the address of a host`},
		{":80", `["ff02::1"]`, `ff02::1 is a multicast address: only unicast can be relayed`},
		{":80", `["fe80::1"]`, `fe80::1 is a link-local address: it is never routed`},
		{":80", `["[fe80::1%ens5]:80"]`, `"fe80::1%ens5" has a zone: only link-local addresses need one, and they are never routed`},
		{":80", `["::ffff:10.3.0.100"]`, `::ffff:10.3.0.100 is an IPv4 address in the notation of IPv6: write 10.3.0.100`},
		{":80", `["0.0.0.0:80"]`, `0.0.0.0 is not the address of a host`},
		{":80", `["127.0.0.1:80"]`, `127.0.0.1 is a loopback address: nothing can be relayed from or to it`},
		{":80", `["239.0.0.1:80"]`, `239.0.0.1 is a multicast address: only unicast can be relayed`},
		{":80", `["169.254.169.254"]`, `169.254.169.254 is a link-local address: it is never routed, and the metadata services of clouds live there`},
		{":80", `["10.3.0.100:80-89"]`, `10 ports, but listen has 1 port: both must have the same number`},
		{":80-89", `["10.3.0.100:80"]`, `1 port, but listen has 10 ports: both must have the same number`},
		{":80-89", `["10.3.0.100:80-99"]`, `20 ports, but listen has 10 ports: both must have the same number`},
		{":80-89", `["[fd00:3::100]:90-100"]`, `11 ports, but listen has 10 ports: both must have the same number`},
		{":80-89", `["web.example:90"]`, `1 port, but listen has 10 ports: both must have the same number`},
	}
	for _, tt := range tests {
		t.Run(tt.to, func(t *testing.T) {
			t.Parallel()
			checkErrors(t, relayText(`"web"`, `"`+tt.listen+`"`, tt.to), `4: relay "web": to = `+tt.to+`: `+tt.rule)
		})
	}
	checkErrors(t, relayText(`"web"`, `":80"`, `["`+strings.Repeat("a", 64)+`"]`),
		`4: relay "web": to = ["`+strings.Repeat("a", 57)+`…]: a part of the name has 64 characters, and DNS knows none of more than 63`)
	checkErrors(t, relayText(`"web"`, `":80"`, `["`+long+`"]`),
		`4: relay "web": to = ["`+long[:57]+`…]: the name has 254 characters, and DNS knows none of more than 253`)
	checkErrors(t, relayText(`"web"`, `":80"`, ``), `1: relay "web": to: missing: where connections go, such as to = ["10.3.0.100:80"]`)
	// What is wrong with listen is told once.
	checkErrors(t, relayText(`"web"`, `":0-9"`, `["10.3.0.100:80-99"]`), `3: relay "web": listen = ":0-9": port 0 is not in 1-65535`)
}

// TestHabits wants what people are used to write elsewhere to be told from what is written here.
func TestHabits(t *testing.T) {
	t.Parallel()
	checkErrors(t, relayText(`"web"`, `":80"`, `["https://web.example:443/path", ":80", {addr = "10.3.0.100"}]`),
		`4: relay "web": to[1] = "https://web.example:443/path": is a URL: leave "https://" out, and all that comes behind the port`,
		`4: relay "web": to[2] = ":80": names no host: write ADDR:PORT or NAME:PORT`,
		`4: relay "web": to[3].addr = "10.3.0.100": unknown key; did you mean "address"?`,
		`4: relay "web": to[3].address: missing: where connections go, such as address = "10.3.0.100:80"`)
}

// TestMisplacedKeys wants a key that belongs to a backend, or to health, to be sent there.
func TestMisplacedKeys(t *testing.T) {
	t.Parallel()
	const weight, interval = `; it belongs to a backend, as in to = [{address = "10.3.0.100:80", weight = 2}]`, `; it belongs to health, as in health = {type = "tcp", interval = "2s"}`
	checkErrors(t, relayText(`"web"`, `":80"`, `["10.3.0.100"]`)+"weight = 3\nbackup = true\nfall = 2",
		`5: relay "web": weight = 3: unknown key`+weight, `6: relay "web": backup = true: unknown key`+weight, `7: relay "web": fall = 2: unknown key`+interval)
}

// TestBackendsErrors holds lists of several backends, and of tables.
func TestBackendsErrors(t *testing.T) {
	t.Parallel()
	const allBackups = `all backends are backups: at least one must be none, for a backup takes connections only while every other one is down`
	tests := []struct {
		to   string
		want []string // behind `4: relay "web": `
	}{
		{`["10.3.0.100", "10.3.0.300"]`, []string{
			`to[2] = "10.3.0.300": "10.3.0.300" is not an IP address, and the last part of a name is no number`,
		}},
		{`["10.3.0.100:0", 80, "a b"]`, []string{
			`to[1] = "10.3.0.100:0": port 0 is not in 1-65535`,
			`to[2] = 80: must be a string in quotes, or a table such as {address = "10.3.0.100:80"}`,
			`to[3] = "a b": "a b" is neither an IP address nor a name of letters, digits, "-", "_" and dots`,
		}},
		{`["10.3.0.100", "10.3.0.100:80"]`, []string{`to[2] = "10.3.0.100:80": 10.3.0.100:80 is backend 1 already; for a larger share give it a weight`}},
		{`["fd00:3::1", "[fd00:3:0::1]:80"]`, []string{`to[2] = "[fd00:3:0::1]:80": [fd00:3::1]:80 is backend 1 already; for a larger share give it a weight`}},
		{`["web.example", "WEB.example.", "web.example:81"]`, []string{`to[2] = "WEB.example.": web.example:80 is backend 1 already; for a larger share give it a weight`}},
		{`["10.3.0.100", {address = "10.3.0.100", weight = 2, backup = true}]`, []string{
			`to[2] = {…}: 10.3.0.100:80 is backend 1 already; for a larger share give it a weight`,
		}},
		{`[{address = "10.3.0.100", weight = 0}]`, []string{`to.weight = 0: must be a number in 1-256, without quotes`}},
		{`[{address = "10.3.0.100", weight = -1}, {address = "10.3.0.101", weight = 257}, {address = "10.3.0.102", weight = "2"}]`, []string{
			`to[1].weight = -1: must be a number in 1-256, without quotes`,
			`to[2].weight = 257: must be a number in 1-256, without quotes`,
			`to[3].weight = "2": must be a number in 1-256, without quotes`,
		}},
		{`[{address = "10.3.0.100", weight = 0}, {address = "10.3.0.101", weight = 0}]`, []string{
			`to[1].weight = 0: must be a number in 1-256, without quotes`,
			`to[2].weight = 0: must be a number in 1-256, without quotes`,
		}},
		{`[{address = "10.3.0.100", backup = "yes"}]`, []string{`to.backup = "yes": must be true or false, without quotes`}},
		{`[{address = "10.3.0.100", backup = true}]`, []string{`to = [{…}]: ` + allBackups}},
		{`[{address = "10.3.0.100", backup = true}, {address = "10.3.0.101", backup = true}]`, []string{`to = [{…}, {…}]: ` + allBackups}},
		{`[{Address = "10.3.0.100"}, {}]`, []string{
			`to[1].Address = "10.3.0.100": unknown key; did you mean "address"?`,
			`to[1].address: missing: where connections go, such as address = "10.3.0.100:80"`,
			`to[2].address: missing: where connections go, such as address = "10.3.0.100:80"`,
		}},
		{`["10.3.0.100", {address = 5}]`, []string{`to[2].address = 5: must be a string, in quotes`}},
		{`["10.3.0.100", {address = "10.3.0.101:80-81"}]`, []string{
			`to[2].address = "10.3.0.101:80-81": 2 ports, but listen has 1 port: both must have the same number`,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.to, func(t *testing.T) {
			t.Parallel()
			for i := range tt.want {
				tt.want[i] = `4: relay "web": ` + tt.want[i]
			}
			checkErrors(t, relayText(`"web"`, `":80"`, tt.to), tt.want...)
		})
	}
	checkErrors(t, relayText(`"web"`, `":80"`, manyBackends(257)), `4: relay "web": to = ["10.3.0.0", "10.3.0.1", "10.3.0.2", "10.3.0.3", "10.3.0.4"…]: 257 backends are more than the limit of 256`)
	mustParse(t, relayText(`"web"`, `":80"`, manyBackends(256)))
}

func manyBackends(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf(`"10.3.%d.%d"`, i>>8, i&255)
	}
	return "[" + strings.Join(list, ", ") + "]"
}

// TestBackendLines holds [[relay.to]], where each backend has a line of its own.
func TestBackendLines(t *testing.T) {
	t.Parallel()
	checkErrors(t, `[[relay]]
name = "web"
listen = ":80"

[[relay.to]]
address = "10.3.0.100"

[[relay.to]]
address = "10.3.0.101"
weight = 0

[[relay.to]]   # the same again
address = "10.3.0.100"

[[relay]]
name = "other"
listen = ":81"
[[relay.to]]
address = "10.3.0.100:x"
`,
		`8: relay "web": to[2].weight = 0: must be a number in 1-256, without quotes`,
		`12: relay "web": to[3] = {…}: 10.3.0.100:80 is backend 1 already; for a larger share give it a weight`,
		`18: relay "other": to.address = "10.3.0.100:x": port "x" is not a number in 1-65535`)
}
