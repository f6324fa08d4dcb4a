package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"natd/internal/control"
	"natd/internal/lab"
)

// portRelayTo is a configuration with the echo relay to a backend, and more lines for that relay.
func portRelayTo(backend string, lines ...string) string {
	return hourly("auto") + fmt.Sprintf(portRelay, backend) + strings.Join(lines, "\n") + "\n"
}

// otherRelay is one more way to the echo server.
const otherRelay = `
[[relay]]
name = "other"
listen = "10.2.0.100:7001"
to = ["10.3.0.100:7000"]
`

// TestRemovedRelay ends a relay in every way there is while two connections use it, one of which another relay carries.
func TestRemovedRelay(t *testing.T) {
	t.Parallel()
	inFamiliesWith(t, map[string]string{
		"removed":  hourly("auto") + otherRelay,
		"disabled": portRelayTo("10.3.0.100:7000", "enabled = false", otherRelay),
		"narrowed": strings.Replace(portRelayTo("10.3.0.100:7000", otherRelay), "10.1.0.0/16", "10.1.0.7/32", 1),
		"moved":    strings.Replace(portRelayTo("10.3.0.100:7000", otherRelay), "10.2.0.100:7000", "10.2.0.100:7002", 1),
	}, func(t *testing.T, f family, next string) {
		lab.Require(t, "conntrack")
		b := newEchoBoxOf(t, f, "auto")
		b.reload(portRelayTo("10.3.0.100:7000", otherRelay))
		ends, stays := b.converse(), b.converseFrom("10.1.0.100", "10.2.0.100:7001")
		datagrams := b.dialUDP("10.2.0.100:7000")
		awaitEcho(t, datagrams)
		before := b.entries("tcp", "7001")
		b.reload(next)
		for range 3 {
			if echoUDP(datagrams) == nil {
				t.Error("datagrams are relayed as before")
			}
		}
		ends.Breaks(t)
		if left := b.entries("tcp", "7000"); left != "" {
			t.Errorf("still tracked: %s", left)
		}
		if err := b.A.SayOnce(t.Context(), b.say("10.2.0.100:7000")); err == nil {
			t.Error("a new connection is relayed")
		}
		if now := b.entries("tcp", "7001"); now != before {
			t.Errorf("the connection of the other relay was tracked as %s and is as %s", before, now)
		}
		stays.End(t)
	})
}

// TestNarrowedRelay wants a client that the relay still serves to notice nothing when another one is shut out.
func TestNarrowedRelay(t *testing.T) {
	t.Parallel()
	inFamilies(t, func(t *testing.T, f family) {
		b := newEchoBoxOf(t, f, "auto")
		lab.Check(t, b.A.AddAddr(lab.Device, netip.MustParsePrefix(b.say("10.1.0.7/24"))))
		ends, stays := b.converse(), b.converseFrom("10.1.0.7", "10.2.0.100:7000")
		b.reload(strings.Replace(portRelayTo("10.3.0.100:7000"), "10.1.0.0/16", "10.1.0.7/32", 1))
		ends.Breaks(t)
		stays.End(t)
		b.converseFrom("10.1.0.7", "10.2.0.100:7000").End(t)
	})
}

// TestChangedBackend wants the connections to the old backend to drain or to end, as the relay says, and new ones to go to
// the new one.
func TestChangedBackend(t *testing.T) {
	t.Parallel()
	inFamiliesWith(t, map[string]string{"drain": "drain", "close": "close"}, func(t *testing.T, f family, onChange string) {
		b := newEchoBoxOf(t, f, "auto")
		next, err := b.C.EchoTCP(b.say("10.3.0.100:7010"))
		lab.Check(t, err)
		old := b.converse()
		b.reload(portRelayTo("10.3.0.100:7010", fmt.Sprintf("on_change = %q", onChange)))
		b.converse().End(t)
		if n := len(next.Peers()); n != 1 {
			t.Errorf("the new backend has %d connections, want the one that was made last", n)
		}
		if onChange == "close" {
			old.Breaks(t)
			return
		}
		backends := b.status().Relays[0].Backends
		if len(backends) != 2 || backends[1].Address != b.say("10.3.0.100:7000") || backends[1].State != control.BackendDraining {
			t.Errorf("status says backends %+v, want the second one to be 10.3.0.100:7000, draining", backends)
		}
		old.End(t)
	})
}

// TestChangedBackendUDP wants the datagrams of one socket that never rests to go to the new backend.
func TestChangedBackendUDP(t *testing.T) {
	t.Parallel()
	inFamilies(t, func(t *testing.T, f family) {
		b := newEchoBoxOf(t, f, "auto")
		next, err := b.C.EchoUDP(b.say("10.3.0.100:7010"))
		lab.Check(t, err)
		socket := b.dialUDP("10.2.0.100:7000")
		awaitEcho(t, socket)
		b.reload(portRelayTo("10.3.0.100:7010"))
		lab.Eventually(t, patience, func() error {
			if err := echoUDP(socket); err != nil {
				return err
			}
			if len(next.Peers()) == 0 {
				return fmt.Errorf("the new backend has got nothing")
			}
			return nil
		})
		if now := b.entries("udp", ""); !strings.Contains(now, "sport=7010") || strings.Contains(now, b.say("src=10.3.0.100 dst=10.2.0.100 sport=7000")) {
			t.Errorf("tracked is: %s", now)
		}
	})
}

// TestEarlyDatagrams sends from one socket before natd is there, to a host that tracks connections. The entry that this makes
// says "no translation", and would be obeyed for as long as the datagrams come.
func TestEarlyDatagrams(t *testing.T) {
	t.Parallel()
	lab.Require(t, "conntrack")
	b := newBox(t)
	b.nft("table ip tracks { chain early { type filter hook prerouting priority 0; ct state new counter; }; }")
	_, err := b.C.EchoUDP("10.3.0.100:7000")
	lab.Check(t, err)
	_, err = b.B.ListenPacket("udp", "10.2.0.100:7009") // another port, whose entry must stay
	lab.Check(t, err)
	socket, other := b.dialUDP("10.2.0.100:7000"), b.dialUDP("10.2.0.100:7009")
	lab.Eventually(t, patience, func() error {
		_, _ = socket.Write([]byte("early")) // is refused by ICMP now and then
		_, _ = other.Write([]byte("early"))
		if now := b.entries("udp", ""); !strings.Contains(now, "dport=7000") || !strings.Contains(now, "dport=7009") {
			return fmt.Errorf("not tracked yet: %q", now)
		}
		return nil
	})
	before := b.entries("udp", "7009")
	b.start(portRelayTo("10.3.0.100:7000"))
	awaitEcho(t, socket)
	if now := b.entries("udp", "7009"); now != before {
		t.Errorf("an entry that is none of natd's was %q and is %q", before, now)
	}
}

// TestConnections compares what natctl says about connections with what conntrack(8) does.
func TestConnections(t *testing.T) {
	t.Parallel()
	lab.Require(t, "conntrack")
	inFamilies(t, func(t *testing.T, f family) {
		b := newEchoBoxOf(t, f, "auto")
		conn, err := b.A.Dial(t.Context(), "tcp", b.say("10.2.0.100:7000"))
		lab.Check(t, err)
		defer conn.Close()
		awaitEcho(t, conn)
		datagrams := b.dialUDP("10.2.0.100:7000")
		awaitEcho(t, datagrams)

		out, errs, code := b.natctl("connections", "--json", "--relay", "echo")
		var list control.ConnectionList
		if err := json.Unmarshal([]byte(out), &list); err != nil || code != 0 || len(list.Connections) != 2 {
			t.Fatalf("natctl connections exits %d, prints %s%s: %v; want two connections", code, out, errs, err)
		}
		var bytes, packets control.Volume
		for _, c := range list.Connections {
			client := conn.LocalAddr().String()
			if c.Protocol == "udp" {
				client = datagrams.LocalAddr().String()
			}
			port := client[strings.LastIndex(client, ":")+1:]
			if c.Relay != "echo" || c.Client != client || c.Listen != b.say("10.2.0.100:7000") || c.SNAT != b.say("10.2.0.100:")+port ||
				c.Target != b.say("10.3.0.100:7000") {
				t.Errorf("natctl lists %+v, want the client %s and its port kept", c, client)
			}
			b.wantTracked(t, &c, port)
			bytes.ToTarget, bytes.ToClient = bytes.ToTarget+c.Bytes.ToTarget, bytes.ToClient+c.Bytes.ToClient
			packets.ToTarget, packets.ToClient = packets.ToTarget+c.Packets.ToTarget, packets.ToClient+c.Packets.ToClient
		}
		r := b.status().Relays[0]
		if want := (control.Connections{Total: 2, Active: 2}); r.Connections != want || r.Bytes != bytes || r.Packets != packets {
			t.Errorf("status says %+v, bytes %+v, packets %+v; want %+v, %+v, %+v", r.Connections, r.Bytes, r.Packets, want, bytes, packets)
		}
	})
}

// wantTracked holds what natctl says against the entry of conntrack(8) with that source port.
func (b *box) wantTracked(t *testing.T, c *control.Connection, port string) {
	t.Helper()
	entries, err := b.B.Conntrack(t.Context(), "-f", strings.ToLower(string(b.family)), "-p", c.Protocol, "--orig-port-src", port)
	lab.Check(t, err)
	if len(entries) != 1 {
		t.Fatalf("conntrack lists %q, want one entry", entries)
	}
	client, snat := netip.MustParseAddrPort(c.Client), netip.MustParseAddrPort(c.SNAT)
	entry := regexp.MustCompile(fmt.Sprintf(b.say(
		`src=%s dst=10.2.0.100 sport=%d dport=7000 packets=(\d+) bytes=(\d+) src=10.3.0.100 dst=%s sport=7000 dport=%d packets=(\d+) bytes=(\d+)`),
		client.Addr(), client.Port(), snat.Addr(), snat.Port())).FindStringSubmatch(entries[0])
	if entry == nil {
		t.Fatalf("conntrack lists %q, natctl %+v", entries[0], c)
	}
	for i, n := range []uint64{c.Packets.ToTarget, c.Bytes.ToTarget, c.Packets.ToClient, c.Bytes.ToClient} {
		if text := strconv.FormatUint(n, 10); entry[i+1] != text || n == 0 {
			t.Errorf("conntrack counts %q, natctl packets %+v and bytes %+v", entry[1:], c.Packets, c.Bytes)
		}
	}
	if c.Protocol == "tcp" && (c.State != "ESTABLISHED" || !strings.Contains(entries[0], c.State)) {
		t.Errorf("conntrack lists %q, natctl state %s", entries[0], c.State)
	}
}

// TestCounts makes connections that end, one that stays, and one that is not answered.
func TestCounts(t *testing.T) {
	t.Parallel()
	lab.Require(t, "conntrack", "curl")
	b := newEchoBox(t, "auto")
	for range 5 {
		lab.Check(t, b.A.SayOnce(t.Context(), "10.2.0.100:7000"))
	}
	lab.Check(t, b.C.Nft(t.Context(), "table ip deaf { chain in { type filter hook input priority 0; tcp dport 7000 tcp flags syn drop; }; }"))
	lab.Eventually(t, patience, func() error {
		dialer, err := b.A.Start("curl", "--silent", "--max-time", "1", "http://10.2.0.100:7000/")
		lab.Check(t, err)
		<-dialer.Done()
		c := b.status().Relays[0].Connections
		if c.Unreplied != 1 || c.Active != 0 || c.Total < 6 {
			return fmt.Errorf("status says %+v, want one that is not answered, and five that have ended", c)
		}
		return nil
	})
	if n := strings.Count(b.entries("tcp", "7000"), "UNREPLIED"); n != 1 {
		t.Errorf("conntrack lists %d that are not answered, want 1", n)
	}
}

// TestLog wants a record for each new connection of a relay with log = true, none for others, and none for those shut out.
func TestLog(t *testing.T) {
	t.Parallel()
	inFamilies(t, func(t *testing.T, f family) {
		b := newEchoBoxOf(t, f, "auto")
		lab.Check(t, b.A.SayOnce(t.Context(), b.say("10.2.0.100:7000")))
		b.reload(portRelayTo("10.3.0.100:7000", "log = true"))
		for range 10 {
			lab.Check(t, b.A.SayOnce(t.Context(), b.say("10.2.0.100:7000")))
		}
		socket := b.dialUDP("10.2.0.100:7000")
		awaitEcho(t, socket)
		awaitEcho(t, socket)
		if conn, err := b.C.Dial(t.Context(), "tcp", b.say("10.2.0.100:7000")); err == nil {
			t.Error("a source that is not in from gets a connection")
			lab.Check(t, conn.Close())
		}
		record := regexp.MustCompile(`msg="new connection" relay=echo protocol=(tcp|udp) ` + regexp.QuoteMeta(b.say("client=10.1.0.100:")) + `\d+ ` +
			regexp.QuoteMeta(b.say("listen=10.2.0.100:7000 target=10.3.0.100:7000")))
		lab.Eventually(t, patience, func() error {
			if n := len(record.FindAllString(b.natd.Log(), -1)); n != 11 {
				return fmt.Errorf("%d records, want 11", n)
			}
			return nil
		})
		b.reload(portRelayTo("10.3.0.100:7000", "log = false"))
		lab.Check(t, b.A.SayOnce(t.Context(), b.say("10.2.0.100:7000")))
		b.status()
		if n := strings.Count(b.natd.Log(), `msg="new connection"`); n != 11 {
			t.Errorf("%d records, want 11:\n%s", n, b.natd.Log())
		}
	})
}

// entries is what conntrack(8) lists on host B of a protocol and the port that clients dialled, "" for every port: with the
// number of each entry, but without what changes by itself.
func (b *box) entries(proto, port string) string {
	b.t.Helper()
	filter := []string{"-f", strings.ToLower(string(b.family)), "-p", proto, "-o", "id"}
	if port != "" {
		filter = append(filter, "--orig-port-dst", port)
	}
	entries, err := b.B.Conntrack(b.t.Context(), filter...)
	lab.Check(b.t, err)
	changing := regexp.MustCompile(`(?m)^(\w+ +\d+) \d+ | (packets|bytes|use)=\d+`)
	return changing.ReplaceAllString(strings.Join(entries, "\n"), "$1 ")
}

// dialUDP is a socket of A that sends to the address.
func (b *box) dialUDP(addr string) net.Conn {
	b.t.Helper()
	socket, err := b.A.Dial(b.t.Context(), "udp", b.say(addr))
	lab.Check(b.t, err)
	b.t.Cleanup(func() { _ = socket.Close() })
	return socket
}

// echoUDP sends once and waits a moment for the echo. A datagram may get lost, or be refused by ICMP.
func echoUDP(socket net.Conn) error {
	if _, err := socket.Write([]byte("natd")); err != nil {
		return err
	}
	_ = socket.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	_, err := socket.Read(make([]byte, 16))
	return err
}

// awaitEcho sends until there is an echo.
func awaitEcho(t *testing.T, socket net.Conn) {
	t.Helper()
	lab.Eventually(t, patience, func() error { return echoUDP(socket) })
}
