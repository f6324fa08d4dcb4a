package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"natd/internal/control"
	"natd/internal/lab"
)

// TestGatewayFollowsTheHost replaces the address that the hosts behind B go out with, and asks for interfaces.
func TestGatewayFollowsTheHost(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	e.start(gatewayText())
	fails := e.private.Converse(t, netip.Addr{}, e.servers[0].String())
	next := netip.MustParsePrefix("10.2.0.150/24")
	lab.Check(t, e.B.DelAddr(lab.Device, netip.MustParsePrefix("10.2.0.100/24"))) // the route goes with it
	lab.Check(t, e.B.AddAddr(lab.Device, next))
	lab.Check(t, e.B.AddRoute(netip.MustParsePrefix("0.0.0.0/0"), netip.MustParseAddr("10.2.0.1")))
	fails.Breaks(t)
	lab.Check(t, says(t, e.private, "tcp", netip.Addr{}, e.servers[0]))
	peers := e.echo[0].Peers()
	if got := peers[len(peers)-1].Addr(); got != next.Addr() {
		t.Errorf("the internet saw %v, want %v", got, next.Addr())
	}
	e.awaitReady()

	for egress, reason := range map[string]string{"ens9": "egress ens9: no such interface", lab.Device: "", lab.PrivateDevice: ""} {
		e.reload(gatewayText(fmt.Sprintf("egress = %q", egress)))
		e.awaitGateway("out", reason)
		if egress == lab.Device {
			lab.Check(t, says(t, e.private, "tcp", netip.Addr{}, e.servers[0]))
		} else {
			mute(t, e.private, netip.Addr{}, e.servers[0])
		}
	}
	e.translated()
}

// TestGatewayAndTheHost looks at what a gateway makes of the host, and that flush takes all of it back.
func TestGatewayAndTheHost(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	sysctls := []string{"net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding", "net.ipv4.conf.ens5.send_redirects", "net.ipv4.conf.all.send_redirects"}
	settings := func() (values []string) {
		for _, key := range sysctls {
			value, err := e.B.Sysctl(key)
			lab.Check(t, err)
			values = append(values, value)
		}
		return values
	}
	before := settings()
	e.configure("[host]\nip_forward = false\n" + gatewayText())
	e.launch()
	e.awaitGateway("out", "the host does not forward IPv4")
	if _, _, code := e.natctl("status"); code != control.CodeDegraded {
		t.Errorf("natctl status exits %d, want %d", code, control.CodeDegraded)
	}
	e.reload(gatewayText() + staticText())
	e.awaitReady()
	if got := settings(); !slices.Equal(got, []string{"1", "1", "0", "0"}) {
		t.Errorf("%v are %v", sysctls, got)
	}
	for _, s := range e.servers {
		e.private.Converse(t, netip.Addr{}, s.String())
		lab.Check(t, e.private.Ping(netip.Addr{}, s.Addr(), patience))
	}
	if out, _, code := e.natctl("connections", "--relay", "out"); code != 0 || strings.Count(out, "gateway  out") != 4 || !strings.Contains(out, "ipv6-icmp") {
		t.Errorf("natctl connections exits %d:\n%s", code, out)
	}
	if _, errs, code := e.natctl("connections", "--relay", "nope"); code != control.CodeFailed || !strings.Contains(errs, "it has: out, overlap-0, overlap-1") {
		t.Errorf("natctl connections of something unknown exits %d: %s", code, errs)
	}
	if out, errs, code := e.natctl("flush"); code != 0 {
		t.Fatalf("natctl flush exits %d: %s%s", code, out, errs)
	}
	if got := settings(); !slices.Equal(got, before) {
		t.Errorf("after flush %v are %v, and were %v", sysctls, got, before)
	}
	if tables := e.B.Output(t, "nft", "list", "tables"); strings.Contains(tables, "natd") {
		t.Errorf("after flush there are %s", tables)
	}
	for _, family := range []string{"ipv4", "ipv6"} {
		left, err := e.B.Conntrack(t.Context(), "-f", family)
		lab.Check(t, err)
		for _, line := range left {
			if strings.Contains(line, "203.0.113.10") || strings.Contains(line, "2001:db8::10") {
				t.Errorf("after flush still tracked: %s", line)
			}
		}
	}
}

// relaysOfAKind bounds the relays with slots, of which each has hundreds of elements: the race detector makes them slow.
const relaysOfAKind = 5

// everything is n of each kind of NAT, in both families.
func everything(n int) (text string) {
	for i := range n {
		text += fmt.Sprintf(`
[[gateway]]
name = "out%[1]d"
from = ["10.100.%[1]d.0/24", "fd00:100:%[1]d::/64"]

[[gateway]]
name = "pool%[1]d"
from = ["10.101.%[1]d.0/24"]
snat = ["10.2.0.101", "10.2.0.102"]

[[gateway]]
name = "by%[1]d"
from = ["10.102.%[1]d.0/24"]
egress = "ens5"

[[static]]
name = "four%[1]d"
external = "10.2.%[2]d.0/24"
internal = "192.168.%[1]d.0/24"
from = ["10.1.0.0/16"]

[[static]]
name = "six%[1]d"
external = "fd00:10:2:%[2]d::/64"
internal = "fd00:99:%[1]d::/64"
snat = "off"

[[static]]
name = "pooled%[1]d"
external = "10.2.%[3]d.0/24"
internal = "192.168.%[3]d.0/24"
snat = "10.2.0.101-10.2.0.102"
`, i, 60+i, 120+i)
	}
	for i := range min(n, relaysOfAKind) {
		text += fmt.Sprintf(`
[[relay]]
name = "web%[1]d"
listen = "10.2.0.100:%[2]d"
to = ["10.3.0.100", "10.3.0.101"]
snat = ["10.2.0.101", "10.2.0.102"]
mss = 1360
max_connections = 1000

[[relay]]
name = "six%[2]d"
listen = "[fd00:10:2::100]:%[2]d"
to = ["fd00:10:3::100", "fd00:10:3::101"]
balance = "source"

[[relay]]
name = "dns%[1]d"
listen = "10.2.0.100:5%[2]d"
protocol = "udp"
from = ["10.1.0.0/16"]
to = ["10.3.0.100:53"]
`, i, 120+i)
	}
	return text
}

// TestEverythingAtOnce holds all kinds of NAT in the kernel at once: nft understands it, the rules that packets meet are the same for
// 50 of each as for one, and natd sees no difference between what it wants and what it has.
func TestEverythingAtOnce(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	lab.Check(t, b.B.AddExtra(2))
	b.start(everything(1))
	rules := func() (text string) {
		for _, chain := range []string{"prerouting", "postrouting", "forward", "input"} {
			text += b.B.Output(t, "nft", "list", "chain", "inet", "natd", chain)
		}
		return text
	}
	few := rules()
	b.reload(everything(50))
	if many := rules(); few != many {
		t.Errorf("the rules for one of each are\n%s\nand for 50\n%s", few, many)
	}
	b.awaitReady()
	out, errs, code := b.natctl("rules")
	if code != 0 {
		t.Fatalf("natctl rules exits %d: %s", code, errs)
	}
	_, err := lab.NewHost(t).RunInput(t.Context(), out, "nft", "-c", "-f", "-")
	lab.Check(t, err)
	if out, errs, code := b.natctl("plan"); code != 0 || !strings.Contains(out, "no changes") {
		t.Errorf("natctl plan exits %d:\n%s%s", code, out, errs)
	}
	s := b.status()
	if !s.Ruleset.InSync || s.Ruleset.DriftRepairs != 0 || len(s.Gateways) != 150 || len(s.Statics) != 150 {
		t.Errorf("status has %d gateways, %d statics, and the ruleset %+v", len(s.Gateways), len(s.Statics), s.Ruleset)
	}
}

// TestRelayPool gives the clients of a relay addresses of a pool, each its own, and says what the pool lacks.
func TestRelayPool(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	lab.Check(t, b.B.AddExtra(2))
	lab.Check(t, b.A.Own(t.Context(), netip.MustParsePrefix("10.1.7.0/24")))
	echo, err := b.C.EchoTCP(":7")
	lab.Check(t, err)
	b.start("[[relay]]\nname = \"echo\"\nlisten = \"10.2.0.100:7\"\nto = [\"10.3.0.100:7\"]\nsnat = \"10.2.0.100-10.2.0.102\"\n")
	seen := func() []string {
		t.Helper()
		homes := make(map[netip.Addr]netip.Addr)
		for n := range byte(30) {
			client := nth(netip.MustParsePrefix("10.1.7.0/24"), n+1)
			for range 2 {
				lab.Check(t, says(t, b.A, "tcp", client, netip.MustParseAddrPort("10.2.0.100:7")))
				peers := echo.Peers()
				home := peers[len(peers)-1].Addr()
				if homes[client].IsValid() && homes[client] != home {
					t.Errorf("client %v has %v and %v", client, homes[client], home)
				}
				homes[client] = home
			}
		}
		return distinct(homes)
	}
	if used := seen(); !slices.Equal(used, []string{"10.2.0.100", "10.2.0.101", "10.2.0.102"}) {
		t.Errorf("the clients have %v, want all three", used)
	}
	lab.Check(t, b.B.DelAddr(lab.Device, netip.MustParsePrefix("10.2.0.102/24")))
	b.awaitRelays(map[string]string{"echo": "snat address 10.2.0.102 is on no interface, so answers to it would be lost: add it to one"})
	if used := seen(); !slices.Equal(used, []string{"10.2.0.100", "10.2.0.101"}) {
		t.Errorf("without 10.2.0.102 the clients have %v", used)
	}
}

// TestSourcePerBackend has a relay with backends behind two interfaces, each of which sees the address of its own.
func TestSourcePerBackend(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	private, err := b.AddPrivate()
	lab.Check(t, err)
	atC, err := b.C.EchoTCP(":7")
	lab.Check(t, err)
	atP, err := private.EchoTCP(":7")
	lab.Check(t, err)
	b.start("[[relay]]\nname = \"echo\"\nlisten = \":7\"\nto = [\"10.3.0.100:7\", \"10.100.20.100:7\", \"[fd00:10:3::100]:7\", \"[fd00:10:100:20::100]:7\"]\n")
	for _, to := range addrsOf(b.B) {
		for range 8 {
			lab.Check(t, says(t, b.A, "tcp", netip.Addr{}, netip.AddrPortFrom(to, 7)))
		}
	}
	for echo, want := range map[*lab.Echo][]string{atC: {"10.2.0.100", "fd00:10:2::100"}, atP: {"10.100.20.1", "fd00:10:100:20::1"}} {
		var got []string
		for _, peer := range echo.Peers() {
			got = append(got, peer.Addr().String())
		}
		slices.Sort(got)
		if got = slices.Compact(got); !slices.Equal(got, want) {
			t.Errorf("a backend saw %v, want %v", got, want)
		}
	}
	if r := b.status().Relays[0]; r.Egress != "ens5,ens6" || len(r.SNAT) != 4 {
		t.Errorf("status has egress %q and snat %v", r.Egress, r.SNAT)
	}
}
