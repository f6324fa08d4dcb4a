package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	ip4 "golang.org/x/net/ipv4"

	"natd/internal/control"
	"natd/internal/lab"
)

// fastEnv makes every test run with the fast path that it names.
const fastEnv = "NATD_TEST_FLOWTABLE"

// fastened is the configuration with the fast path that the environment asks for, unless it says itself what it wants.
func fastened(text string) string {
	wanted := os.Getenv(fastEnv)
	switch {
	case wanted == "" || strings.Contains(text, "flowtable"):
		return text
	case strings.Contains(text, "[host]\n"):
		return strings.Replace(text, "[host]\n", fmt.Sprintf("[host]\nflowtable = %q\n", wanted), 1)
	}
	return text + fmt.Sprintf("\n[host]\nflowtable = %q\n", wanted)
}

// fastRelay relays to an echo server that listens on both protocols, with exact counts.
func (b *box) fastRelay(lines ...string) string {
	return fmt.Sprintf("[host]\nflowtable = \"auto\"\n[flow_log]\npath = %q\ninterval = \"1s\"\n%s", b.dir+"/flow.log",
		portRelayTo("10.3.0.100:7000", lines...))
}

// newFastBox is a box with natd and the fast path; without it the test is skipped, once natd has said why.
func newFastBox(t *testing.T, f family) *box {
	t.Helper()
	b := newBoxOf(t, f)
	for _, network := range []string{"tcp", "udp"} {
		echo(t, b.C, network, b.say("10.3.0.100:7000"))
	}
	b.start(b.fastRelay())
	if f := b.status().Host.Flowtable; !f.On {
		t.Skip(f.Why)
	}
	return b
}

// fast waits until a connection of the protocol has the fast path.
func (b *box) fast(protocol string, use func() error) {
	b.t.Helper()
	lab.Eventually(b.t, patience, func() error {
		if err := use(); err != nil {
			return err
		}
		for _, c := range b.connections() {
			if c.Protocol == protocol && c.Fast {
				return nil
			}
		}
		return fmt.Errorf("no %s connection takes the fast path: %+v", protocol, b.connections())
	})
}

// TestFastPathOff wants natd to be ready and to say why where the kernel has no fast path.
func TestFastPathOff(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	echo(t, b.C, "tcp", "10.3.0.100:7000")
	b.start(b.fastRelay())
	f := b.status().Host.Flowtable
	if f.On {
		t.Skip("this kernel has it")
	}
	lab.Check(t, reach(t, b.A, "tcp", "10.2.0.100:7000", patience))
	if f.Wanted != "auto" || f.Why == "" || len(f.Interfaces) > 0 {
		t.Errorf("the status is %+v", f)
	}
	text, _, _ := b.natctl("status")
	if !strings.Contains(text, "fast path  off: ") {
		t.Errorf("natctl status says\n%s", text)
	}
	rules, _, code := b.natctl("rules", b.configPath())
	if code != control.CodeOK || strings.Contains(rules, "flowtable") {
		t.Errorf("natctl rules exits %d and prints\n%s", code, rules)
	}
	if n := strings.Count(b.natd.Log(), "without the fast path"); n != 1 {
		t.Errorf("natd says it %d times:\n%s", n, b.natd.Log())
	}
	t.Log(f.Why)
}

// TestFastPath wants connections of both protocols on the fast path, counted to the byte, translated in both directions, and cut at once
// when they lose their relay.
func TestFastPath(t *testing.T) {
	t.Parallel()
	inFamilies(t, func(t *testing.T, f family) {
		b := newFastBox(t, f)
		if links := b.status().Host.Flowtable.Interfaces; !slices.Equal(links, []string{lab.Device}) {
			t.Errorf("the fast path is on %v", links)
		}
		b.lintRules()
		var w *wire
		if f == ipv4 {
			w = b.watchWire()
		}
		tcp, err := b.A.Dial(t.Context(), "tcp", b.say("10.2.0.100:7000"))
		lab.Check(t, err)
		defer tcp.Close()
		udp := b.dialUDP("10.2.0.100:7000")
		b.fast("tcp", func() error { return exchange(tcp, patience) })
		b.fast("udp", func() error { return echoUDP(udp) })
		seen := b.forwarded()
		echoed(t, tcp, 200_000)
		for range 20 {
			lab.Check(t, echoUDP(udp))
		}
		if now := b.forwarded(); now > seen+20 {
			t.Errorf("%d packets came by the rules, which the fast path should have spared", now-seen)
		}
		if w != nil {
			w.agree("on the fast path", 2)
		}
		for _, c := range b.connections() {
			if c.Protocol == "tcp" && c.State != "ESTABLISHED" {
				t.Errorf("the state is %q", c.State)
			}
		}
		b.reload("[host]\nflowtable = \"auto\"\n")
		if err := exchange(tcp, time.Second); err == nil {
			t.Error("the connection outlives its relay")
		}
		if err := echoUDP(udp); err == nil {
			t.Error("datagrams outlive their relay")
		}
	})
}

// forwarded is how many packets a chain beside natd's sees forwarded.
func (b *box) forwarded() (packets int) {
	b.t.Helper()
	const chain = "table inet watch { counter seen { }; chain forward { type filter hook forward priority -10; counter name seen; }; }"
	if _, err := b.B.Run(b.t.Context(), "nft", "list", "table", "inet", "watch"); err != nil {
		b.nft(chain)
	}
	out := b.B.Output(b.t, "nft", "list", "counter", "inet", "watch", "seen")
	_, after, _ := strings.Cut(out, "packets ")
	_, err := fmt.Sscan(after, &packets)
	lab.Check(b.t, err)
	return packets
}

// TestFastPathClose wants a client on the fast path to be told at once when its backend is taken away with on_change = "close", or its
// source may not use the relay any more.
func TestFastPathClose(t *testing.T) {
	t.Parallel()
	b := newFastBox(t, ipv4)
	echo(t, b.C, "tcp", "10.3.0.100:7001")
	b.reload(b.fastRelay(`on_change = "close"`))
	dial := func() net.Conn {
		c, err := b.A.Dial(t.Context(), "tcp", "10.2.0.100:7000")
		lab.Check(t, err)
		t.Cleanup(func() { _ = c.Close() })
		b.fast("tcp", func() error { return exchange(c, patience) })
		return c
	}
	ended := func(c net.Conn, why string) {
		t.Helper()
		began := time.Now()
		if err := hears(c, soon); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: the client that waits got %v after %v", why, err, time.Since(began))
		}
	}
	c := dial()
	b.reload(strings.Replace(b.fastRelay(`on_change = "close"`), "10.3.0.100:7000", "10.3.0.100:7001", 1))
	ended(c, "another backend")
	c = dial()
	b.reload(strings.Replace(b.fastRelay(), "10.1.0.0/16", "10.1.0.7/32", 1))
	ended(c, "another source")
}

// TestFastPathTTL wants packets on the fast path to lose one of their hops at this host, as any other, and one too few to be told.
func TestFastPathTTL(t *testing.T) {
	t.Parallel()
	b := newFastBox(t, ipv4)
	capture, err := b.C.Capture(t.Context(), lab.Device, "udp and dst port 7000 and ip[8] != 61") // as many hops as the system gives, less three
	lab.Check(t, err)
	udp := b.dialUDP("10.2.0.100:7000")
	b.fast("udp", func() error { return echoUDP(udp) })
	seen := b.forwarded()
	lab.Check(t, echoUDP(udp))
	if b.forwarded() != seen {
		t.Fatal("the datagram came by the rules")
	}
	packets, err := capture.Stop(t.Context())
	lab.Check(t, err)
	if len(packets) > 0 {
		t.Errorf("packets with another TTL: %+v", packets)
	}
	lab.Check(t, ip4.NewConn(udp).SetTTL(2)) // one for the router, one for B, none to go on with
	if err := echoUDP(udp); err == nil {
		t.Error("a datagram outlives its hops")
	}
	lab.Check(t, ip4.NewConn(udp).SetTTL(64))
	awaitEcho(t, udp)
}

// TestFastPathFollows wants interfaces in the fast path as they come and go, and others to be relayed by all the while.
func TestFastPathFollows(t *testing.T) {
	t.Parallel()
	b := newFastBox(t, ipv4)
	d, err := b.Host("d")
	lab.Check(t, err)
	config := b.fastRelay() + "\n[[relay]]\nname = \"side\"\nlisten = \"10.9.0.1:7000\"\nto = [\"10.3.0.100:7000\"]\n"
	connect := func() {
		lab.Check(t, lab.Connect(lab.End{Host: b.B, Name: "side0", Addrs: []netip.Prefix{netip.MustParsePrefix("10.9.0.1/24")}},
			lab.End{Host: d, Name: "side0", Addrs: []netip.Prefix{netip.MustParsePrefix("10.9.0.2/24")}}))
	}
	on := func(links ...string) {
		t.Helper()
		b.awaitStatus(func(s *control.Status) error {
			if f := s.Host.Flowtable; !slices.Equal(f.Interfaces, links) {
				return fmt.Errorf("the fast path is %+v, want it on %v", f, links)
			}
			return nil
		})
		out := b.B.Output(t, "nft", "list", "flowtables")
		for _, link := range links {
			if !strings.Contains(out, link) {
				t.Errorf("%s is not in the kernel's\n%s", link, out)
			}
		}
		c, err := b.A.Dial(t.Context(), "tcp", "10.2.0.100:7000")
		lab.Check(t, err)
		defer c.Close()
		b.fast("tcp", func() error { return exchange(c, patience) })
	}
	on(lab.Device)
	b.reload(config)
	connect()
	on(lab.Device, "side0")
	for range 3 {
		lab.Check(t, b.B.DelLink("side0"))
		connect()
	}
	on(lab.Device, "side0")
	c, err := d.Dial(t.Context(), "tcp", "10.9.0.1:7000")
	lab.Check(t, err)
	defer c.Close()
	b.fast("tcp", func() error { return exchange(c, patience) })
	lab.Check(t, b.B.Rename("side0", "other0"))
	on(lab.Device, "other0")
	lab.Check(t, b.B.DelLink("other0"))
	on(lab.Device)
	if log := b.natd.Log(); strings.Contains(log, "level=ERROR") {
		t.Errorf("natd wrote\n%s", log)
	}
	b.reload(portRelayTo("10.3.0.100:7000"))
	if out := b.B.Output(t, "nft", "list", "ruleset"); strings.Contains(out, "flow") {
		t.Errorf("what stays of the fast path:\n%s", out)
	}
}

// TestFastPathSurvives wants connections on the fast path to outlive what others outlive: natd killed and started anew, a table that is
// made anew, and the end of the fast path itself.
func TestFastPathSurvives(t *testing.T) {
	t.Parallel()
	b := newFastBox(t, ipv4)
	c, err := b.A.Dial(t.Context(), "tcp", "10.2.0.100:7000")
	lab.Check(t, err)
	defer c.Close()
	use := func() error { return exchange(c, patience) }
	b.fast("tcp", use)
	b.kill()
	lab.Check(t, use())
	b.launch()
	b.awaitReady()
	b.fast("tcp", use)
	b.reload(strings.Replace(b.fastRelay(), `flowtable = "auto"`, `flowtable = "off"`, 1))
	lab.Check(t, use())
	for _, k := range b.connections() {
		if k.Fast {
			t.Errorf("%+v", k)
		}
	}
	b.reload(b.fastRelay())
	b.fast("tcp", use)
	lab.Check(t, c.(*net.TCPConn).CloseWrite())
	if _, err := io.ReadAll(c); err != nil {
		t.Errorf("the end of the connection: %v", err)
	}
}

// TestFastPathTunnel wants what goes through a tunnel to be relayed, without the fast path: since Linux 7.0 nothing arrives of what that sends
// into an ip6tnl.
func TestFastPathTunnel(t *testing.T) {
	t.Parallel()
	b := newFastBox(t, ipv4)
	if !b.B.Addr6.IsValid() {
		t.Skip("this kernel has no IPv6")
	}
	for _, end := range []struct {
		host, peer *lab.Host
		addr       string
	}{{b.B, b.C, "10.99.0.1/30"}, {b.C, b.B, "10.99.0.2/30"}} {
		const tunnel = "link add tun0 type ip6tnl mode ipip6 encaplimit none local %s remote %s dev %s"
		args := strings.Fields(fmt.Sprintf(tunnel, end.host.Addr6, end.peer.Addr6, lab.Device))
		if out, err := end.host.Run(t.Context(), "ip", args...); err != nil {
			t.Skipf("no tunnels here: %v %s", err, out)
		}
		lab.Check(t, end.host.AddAddr("tun0", netip.MustParsePrefix(end.addr)))
		lab.Check(t, end.host.SetUp("tun0", true))
	}
	echo(t, b.C, "tcp", "10.99.0.2:7000")
	b.reload(b.fastRelay() + "\n[[relay]]\nname = \"tunnelled\"\nlisten = \"10.2.0.100:7009\"\nto = [\"10.99.0.2:7000\"]\n")
	if f := b.status().Host.Flowtable; !slices.Equal(f.Interfaces, []string{lab.Device}) {
		t.Errorf("the fast path is on %v", f.Interfaces)
	}
	c, err := b.A.Dial(t.Context(), "tcp", "10.2.0.100:7009")
	lab.Check(t, err)
	defer c.Close()
	echoed(t, c, 200_000)
	for _, k := range b.connections("--relay", "tunnelled") {
		if k.Fast {
			t.Errorf("it is on the fast path: %+v", k)
		}
	}
}
