package main

import (
	"encoding/json"
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

	"golang.org/x/sys/unix"

	"natd/internal/control"
	"natd/internal/lab"
)

// TestDig asks a real name server by a relay with TCP and UDP on one port, with a real client.
func TestDig(t *testing.T) {
	t.Parallel()
	lab.Require(t, "dnsmasq", "dig")
	inFamilies(t, func(t *testing.T, f family) {
		b := newBoxOf(t, f)
		var many []netip.Addr // more than a datagram of 512 bytes takes: dig asks again over TCP
		for a := netip.MustParseAddr("192.0.2.1"); len(many) < 60; a = a.Next() {
			many = append(many, a)
		}
		_, err := b.C.StartDNS(t.Context(), netip.MustParseAddrPort(b.say("10.3.0.100:53")),
			map[string][]netip.Addr{"app.internal": many[:1], "many.internal": many})
		lab.Check(t, err)
		b.start(`
[[relay]]
name = "dns"
listen = "10.2.0.100:53"
protocol = ["tcp", "udp"]
from = ["10.1.0.0/16"]
to = ["10.3.0.100:53"]
`)
		dig := func(args ...string) []string {
			t.Helper()
			args = append([]string{"@" + b.say("10.2.0.100"), "+short", "+tries=3", "+time=5"}, args...)
			return strings.Fields(b.A.Output(t, "dig", args...))
		}
		for _, network := range []string{"+notcp", "+tcp"} {
			if got := dig(network, "app.internal"); !slices.Equal(got, []string{"192.0.2.1"}) {
				t.Errorf("dig %s says %q, want 192.0.2.1", network, got)
			}
		}
		if got := dig("+noedns", "many.internal"); len(got) != len(many) {
			t.Errorf("dig says %d addresses, want %d", len(got), len(many))
		}
		if r := b.status().Relays[0]; r.Connections.Total != 4 || !slices.Equal(r.Protocol, []string{"tcp", "udp"}) {
			t.Errorf("status says %+v of %q, want 4 connections: one by UDP, one by TCP, and one that changed", r.Connections, r.Protocol)
		}
	})
}

// sctpRelays are a relay of SCTP alone, and one that has TCP on the same port.
const sctpRelays = `
[[relay]]
name = "s1ap"
listen = "10.2.0.100:36412"
protocol = "sctp"
to = ["10.3.0.100:36412"]
log = true

[[relay]]
name = "m3ua"
listen = "10.2.0.100:2906"
protocol = ["tcp", "sctp"]
from = ["10.1.0.0/16"]
to = ["10.3.0.100:2905"]
`

// TestSCTP makes associations through relays, and wants each to be tracked, told and counted, and to end with its relay.
func TestSCTP(t *testing.T) {
	t.Parallel()
	lab.Require(t, "conntrack")
	inFamilies(t, func(t *testing.T, f family) {
		b := newBoxOf(t, f)
		servers := b.answerSCTP("10.3.0.100:36412", "10.3.0.100:2905")
		echo(t, b.C, "tcp", b.say("10.3.0.100:2905"))
		b.start(sctpRelays)
		lab.Check(t, b.A.Associate(t.Context(), 4000, netip.MustParseAddrPort(b.say("10.2.0.100:36412"))))
		lab.Check(t, b.A.Associate(t.Context(), 4001, netip.MustParseAddrPort(b.say("10.2.0.100:2906"))))
		lab.Check(t, reach(t, b.A, "tcp", b.say("10.2.0.100:2906"), patience))
		for i, server := range servers {
			want := netip.MustParseAddrPort(b.say(fmt.Sprintf("10.2.0.100:400%d", i)))
			if got := server.Peers(); len(got) != 1 || got[0] != want {
				t.Errorf("C met %v, want %s", got, want)
			}
		}
		b.wantAssociation("s1ap", "36412")
		b.wantAssociation("m3ua", "2906")
		if r := b.status().Relays[0]; r.Connections.Total != 1 || r.Connections.Active != 1 || r.Packets.ToClient == 0 {
			t.Errorf("status says %+v with %+v packets", r.Connections, r.Packets)
		}
		lab.Check(t, b.natd.AwaitLog(t.Context(), patience, `msg="new connection" relay=s1ap protocol=sctp client=`+b.say("10.1.0.100:4000")))
		b.reload("[daemon]\n")
		if tracked := b.entries("sctp", ""); tracked != "" {
			t.Errorf("after the relays are gone conntrack still lists %q", tracked)
		}
	})
}

// answerSCTP starts servers on C. The test is skipped where the kernel speaks SCTP itself.
func (b *box) answerSCTP(addrs ...string) (servers []*lab.SCTP) {
	b.t.Helper()
	for _, at := range addrs {
		server, err := b.C.AnswerSCTP(netip.MustParseAddrPort(b.say(at)))
		if errors.Is(err, lab.ErrSCTP) {
			b.t.Skip(err)
		}
		lab.Check(b.t, err)
		servers = append(servers, server)
	}
	return servers
}

// wantAssociation wants conntrack(8) and natctl to know the one association of a relay.
func (b *box) wantAssociation(relay, port string) {
	b.t.Helper()
	if tracked := b.entries("sctp", port); strings.Count(tracked, "ESTABLISHED") != 1 {
		b.t.Errorf("conntrack lists %q, want one association", tracked)
	}
	out, _, _ := b.natctl("connections", "--relay", relay, "--json")
	var list control.ConnectionList
	lab.Check(b.t, json.Unmarshal([]byte(out), &list))
	if !slices.ContainsFunc(list.Connections, func(c control.Connection) bool {
		return c.Protocol == "sctp" && c.State == "ESTABLISHED" && c.Listen == b.say("10.2.0.100:"+port)
	}) {
		b.t.Errorf("natctl connections lists %+v", list.Connections)
	}
}

// TestPorts relays a range whose ports are others at the backend: each to its own, and those beside it to none.
func TestPorts(t *testing.T) {
	t.Parallel()
	inFamilies(t, func(t *testing.T, f family) {
		b := newBoxOf(t, f)
		servers := make(map[int]*lab.Echo)
		for _, port := range []int{19000, 19004, 19009, 19010} {
			servers[port] = echo(t, b.C, "tcp", b.say(fmt.Sprintf("10.3.0.100:%d", port)))
			echo(t, b.C, "udp", b.say(fmt.Sprintf("10.3.0.100:%d", port)))
		}
		b.start("[[relay]]\nname = \"range\"\nlisten = \"10.2.0.100:9000-9009\"\nprotocol = [\"tcp\", \"udp\"]\n" +
			"to = [\"10.3.0.100:19000-19009\"]\n")
		for _, network := range []string{"tcp", "udp"} {
			for _, port := range []int{9000, 9004, 9009} {
				lab.Check(t, reach(t, b.A, network, b.say(fmt.Sprintf("10.2.0.100:%d", port)), patience))
				if n := len(servers[port+10000].Peers()); n != 1 {
					t.Errorf("port %d at C has %d connections, want the one to %d", port+10000, n, port)
				}
			}
			if err := reach(t, b.A, network, b.say("10.2.0.100:9010"), 200*time.Millisecond); err == nil {
				t.Errorf("%s port 9010 is relayed", network)
			}
		}
	})
}

// TestSCTPSockets is TestSCTP where the kernel of A and C speaks SCTP itself: data goes both ways, with checksums that the kernel
// of B has to make anew because the port is another.
func TestSCTPSockets(t *testing.T) {
	t.Parallel()
	inFamilies(t, func(t *testing.T, f family) {
		b := newBoxOf(t, f)
		server := sctpSocket(t, b.C, b.say("10.3.0.100:2905"), func(fd int, at unix.Sockaddr) error {
			return errors.Join(unix.Bind(fd, at), unix.Listen(fd, 1))
		})
		listener, err := net.FileListener(server) // net takes it for TCP, whose sockets are used in the same way
		lab.Check(t, err)
		defer listener.Close()
		go func() {
			if c, err := listener.Accept(); err == nil {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}
		}()
		b.start("[[relay]]\nname = \"m3ua\"\nlisten = \"10.2.0.100:2906\"\nprotocol = [\"tcp\", \"sctp\"]\nto = [\"10.3.0.100:2905\"]\n")
		c, err := net.FileConn(sctpSocket(t, b.A, b.say("10.2.0.100:2906"), unix.Connect))
		lab.Check(t, err)
		defer c.Close()
		lab.Check(t, exchange(c, patience))
		if r := b.status().Relays[0]; r.Connections.Total != 1 || r.Connections.Active != 1 || r.Bytes.ToClient == 0 {
			t.Errorf("status says %+v and %+v bytes", r.Connections, r.Bytes)
		}
	})
}

// sctpSocket is a socket of the host that was bound or connected. The test is skipped where the kernel has none.
func sctpSocket(t *testing.T, h *lab.Host, addr string, begin func(fd int, addr unix.Sockaddr) error) *os.File {
	t.Helper()
	domain, sockaddr := sockaddrOf(netip.MustParseAddrPort(addr))
	var file *os.File
	err := h.Do(func() error {
		fd, err := unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_SCTP)
		if err != nil {
			return err
		}
		file = os.NewFile(uintptr(fd), "sctp")
		within := unix.NsecToTimeval(patience.Nanoseconds())
		return errors.Join(unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &within), begin(fd, sockaddr))
	})
	if errors.Is(err, unix.EPROTONOSUPPORT) {
		t.Skip("this kernel does not speak SCTP itself: see TestSCTP")
	}
	lab.Check(t, err)
	t.Cleanup(func() { _ = file.Close() })
	return file
}

// sockaddrOf is the address as system calls take it, and its family.
func sockaddrOf(a netip.AddrPort) (domain int, sockaddr unix.Sockaddr) {
	if a.Addr().Is4() {
		return unix.AF_INET, &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return unix.AF_INET6, &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}
