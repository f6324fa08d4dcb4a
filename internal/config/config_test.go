package config

import (
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"natd/nat"
)

// minimal is a relay with all that is required.
const minimal = "[[relay]]\nname = \"web\"\nlisten = \"10.2.0.100:80\"\nto = [\"10.3.0.100:80\"]\n"

// minimalRelay is what minimal means.
func minimalRelay(change func(*nat.Relay)) nat.Relay {
	r := nat.Relay{
		Name:      "web",
		Listen:    nat.Listen{Addr: netip.MustParseAddr("10.2.0.100"), Ports: nat.PortRange{First: 80, Last: 80}},
		Protocols: []nat.Protocol{nat.TCP},
		Backends:  []nat.Backend{{Addr: netip.MustParseAddr("10.3.0.100"), Ports: nat.PortRange{First: 80, Last: 80}, Weight: 1}},
		Enabled:   true,
	}
	if change != nil {
		change(&r)
	}
	return r
}

func compareAddresses() cmp.Option {
	return cmp.Options{
		cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
		cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
		cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
	}
}

func mustParse(t testing.TB, text string) *Config {
	t.Helper()
	c, err := Parse("natd.toml", []byte(text))
	if err != nil {
		t.Fatalf("Parse: %v", err)
	}
	return c
}

func TestParseRelay(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, keys string // keys below minimal
		want       func(*nat.Relay)
	}{
		{"minimal", "", nil},
		{"protocol word", `protocol = "udp"`, func(r *nat.Relay) { r.Protocols = []nat.Protocol{nat.UDP} }},
		{"protocols ascending", `protocol = ["udp", "tcp"]`, func(r *nat.Relay) { r.Protocols = []nat.Protocol{nat.TCP, nat.UDP} }},
		{"sources", `from = ["0.0.0.0/0", "10.1.0.0/16", "10.1.0.100"]`, func(r *nat.Relay) {
			r.From = []netip.Prefix{
				netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("10.1.0.100/32"),
			}
		}},
		{"snat auto", `snat = "auto"`, nil},
		{"snat off", `snat = "off"`, func(r *nat.Relay) { r.SNAT.Mode = nat.SNATOff }},
		{"snat address", `snat = "10.2.0.101"`, func(r *nat.Relay) {
			r.SNAT = nat.SNAT{Mode: nat.SNATFixed, Addrs: addrs("10.2.0.101")}
		}},
		{"egress auto", `egress = "auto"`, nil},
		{"egress", `egress = "ens5.100"`, func(r *nat.Relay) { r.Egress = "ens5.100" }},
		{"egress longest", `egress = "abcdefghijklmno"`, func(r *nat.Relay) { r.Egress = "abcdefghijklmno" }},
		{"on_change drain", `on_change = "drain"`, nil},
		{"on_change close", `on_change = "close"`, func(r *nat.Relay) { r.OnChange = nat.Close }},
		{"flags", "log = true\nenabled = false\noverride_local = true", func(r *nat.Relay) {
			r.Log, r.Enabled, r.OverrideLocal = true, false, true
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			want := nat.Spec{Relays: []nat.Relay{minimalRelay(tt.want)}}
			if diff := cmp.Diff(want, mustParse(t, minimal+tt.keys).NAT, compareAddresses()); diff != "" {
				t.Errorf("Spec (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParsePorts(t *testing.T) {
	t.Parallel()
	one := netip.MustParseAddr("10.2.0.100")
	two := netip.MustParseAddr("10.3.0.100")
	tests := []struct {
		listen, to string
		want       nat.Listen
		backend    nat.PortRange
	}{
		{"10.2.0.100:80", "10.3.0.100:8080", nat.Listen{Addr: one, Ports: nat.PortRange{First: 80, Last: 80}}, nat.PortRange{First: 8080, Last: 8080}},
		{":80", "10.3.0.100", nat.Listen{Ports: nat.PortRange{First: 80, Last: 80}}, nat.PortRange{First: 80, Last: 80}},
		{":80-80", "10.3.0.100:81-81", nat.Listen{Ports: nat.PortRange{First: 80, Last: 80}}, nat.PortRange{First: 81, Last: 81}},
		{":1-65535", "10.3.0.100", nat.Listen{Ports: nat.PortRange{First: 1, Last: 65535}}, nat.PortRange{First: 1, Last: 65535}},
		{"10.2.0.100:20-29", "10.3.0.100:1020-1029", nat.Listen{Addr: one, Ports: nat.PortRange{First: 20, Last: 29}}, nat.PortRange{First: 1020, Last: 1029}},
		{"10.2.0.100:20-21", "10.3.0.100:20-21", nat.Listen{Addr: one, Ports: nat.PortRange{First: 20, Last: 21}}, nat.PortRange{First: 20, Last: 21}},
	}
	for _, tt := range tests {
		t.Run(tt.listen+" "+tt.to, func(t *testing.T) {
			t.Parallel()
			c := mustParse(t, "[[relay]]\nname = \"web\"\nlisten = \""+tt.listen+"\"\nto = [\""+tt.to+"\"]")
			want := nat.Spec{Relays: []nat.Relay{minimalRelay(func(r *nat.Relay) {
				r.Listen, r.Backends = tt.want, []nat.Backend{{Addr: two, Ports: tt.backend, Weight: 1}}
			})}}
			if diff := cmp.Diff(want, c.NAT, compareAddresses()); diff != "" {
				t.Errorf("Spec (-want +got):\n%s", diff)
			}
		})
	}
}

// TestParseNotations holds all the ways to write the same file against each other.
func TestParseNotations(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"headers":     "[daemon]\non_stop = \"remove\"\n" + minimal,
		"dots":        "daemon.on_stop = \"remove\"\n" + minimal,
		"inline":      `daemon = {on_stop = "remove"}` + "\n" + `relay = [{name = "web", listen = "10.2.0.100:80", to = ["10.3.0.100:80"]}]`,
		"quoted":      "[\"daemon\"]\n'on_stop' = 'remove'\n[[ \"relay\" ]]\n\"n\\u0061me\" = \"web\"\nlisten = '''10.2.0.100:80'''\nto = [\n\"10.3.0.100:80\", # one\n]\n",
		"carriage":    strings.ReplaceAll("[daemon]\non_stop = \"remove\"\n"+minimal, "\n", "\r\n"),
		"byte order":  "\ufeff[daemon]\non_stop = \"remove\"\n" + minimal,
		"daemon last": minimal + "[daemon]\non_stop = \"remove\"",
	}
	want := nat.Spec{Relays: []nat.Relay{minimalRelay(nil)}}
	for name, text := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := mustParse(t, text)
			if diff := cmp.Diff(want, c.NAT, compareAddresses()); diff != "" {
				t.Errorf("Spec (-want +got):\n%s", diff)
			}
			if c.Daemon.OnStop != Remove {
				t.Errorf("on_stop = %s, want remove", c.Daemon.OnStop)
			}
		})
	}
}

func TestParseSettings(t *testing.T) {
	t.Parallel()
	defaults := Daemon{LogLevel: slog.LevelInfo, Resync: 30 * time.Second, OnStop: Keep, Protect: nat.ProtectAuto, SocketGroup: "natd"}
	tests := []struct {
		name, text string
		daemon     Daemon
		host       Host
		forwarding nat.Forwarding
	}{
		{"no relay", "[daemon]", defaults, Host{IPForward: true, Metadata: true}, nat.ForwardStrict},
		{"empty list", "relay = []", defaults, Host{IPForward: true, Metadata: true}, nat.ForwardStrict},
		{
			"all", "[daemon]\nlog_level = \"debug\"\nresync = \"1m30s\"\non_stop = \"remove\"\nprotect = \"guard\"\nsocket_group = \"\"\nresolver = \"10.2.0.2:53\"\n" +
				"[host]\nip_forward = false\nforward = \"open\"\nconntrack_max = 262144\nflowtable = \"off\"\nmetadata = \"off\"",
			Daemon{LogLevel: slog.LevelDebug, Resync: 90 * time.Second, OnStop: Remove, Protect: nat.ProtectGuard, Resolver: netip.MustParseAddrPort("10.2.0.2:53")},
			Host{ConntrackMax: 262144},
			nat.ForwardOpen,
		},
		{
			"resolver on this host", "[daemon]\nresolver = \"127.0.0.53:5300\"",
			Daemon{LogLevel: slog.LevelInfo, Resync: 30 * time.Second, SocketGroup: "natd", Resolver: netip.MustParseAddrPort("127.0.0.53:5300")},
			Host{IPForward: true, Metadata: true},
			nat.ForwardStrict,
		},
		{
			"resolver of EC2 for IPv6", "[daemon]\nresolver = \"[fd00:ec2::253]:53\"",
			Daemon{LogLevel: slog.LevelInfo, Resync: 30 * time.Second, SocketGroup: "natd", Resolver: netip.MustParseAddrPort("[fd00:ec2::253]:53")},
			Host{IPForward: true, Metadata: true},
			nat.ForwardStrict,
		},
		{
			"limits", "[daemon]\nresolver = \"\"\nlog_level = \"error\"\nresync = \"24h\"\nprotect = \"own\"\n[host]\nconntrack_max = 2147483647\nmetadata = \"auto\"",
			Daemon{LogLevel: slog.LevelError, Resync: 24 * time.Hour, Protect: nat.ProtectOwn, SocketGroup: "natd"},
			Host{IPForward: true, ConntrackMax: 2147483647, Metadata: true},
			nat.ForwardStrict,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := mustParse(t, tt.text)
			if diff := cmp.Diff(tt.daemon, c.Daemon, compareAddresses()); diff != "" {
				t.Errorf("Daemon (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.host, c.Host); diff != "" {
				t.Errorf("Host (-want +got):\n%s", diff)
			}
			if c.NAT.Forwarding != tt.forwarding {
				t.Errorf("forwarding %d, want %d", c.NAT.Forwarding, tt.forwarding)
			}
		})
	}
}

func TestParseSHA256(t *testing.T) {
	t.Parallel()
	const want = "7484fe5a18f32eb4267257744fb2dd11a49434700de471858b2f15282dba9adf" // printf '[daemon]\n' | sha256sum
	if got := mustParse(t, "[daemon]\n").SHA256; got != want {
		t.Errorf("SHA256 = %s, want %s", got, want)
	}
}

// TestNeighbours holds relays that look alike but share nothing.
func TestNeighbours(t *testing.T) {
	t.Parallel()
	relay := func(name, listen, to, protocol string) string {
		return "[[relay]]\nname = \"" + name + "\"\nlisten = \"" + listen + "\"\nto = [\"" + to + "\"]\nprotocol = " + protocol + "\n"
	}
	tests := map[string]string{
		"other port":     relay("a", "10.2.0.100:80", "10.3.0.100", `"tcp"`) + relay("b", "10.2.0.100:81", "10.3.0.100", `"tcp"`),
		"other address":  relay("a", "10.2.0.100:80", "10.3.0.100", `"tcp"`) + relay("b", "10.2.0.101:80", "10.3.0.100", `"tcp"`),
		"other protocol": relay("a", ":80", "10.3.0.100", `"tcp"`) + relay("b", "10.2.0.100:80", "10.3.0.100", `"udp"`),
		"ranges touch":   relay("a", ":80-89", "10.3.0.100", `"tcp"`) + relay("b", ":90-99", "10.3.0.100", `"tcp"`),
		"backend port":   relay("a", ":80", "10.3.0.100:81", `"tcp"`) + relay("b", "10.3.0.100:82", "10.4.0.100", `"tcp"`),
		"backend proto":  relay("a", ":80", "10.3.0.100:81", `"tcp"`) + relay("b", "10.3.0.100:81", "10.4.0.100", `"udp"`),
		"any is no loop": relay("a", ":80", "10.3.0.100:80", `["tcp", "udp"]`),
	}
	for name, text := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mustParse(t, text)
		})
	}
}

func TestBlame(t *testing.T) {
	t.Parallel()
	c := mustParse(t, "[daemon]\n"+minimal+"snat = \"10.2.0.100\"\negress = \"ens5\"\n"+
		minimalGateway+"snat = [\"10.2.0.101-10.2.0.102\", \"10.2.0.109\"]\negress = \"ens6\"\n"+
		minimalStatic+
		"[[relay]]\nname = \"several\"\nlisten = \"[fd00:2::100]:80\"\nto = [\"WEB.example.\", {address = \"fd00:3::100\", weight = 2}]\n")
	tests := []struct {
		kind            Kind
		name, key, want string
	}{
		{Relay, "web", "listen", `natd.toml:4: relay "web": listen = "10.2.0.100:80": sshd listens there`},
		{Relay, "web", "to", `natd.toml:5: relay "web": to = ["10.3.0.100:80"]: sshd listens there`},
		{Relay, "web", "snat", `natd.toml:6: relay "web": snat = "10.2.0.100": sshd listens there`},
		{Relay, "web", "egress", `natd.toml:7: relay "web": egress = "ens5": sshd listens there`},
		{Relay, "web", "from", `natd.toml:2: relay "web": from: sshd listens there`},
		{Relay, "several", "listen", `natd.toml:19: relay "several": listen = "[fd00:2::100]:80": sshd listens there`},
		{Relay, "several", "to", `natd.toml:20: relay "several": to = ["web.example:80", "[fd00:3::100]:80"]: sshd listens there`},
		{Relay, "several", "snat", `natd.toml:17: relay "several": snat: sshd listens there`},
		{Relay, "gone", "listen", `natd.toml: relay "gone": listen: sshd listens there`},
		{Relay, "out", "listen", `natd.toml: relay "out": listen: sshd listens there`},
		{Gateway, "out", "from", `natd.toml:10: gateway "out": from: sshd listens there`},
		{Gateway, "out", "snat", `natd.toml:11: gateway "out": snat = ["10.2.0.101", "10.2.0.102", "10.2.0.109"]: sshd listens there`},
		{Gateway, "out", "egress", `natd.toml:12: gateway "out": egress = "ens6": sshd listens there`},
		{Gateway, "gone", "snat", `natd.toml: gateway "gone": snat: sshd listens there`},
		{Static, "c", "external", `natd.toml:15: static "c": external = "10.2.64.0/24": sshd listens there`},
		{Static, "c", "internal", `natd.toml:16: static "c": internal = "192.168.1.0/24": sshd listens there`},
		{Static, "c", "snat", `natd.toml:13: static "c": snat: sshd listens there`},
		{"tunnel", "c", "mtu", `natd.toml: tunnel "c": mtu: sshd listens there`},
	}
	for _, tt := range tests {
		if got := c.Blame(tt.kind, tt.name, tt.key, "sshd listens there").Error(); got != tt.want {
			t.Errorf("Blame(%q, %q, %q)\n got %s\nwant %s", tt.kind, tt.name, tt.key, got, tt.want)
		}
	}
}

func addrs(texts ...string) []netip.Addr {
	all := make([]netip.Addr, len(texts))
	for i, text := range texts {
		all[i] = netip.MustParseAddr(text)
	}
	return all
}

func networks(texts ...string) []netip.Prefix {
	all := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		all[i] = netip.MustParsePrefix(text)
	}
	return all
}
