package config

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// checkErrors parses the text and compares the error, line by line, with want without the file name.
func checkErrors(t *testing.T, text string, want ...string) {
	t.Helper()
	_, err := Parse("natd.toml", []byte(text))
	if _, ok := errors.AsType[Errors](err); !ok {
		t.Fatalf("Parse(%.200q) = %v, want Errors", text, err)
	}
	got := strings.Split(err.Error(), "\n")
	for i := range want {
		want[i] = "natd.toml:" + want[i]
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("errors of %.200q (-want +got):\n%s", text, diff)
	}
}

func TestSettingsErrors(t *testing.T) {
	t.Parallel()
	tests := []struct{ text, want string }{
		{"[daemon]\nlog_level = \"inof\"", `2: daemon: log_level = "inof": must be "debug", "info", "warn" or "error"; did you mean "info"?`},
		{"[daemon]\nlog_level = \"WARN\"", `2: daemon: log_level = "WARN": must be "debug", "info", "warn" or "error"; did you mean "warn"?`},
		{"[daemon]\nlog_level = 3", `2: daemon: log_level = 3: must be a string, in quotes`},
		{"[daemon]\nresync = 30", `2: daemon: resync = 30: must be a duration in quotes, such as "30s"`},
		{"[daemon]\nresync = \"30\"", `2: daemon: resync = "30": must be a duration in quotes, such as "30s"`},
		{"[daemon]\nresync = \"999ms\"", `2: daemon: resync = "999ms": must be between "1s" and "24h"`},
		{"[daemon]\nresync = \"24h1s\"", `2: daemon: resync = "24h1s": must be between "1s" and "24h"`},
		{"[daemon]\nresync = \"-5s\"", `2: daemon: resync = "-5s": must be between "1s" and "24h"`},
		{"[daemon]\non_stop = \"removed\"", `2: daemon: on_stop = "removed": must be "keep" or "remove"; did you mean "remove"?`},
		{"[daemon]\nprotect = \"yes\"", `2: daemon: protect = "yes": must be "auto", "own", "guard" or "off"`},
		{"[daemon]\nprotect = false", `2: daemon: protect = false: must be a string, in quotes`},
		{"[daemon]\nsocket_group = \"nat d\"", `2: daemon: socket_group = "nat d": must be the name of a group, or "" for root only`},
		{"[daemon]\nresolver = \"10.2.0.2\"", `2: daemon: resolver = "10.2.0.2": has no port: write "10.2.0.2:53"`},
		{"[daemon]\nresolver = \"fd00:2::2\"", `2: daemon: resolver = "fd00:2::2": has no port: write "[fd00:2::2]:53"`},
		{"[daemon]\nresolver = \"[fd00:2::2]\"", `2: daemon: resolver = "[fd00:2::2]": has no port: write "[fd00:2::2]:53"`},
		{"[daemon]\nresolver = \"[10.2.0.2]:53\"", `2: daemon: resolver = "[10.2.0.2]:53": brackets are for IPv6 addresses: leave them out`},
		{"[daemon]\nresolver = \"[fd00:2::2:53\"", `2: daemon: resolver = "[fd00:2::2:53": has "[" without "]": write [V6]:PORT`},
		{"[daemon]\nresolver = \"[fd00:2::2]53\"", `2: daemon: resolver = "[fd00:2::2]53": only ":" and a port can come after "]": write [V6]:PORT`},
		{"[daemon]\nresolver = \"10.2.0.2:0\"", `2: daemon: resolver = "10.2.0.2:0": port 0 is not in 1-65535`},
		{"[daemon]\nresolver = \":53\"", `2: daemon: resolver = ":53": "" is not an IP address`},
		{"[daemon]\nresolver = \"dns.example:53\"", `2: daemon: resolver = "dns.example:53": "dns.example" is not an IP address`},
		{"[daemon]\nresolver = \"0.0.0.0:53\"", `2: daemon: resolver = "0.0.0.0:53": 0.0.0.0 is not the address of a DNS server`},
		{"[daemon]\nresolver = \"224.0.0.251:5353\"", `2: daemon: resolver = "224.0.0.251:5353": 224.0.0.251 is not the address of a DNS server`},
		{"[daemon]\nresolver = \"[fe80::1]:53\"", `2: daemon: resolver = "[fe80::1]:53": fe80::1 is not the address of a DNS server`},
		{"[daemon]\nresolver = \"[fe80::1%ens5]:53\"", `2: daemon: resolver = "[fe80::1%ens5]:53": "fe80::1%ens5" has a zone: only link-local addresses need one, and they are never routed`},
		{"[daemon]\nresolver = \"[::ffff:10.2.0.2]:53\"", `2: daemon: resolver = "[::ffff:10.2.0.2]:53": ::ffff:10.2.0.2 is an IPv4 address in the notation of IPv6: write 10.2.0.2`},
		{"[daemon]\nresolver = [\"10.2.0.2:53\"]", `2: daemon: resolver = ["10.2.0.2:53"]: must be a string, in quotes`},
		{"[daemon]\nlog-level = \"info\"", `2: daemon: log-level = "info": unknown key; did you mean "log_level"?`},
		{"[daemon]\nlisten = \":80\"", `2: daemon: listen = ":80": unknown key`},
		{"[host]\nip_forward = \"true\"", `2: host: ip_forward = "true": must be true or false, without quotes`},
		{"[host]\nip_forward = 1", `2: host: ip_forward = 1: must be true or false, without quotes`},
		{"[host]\nforward = \"drop\"", `2: host: forward = "drop": must be "strict" or "open"`},
		{"[host]\nconntrack_max = 1023", `2: host: conntrack_max = 1023: must be 0 (leave alone) or a number in 1024-2147483647`},
		{"[host]\nconntrack_max = -1", `2: host: conntrack_max = -1: must be 0 (leave alone) or a number in 1024-2147483647`},
		{"[host]\nconntrack_max = 2147483648", `2: host: conntrack_max = 2147483648: must be 0 (leave alone) or a number in 1024-2147483647`},
		{"[host]\nconntrack_max = 65536.0", `2: host: conntrack_max = 65536: must be 0 (leave alone) or a number in 1024-2147483647`},
		{"[host]\nconntrack_max = \"65536\"", `2: host: conntrack_max = "65536": must be 0 (leave alone) or a number in 1024-2147483647`},
		{"[host]\nflowtable = \"on\"", `2: host: flowtable = "on": must be "auto" or "off"`},
		{"[host]\nmetadata = \"on\"", `2: host: metadata = "on": must be "auto" or "off"`},
		{"[host]\nmetadata = false", `2: host: metadata = false: must be a string, in quotes`},
		{"[host]\nflowtable = true", `2: host: flowtable = true: must be a string, in quotes`},
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			t.Parallel()
			checkErrors(t, tt.text, tt.want)
		})
	}
}

func TestDocumentErrors(t *testing.T) {
	t.Parallel()
	tests := []struct{ text, want string }{
		{"[deamon]", `1: deamon: unknown table; did you mean "daemon"?`},
		{"[[relays]]\nname = \"a\"", `1: relays: unknown table; did you mean "relay"?`},
		{"[x.y]\na = 1", `1: x: unknown table`},
		{"on_stop = \"keep\"", `1: on_stop = "keep": unknown key`},
		{"\"a\\nb\" = 1979-05-27T07:32:00Z", `1: "a\nb" = 1979-05-27T07:32:00Z: unknown key`},
		{"daemon = 5", `1: daemon = 5: must be a table: write [daemon]`},
		{"[[host]]\nip_forward = true", `1: host: there can be one only: write [host]`},
		{"[relay]\nname = \"web\"", `1: relay: must be an array of tables: write [[relay]]`},
		{"relay = \"web\"", `1: relay = "web": must be an array of tables: write [[relay]]`},
		{"relay = [5]", `1: relay = [5]: must hold tables only: write [[relay]]`},
		{"relay = [[{name=\"a\"}], {}]", `1: relay = [[{…}], {…}]: must hold tables only: write [[relay]]`},
		{"[gateway]\nname = \"a\"", `1: gateway: must be an array of tables: write [[gateway]]`},
		{"static = {}", `1: static: must be an array of tables: write [[static]]`},
		{"[[tunnel]]", `1: tunnel: not supported yet`},
		{"\n[[route]]\n[[route.via]]", `2: route: not supported yet`},
		{"[flow_log]\npath = \"flow.log\"", `2: flow_log: path = "flow.log": must be a file with its whole path, such as "/var/log/natd/flow.log", or "stdout"`},
		{"[flow_log]\npath = \"/var/log/\"", `2: flow_log: path = "/var/log/": must be a file, not a directory`},
		{"[flow_log]\nformat = \"v5\"", `2: flow_log: format = "v5": must be "vpc-v2", "vpc-v5", "json" or text with fields such as ${srcaddr} ${dstaddr}`},
		{"[flow_log]\nformat = \"${srcaddr} ${src-port}\"", `2: flow_log: format = "${srcaddr} ${src-port}": has ${src-port}, which natd does not know; did you mean ${srcport}?`},
		{"[flow_log]\ninterval = \"11m\"", `2: flow_log: interval = "11m": must be between "1s" and "10m"`},
		{"[metrics]\nlisten = \":9469\"", `2: metrics: listen = ":9469": must be ADDR:PORT or [V6]:PORT, such as "127.0.0.1:9469", or "" for nowhere`},
		{"[metrics]\nlisten = 9469", `2: metrics: listen = 9469: must be a string, in quotes`},
		{"[daemon]\n[daemon]", `2: daemon: defined twice; keep one of the two`},
		{minimal + "listen = \":80\"", `5: relay.listen: defined twice; keep one of the two`},
		{"a = \"\"\"\n\n\"\"\"\nb = 1\nb = 2", `5: b: defined twice; keep one of the two`},
		{"[[relay]]\nlisten = 10.2.0.100:80", `2: not valid TOML: Invalid float value: "10.2.0.100"; text must be in quotes`},
		{"[daemon]\non_stop = keep\n", `2: not valid TOML: expected value but found "keep" instead; text must be in quotes`},
		{"[daemon]\non_stop = \"keep\n", `2: not valid TOML: strings cannot contain newlines`},
		{"[daemon]\non_stop = \"keep", `2: not valid TOML: strings cannot contain newlines`},
		{"a = \"\"\"\n\n", `2: not valid TOML: unexpected EOF; expected '"""'`},
		{"[daemon\n", `1: not valid TOML: expected '.' or ']' to end table name, but got '\n' instead`},
		{"daemon = \"\x00\"", `1: not valid TOML: TOML files cannot contain control characters: '0x00'`},
		{"[daemon]\n# \xff\xfe", `2: not valid TOML: invalid UTF-8 byte: 0xff`},
		{"[daemon]\ron_stop = 1", `1: not valid TOML: TOML files cannot contain control characters: '0x0d'`},
		{"\xff\xfe[\x00a\x00]\x00", `1: not valid TOML: the file is UTF-16; save it as UTF-8`},
		{"[daemon]\na = " + strings.Repeat("[", 17) + strings.Repeat("]", 17), `2: not valid here: nested deeper than 16 levels`},
		{"[daemon]\n" + strings.Repeat("a.", 1_000_000) + "a = 1", `2: not valid here: nested deeper than 16 levels`},
		{strings.Repeat("[", 1_000_000), `1: not valid TOML: expected '.' or ']' to end table name, but got '[' instead`},
	}
	for i, tt := range tests {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			checkErrors(t, tt.text, tt.want)
		})
	}
}

func TestEmpty(t *testing.T) {
	t.Parallel()
	const want = "natd.toml: empty; a truncated file looks like this; to remove everything use natctl flush"
	for _, text := range []string{"", "\n", " \t\r\n", "# nothing\n# at all", "\ufeff"} {
		if _, err := Parse("natd.toml", []byte(text)); err == nil || err.Error() != want {
			t.Errorf("Parse(%q) = %v, want %s", text, err, want)
		}
	}
}

// TestAllErrors holds files with more than one error: all are told, in the order of the lines.
func TestAllErrors(t *testing.T) {
	t.Parallel()
	checkErrors(t, `[[relay]]
name = "web"
lisen = "10.2.0.100:80"
to = ["10.3.0.100:70000"]

[host]
forward = "opne"

[[relay]]   # no keys at all

[daemon]
resync = 5
[[route]]
[[gateway]]
[[static]]
`,
		`1: relay "web": listen: missing: what clients dial, such as listen = "10.2.0.100:80"`,
		`3: relay "web": lisen = "10.2.0.100:80": unknown key; did you mean "listen"?`,
		`4: relay "web": to = ["10.3.0.100:70000"]: port 70000 is not in 1-65535`,
		`7: host: forward = "opne": must be "strict" or "open"; did you mean "open"?`,
		`9: relay 2: name: missing: a unique name, such as name = "web"`,
		`9: relay 2: listen: missing: what clients dial, such as listen = "10.2.0.100:80"`,
		`9: relay 2: to: missing: where connections go, such as to = ["10.3.0.100:80"]`,
		`12: daemon: resync = 5: must be a duration in quotes, such as "30s"`,
		`13: route: not supported yet`,
		`14: gateway 1: name: missing: a unique name, such as name = "private-subnets"`,
		`14: gateway 1: from: missing: the hosts behind, such as from = ["10.100.20.0/24"]`,
		`15: static 1: name: missing: a unique name, such as name = "overlap-c"`,
		`15: static 1: external: missing: what clients dial, such as external = "10.2.64.0/24"`,
		`15: static 1: internal: missing: what it becomes, such as internal = "192.168.1.0/24"`)

	checkErrors(t, `relay = [
  {name = "a", listen = ":1", to = ["10.3.0.100"], colour = 1},
  {name = "B", listen = ":2", to = [
    "10.3.0.100:x" ], health = {type = "http"}},
]`,
		`2: relay "a": colour = 1: unknown key`,
		`3: relay 2: name = "B": must be 1-48 characters of a-z, 0-9 and "-", the first not "-"`,
		`3: relay 2: to = ["10.3.0.100:x"]: port "x" is not a number in 1-65535`,
		`4: relay 2: health.type = "http": must be "tcp"`)
}

// TestManyUnknown would take minutes if a table's keys were searched for each of its keys.
func TestManyUnknown(t *testing.T) {
	t.Parallel()
	const n = 20_000
	var text strings.Builder
	text.WriteString("[daemon]\n")
	for i := range n {
		fmt.Fprintf(&text, "k%d.a = 1\nk%d.b = 1\n", i, i)
	}
	_, err := Parse("natd.toml", []byte(text.String()))
	var errs Errors
	if !errors.As(err, &errs) || len(errs) != n || errs[n-1].Line != 2*n {
		t.Errorf("%d errors, want %d, the last in line %d", len(errs), n, 2*n)
	}
}

func TestShow(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("ä", 100)
	tests := []struct {
		value any
		want  string
	}{
		{"", `""`},
		{"a\x1b[31m\u202e\n\"", `"a\x1b[31m\u202e\n\""`},
		{long, `"` + long[:2*58] + `…"`},
		{strings.Repeat("a", 1<<20), `"` + strings.Repeat("a", 58) + `…"`},
		{[]any{"a", int64(1), true, 1.5}, `["a", 1, true, 1.5]`},
		{[]any{long, "b"}, `["` + long[:2*57] + `…]`},
		{map[string]any{"a": 1}, "{…}"},
		{[]map[string]any{{}}, "[{…}]"},
	}
	for _, tt := range tests {
		if got := show(tt.value); got != tt.want {
			t.Errorf("show(%.40v)\n got %s\nwant %s", tt.value, got, tt.want)
		}
	}
}

func TestSuggest(t *testing.T) {
	t.Parallel()
	words := strings.Fields(relayKeys)
	tests := []struct{ wrong, want string }{
		{"lisen", "listen"},
		{"Listen", "listen"},
		{"listening", ""},
		{"form", "from"},
		{"tp", ""},
		{"onchange", "on_change"},
		{"protocols", "protocol"},
		{"proto", "protocol"},
		{"pr", ""},
		{"", ""},
	}
	for _, tt := range tests {
		want := ""
		if tt.want != "" {
			want = fmt.Sprintf("; did you mean %q?", tt.want)
		}
		if got := suggest(tt.wrong, words); got != want {
			t.Errorf("suggest(%q) = %q, want %q", tt.wrong, got, want)
		}
	}
}
