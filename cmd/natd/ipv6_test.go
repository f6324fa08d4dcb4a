package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"natd/internal/control"
	"natd/internal/lab"
)

// dualRelay listens on every address of the host, for clients of both families.
const dualRelay = `
[[relay]]
name = "dual"
listen = ":7"
to = ["10.3.0.100:7", "[fd00:10:3::100]:7"]
`

// newDualBox is a box with echo servers on C, in both families.
func newDualBox(t *testing.T) *box {
	t.Helper()
	b := newBoxOf(t, ipv6)
	b.family = ipv4 // its texts name both
	echo(t, b.C, "tcp", "10.3.0.100:7")
	echo(t, b.C, "tcp", "[fd00:10:3::100]:7")
	return b
}

// TestDualStack wants a relay on every address to serve both families, as addresses of each come and go.
func TestDualStack(t *testing.T) {
	t.Parallel()
	b := newDualBox(t)
	b.start(dualRelay)
	for _, prefix := range []string{"10.2.0.101/24", "fd00:10:2::101/64"} {
		second := netip.MustParsePrefix(prefix)
		lab.Check(t, b.B.AddAddr(lab.Device, second))
		for _, addr := range []netip.Addr{b.B.Addr, b.B.Addr6, second.Addr()} {
			to := netip.AddrPortFrom(addr, 7).String()
			lab.Eventually(t, patience, func() error { return reach(t, b.A, "tcp", to, time.Second) })
		}
		lab.Check(t, b.B.DelAddr(lab.Device, second))
		lab.Eventually(t, patience, func() error {
			if rules := b.B.Output(t, "nft", "list", "table", "inet", "natd"); strings.Contains(rules, second.Addr().String()) {
				return fmt.Errorf("the table still has %s", second)
			}
			return nil
		})
	}
	b.awaitReady()
	if r := b.status().Relays[0]; len(r.SNAT) != 2 || len(r.Backends) != 2 || r.Backends[1].Address != "[fd00:10:3::100]:7" {
		t.Errorf("status says %+v", r)
	}
	// Drained by hand is as it should be, but for clients that have no other backend.
	b.step([]string{"drain", "dual", "[fd00:10:3::100]:7"}, control.CodeOK, "drained backend [fd00:10:3::100]:7 of relay dual")
	b.awaitRelays(map[string]string{"dual": "no backend takes new connections over IPv6, so they are refused"})
	if err := reach(t, b.A, "tcp", "[fd00:10:2::100]:7", patience); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("a client over IPv6 gets %v, want that it is refused", err)
	}
	lab.Check(t, reach(t, b.A, "tcp", "10.2.0.100:7", patience))
	b.step([]string{"enable", "dual"}, control.CodeOK, "enabled backend")
	b.awaitReady()
}

// TestIPv6Off boots a dual-stack host with IPv6 off: what needs it says why it is degraded, IPv4 works, and IPv6 comes by
// itself when it is turned on.
func TestIPv6Off(t *testing.T) {
	t.Parallel()
	b := newDualBox(t)
	lab.Check(t, b.B.SetSysctl("net.ipv6.conf.all.disable_ipv6", "1"))
	config := dualRelay + echoRelay("health = \"tcp\"") +
		"[[relay]]\nname = \"six\"\nlisten = \"[fd00:10:2::100]:8\"\nto = [\"[fd00:10:3::100]:7\"]\n" +
		"[[gateway]]\nname = \"six-out\"\nfrom = [\"fd00:10:9::/64\"]\n" +
		"[[gateway]]\nname = \"both-out\"\nfrom = [\"10.100.0.0/16\", \"fd00:10:8::/64\"]\nto = [\"0.0.0.0/0\", \"::/0\"]\n" +
		"[[static]]\nname = \"six-map\"\nexternal = \"fd00:10:2:64::/64\"\ninternal = \"fd00:99::/64\"\n"
	const off, remedy = "IPv6 is off on every interface", "sysctl -w net.ipv6.conf.all.disable_ipv6=0"
	before := b.B.State(t)
	b.startRelays(strings.Replace(config, ":7\"\n", ":9\"\n", 1), map[string]string{"dual": off, "six": remedy, "echo": ""})
	s := b.status()
	for _, reason := range []string{s.Gateways[0].Reason, s.Gateways[1].Reason, s.Statics[0].Reason, s.Relays[2].Reason} {
		if !strings.Contains(reason, off) || strings.Contains(reason, "no route") || strings.Contains(reason, "no interface") {
			t.Errorf("a reason is %q, want %q and nothing that follows from it", reason, off)
		}
	}
	if listed := b.B.Output(t, "nft", "list", "set", "inet", "natd", "gateways4"); !strings.Contains(listed, "10.100.0.0/16") {
		t.Errorf("IPv4 of a gateway for both families is not in the kernel:\n%s", listed)
	}
	if _, _, code := b.natctl("status"); code != control.CodeDegraded {
		t.Errorf("natctl status exits %d, want %d", code, control.CodeDegraded)
	}
	lab.Check(t, reach(t, b.A, "tcp", "10.2.0.100:7", patience))
	lab.Check(t, reach(t, b.A, "tcp", "10.2.0.100:9", patience))
	if value, err := b.B.Sysctl("net.ipv6.conf.all.forwarding"); err != nil || value != "0" {
		t.Errorf("net.ipv6.conf.all.forwarding is %q (%v), want 0", value, err)
	}

	lab.Check(t, b.B.SetSysctl("net.ipv6.conf.all.disable_ipv6", "0"))
	lab.Check(t, b.B.AddAddr(lab.Device, netip.MustParsePrefix("fd00:10:2::100/64"))) // turning it off removed both
	lab.Check(t, b.B.AddRoute(netip.MustParsePrefix("::/0"), netip.MustParseAddr("fd00:10:2::1")))
	b.awaitReady()
	lab.Check(t, reach(t, b.A, "tcp", "[fd00:10:2::100]:9", patience))
	lab.Check(t, reach(t, b.A, "tcp", "[fd00:10:2::100]:8", patience))
	lab.Check(t, b.B.SetSysctl("net.ipv6.conf.all.disable_ipv6", "1"))
	b.awaitRelays(map[string]string{"dual": off, "six": off, "echo": ""})
	if _, errs, code := b.natctl("flush"); code != control.CodeOK {
		t.Fatalf("natctl flush exits %d: %s", code, errs)
	}
	lab.WantSame(t, before, b.B.State(t))
}

// TestForwarding6 wants IPv6 forwarding while something needs it and no longer than natd's rules, and IPv4 to leave IPv6 alone.
func TestForwarding6(t *testing.T) {
	t.Parallel()
	b := newDualBox(t)
	const key = "net.ipv6.conf.all.forwarding"
	before := settings(t, b.B)
	forwards := func(want string) {
		t.Helper()
		if value, err := b.B.Sysctl(key); err != nil || value != want {
			t.Errorf("%s is %q (%v), want %s", key, value, err, want)
		}
	}
	b.start(hourly("auto") + echoRelay())
	for name, value := range settings(t, b.B) {
		if strings.HasPrefix(name, "net.ipv6.") && before[name] != value {
			t.Errorf("for IPv4 alone %s became %s", name, value)
		}
	}
	b.configure(hourly("auto") + echoRelay() + sixRelay)
	b.step([]string{"plan"}, control.CodeOK, "set sysctl "+key+" = 1 (now 0)\n")
	b.step([]string{"reload"}, control.CodeOK, "set sysctl "+key+" = 1 (was 0)\n")
	forwards("1")
	lab.Check(t, reach(t, b.A, "tcp", "[fd00:10:2::100]:8", patience))
	for name, want := range map[string]string{"net.ipv6.conf.ens5.accept_ra": "2", "net.ipv6.conf.default.accept_ra": "2"} {
		if value, err := b.B.Sysctl(name); err != nil || value != want {
			t.Errorf("%s is %q (%v), want %s", name, value, err, want)
		}
	}
	lab.Check(t, b.B.SetSysctl(key, "0"))
	lab.Eventually(t, patience, func() error { // asks the kernel only: natd would look before it answers
		if value, err := b.B.Sysctl(key); err != nil || value != "1" {
			return fmt.Errorf("%s is %q: %w", key, value, errors.Join(err))
		}
		return nil
	})
	if d := b.status().Ruleset.LastDrift; d == nil || !strings.Contains(d.What, key+" was turned off") {
		t.Errorf("last_drift is %+v, want one that names %s", d, key)
	}
	b.kill()
	if out, errs, code := b.natctl("flush", "--state", filepath.Join(b.dir, "state")); code != control.CodeOK {
		t.Fatalf("natctl flush exits %d:\n%s%s", code, out, errs)
	}
	forwards("0")
	sameSettings(t, before, settings(t, b.B), nil)
}

// sixRelay is a relay for IPv6 clients.
const sixRelay = `
[[relay]]
name = "six"
listen = "[fd00:10:2::100]:8"
from = ["fd00:10:1::/48"]
to = ["[fd00:10:3::100]:7"]
`

// TestTentativeAddress starts natd while the kernel still looks for another host that has its address, as at a boot.
func TestTentativeAddress(t *testing.T) {
	t.Parallel()
	lab.Require(t, "ip")
	b := newDualBox(t)
	lab.Check(t, b.B.SetSysctl("net.ipv6.conf.ens5.accept_dad", "1"))
	lab.Check(t, b.B.SetSysctl("net.ipv6.conf.ens5.dad_transmits", "3")) // three seconds
	lab.Check(t, b.B.DelAddr(lab.Device, netip.MustParsePrefix("fd00:10:2::100/64")))
	lab.Check(t, b.onB("ip addr add fd00:10:2::100/64 dev ens5 && ip -6 route replace default via fd00:10:2::1"))
	if listed := b.B.Output(t, "ip", "-6", "addr", "show", "dev", "ens5", "tentative"); !strings.Contains(listed, "fd00:10:2::100/64") {
		t.Fatal("the address is not tentative: the test sees too little")
	}
	b.configure(sixRelay)
	b.launch()
	b.awaitReady()
	lab.Check(t, reach(t, b.A, "tcp", "[fd00:10:2::100]:8", patience))
	if n := b.status().Ruleset.DriftRepairs; n != 0 {
		t.Errorf("%d repairs are counted, want none: nobody did any harm", n)
	}
}

// TestNoRedirects6 has a gateway's client that B reaches by the interface that its packets leave by, as with one network
// interface: B's kernel would tell it to go around B.
func TestNoRedirects6(t *testing.T) {
	t.Parallel()
	lab.Require(t, "tcpdump", "ip")
	b := newDualBox(t)
	client, err := b.Host("D")
	lab.Check(t, err)
	lab.Check(t, lab.Connect(
		lab.End{Host: client, Name: lab.Device, Addrs: []netip.Prefix{netip.MustParsePrefix("fd00:10:9::2/64")}},
		lab.End{Host: b.B, Name: "ens6", Addrs: []netip.Prefix{netip.MustParsePrefix("fd00:10:9::1/64")}}))
	lab.Check(t, client.AddRoute(netip.MustParsePrefix("::/0"), netip.MustParseAddr("fd00:10:9::1")))
	link := b.linkLocalOf(client, lab.Device)
	lab.Check(t, b.onB("ip -6 route add 2001:db8:9::/48 via "+link+" dev ens6"))
	b.start(hourly("off") + "[[gateway]]\nname = \"behind\"\nfrom = [\"fd00:10:9::/64\"]\n")

	capture, err := client.Capture(t.Context(), lab.Device, "(dst host 2001:db8:9::1 and src host fd00:10:9::1) or (icmp6 and ip6[40] == 137)")
	lab.Check(t, err)
	socket, err := client.Dial(t.Context(), "udp", "[2001:db8:9::1]:9")
	lab.Check(t, err)
	defer socket.Close()
	// B masquerades a datagram and sends it back to D's side.
	sent := func(n int, redirects bool) {
		t.Helper()
		lab.Check(t, capture.Await(t.Context(), patience, func(packets []lab.Packet) error {
			if _, err := socket.Write([]byte("around?")); err != nil && !errors.Is(err, net.ErrClosed) {
				t.Log(err)
			}
			got, told := 0, 0
			for _, p := range packets {
				if strings.Contains(p.Line, "redirect") {
					told++
				} else {
					got++
				}
			}
			if got < n || (told > 0) != redirects {
				return fmt.Errorf("%d datagrams and %d redirects, want %d and redirects: %v", got, told, n, redirects)
			}
			return nil
		}))
	}
	sent(3, false)
	b.kill()
	b.nft("delete chain inet natd output")
	sent(3, true)
}

// linkLocalOf is the address that the host has on the link of an interface alone.
func (b *box) linkLocalOf(h *lab.Host, device string) (addr string) {
	b.t.Helper()
	lab.Eventually(b.t, patience, func() error {
		for field := range strings.FieldsSeq(h.Output(b.t, "ip", "-6", "-o", "addr", "show", "dev", device, "scope", "link", "-tentative")) {
			if p, err := netip.ParsePrefix(field); err == nil {
				addr = p.Addr().String()
				return nil
			}
		}
		return errors.New("no address of the link yet")
	})
	return addr
}

// TestNoIPv6 has a kernel without IPv6, as after a boot with ipv6.disable=1, as far as its settings show that.
func TestNoIPv6(t *testing.T) {
	t.Parallel()
	b := newDualBox(t)
	lab.Check(t, b.B.SetSysctl("net.ipv6.conf.all.disable_ipv6", "1"))
	lab.Check(t, b.B.Do(func() error { return unix.Mount("tmpfs", "/proc/sys/net/ipv6", "tmpfs", unix.MS_RDONLY, "") }))
	const off = "IPv6 is off in the kernel: boot it without ipv6.disable=1"
	b.startRelays(dualRelay+sixRelay, map[string]string{"dual": off, "six": off})
	lab.Check(t, reach(t, b.A, "tcp", "10.2.0.100:7", patience))
	if reasons := strings.Join(b.status().Reasons, "; "); strings.Contains(reasons, "forwarding") {
		t.Errorf("the reasons are %q, want nothing about forwarding of IPv6", reasons)
	}
	if _, errs, code := b.natctl("flush"); code != control.CodeOK {
		t.Errorf("natctl flush exits %d: %s", code, errs)
	}
}

// TestRouterAdvertisements has a host that learns its IPv6 default route from a router, as an instance does. Forwarding alone would
// take it away.
func TestRouterAdvertisements(t *testing.T) {
	t.Parallel()
	lab.Require(t, "ip")
	b := newDualBox(t)
	lab.Check(t, b.onB("ip -6 route del default"))
	router := b.linkLocalOf(b.R, "b")
	learned := func() error {
		lab.Check(t, b.advertise())
		if routes := b.B.Output(t, "ip", "-6", "route", "show", "default", "proto", "ra"); !strings.Contains(routes, "via "+router) {
			return fmt.Errorf("the default routes are %q, want one via %s", routes, router)
		}
		return nil
	}
	lab.Eventually(t, patience, learned)
	before := b.B.State(t)
	b.start(sixRelay)
	works := func() {
		t.Helper()
		b.wantRoute(router)
		lab.Check(t, reach(t, b.A, "tcp", "[fd00:10:2::100]:8", patience))
	}
	works()
	lab.Check(t, learned())
	lab.Check(t, b.onB("ip -6 route del default")) // an advertisement brings it back
	b.awaitDegraded("relay six", "no route")
	lab.Eventually(t, patience, learned)
	b.awaitReady()
	works()
	if _, errs, code := b.natctl("flush"); code != control.CodeOK {
		t.Fatalf("natctl flush exits %d: %s", code, errs)
	}
	b.wantRoute(router)
	lab.WantSame(t, before, b.B.State(t))
}

// wantRoute wants B to have learned its default route from the router.
func (b *box) wantRoute(router string) {
	b.t.Helper()
	if routes := b.B.Output(b.t, "ip", "-6", "route", "show", "default", "proto", "ra"); !strings.Contains(routes, "via "+router) {
		b.t.Errorf("the default routes are %q, want one via %s", routes, router)
	}
}

// advertise sends a router advertisement from R to B: RFC 4861, section 4.2, without options. B may use the router for an hour.
func (b *box) advertise() error {
	const hour = 3600
	message := make([]byte, 16) // the kernel adds the checksum
	message[0], message[4] = 134, 64
	binary.BigEndian.PutUint16(message[6:], hour)
	return b.R.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMPV6)
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(fd) }()
		link, err := net.InterfaceByName("b")
		if err != nil {
			return err
		}
		to := &unix.SockaddrInet6{ZoneId: uint32(link.Index), Addr: netip.MustParseAddr("ff02::1").As16()}
		return errors.Join(unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, 255),
			unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_IF, link.Index), unix.Sendto(fd, message, 0, to))
	})
}

// TestForwardsNothingElse6 wants forwarding of IPv6 to make nothing reachable that no relay asks for.
func TestForwardsNothingElse6(t *testing.T) {
	t.Parallel()
	b := newDualBox(t)
	d, err := b.Host("D")
	lab.Check(t, err)
	lab.Check(t, lab.Connect(
		lab.End{Host: d, Name: lab.Device, Addrs: []netip.Prefix{netip.MustParsePrefix("fd00:10:2:9::2/64")}},
		lab.End{Host: b.B, Name: "ens6", Addrs: []netip.Prefix{netip.MustParsePrefix("fd00:10:2:9::1/64")}}))
	lab.Check(t, d.AddRoute(netip.MustParsePrefix("::/0"), netip.MustParseAddr("fd00:10:2:9::1")))
	echo(t, d, "tcp", "[fd00:10:2:9::2]:7")
	open := func(within time.Duration) map[string]error {
		return map[string]error{
			"D reaches C": reach(t, d, "tcp", "[fd00:10:3::100]:7", within), "C reaches D": reach(t, b.C, "tcp", "[fd00:10:2:9::2]:7", within),
			"D pings C": d.Ping(netip.Addr{}, b.C.Addr6, within), "D uses the relay of others": reach(t, d, "tcp", "[fd00:10:2::100]:8", within),
		}
	}
	b.start(sixRelay)
	lab.Check(t, reach(t, b.A, "tcp", "[fd00:10:2::100]:8", patience))
	for what, err := range open(200 * time.Millisecond) {
		if err == nil {
			t.Errorf("%s", what)
		}
	}
	b.reload("[host]\nforward = \"open\"\n" + sixRelay)
	for what, err := range open(2 * time.Second) {
		if (err == nil) != (what != "D uses the relay of others") {
			t.Errorf("with forward = \"open\": %s: %v", what, err)
		}
	}
}
