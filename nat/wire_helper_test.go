package nat

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"natd/internal/lab"
)

// wire is a client and a server with natd's machine between them, in both families. The server's answers to a client that
// it sees find their way: that translation took place is to be seen from whom it met.
//
//	client 10.1.0.100 --- 10.1.0.1 machine 10.3.0.1 --- 10.3.0.100 server
type wire struct {
	*machine
	client, server *lab.Host
}

// sides are the addresses on the wire, of IPv4 and IPv6.
type sides struct {
	client, in, out, server string
	clients, servers        string // the prefixes of the networks
}

func sides4() sides {
	return sides{"10.1.0.100", "10.1.0.1", "10.3.0.1", "10.3.0.100", "10.1.0.0/24", "10.3.0.0/24"}
}

func sides6() sides {
	return sides{"fd00:1::100", "fd00:1::1", "fd00:3::1", "fd00:3::100", "fd00:1::/64", "fd00:3::/64"}
}

// newWire connects the three with these MTUs on the client's and the server's side.
func newWire(t *testing.T, clientMTU, serverMTU int) *wire {
	t.Helper()
	m := newMachine(t, ProtectOff)
	w := &wire{machine: m}
	l := m.host.Lab()
	for _, h := range []struct {
		host **lab.Host
		name string
		mtu  int
		own  func(sides) string
		box  func(sides) string
	}{
		{&w.client, "client", clientMTU, func(s sides) string { return s.client }, func(s sides) string { return s.in }},
		{&w.server, "server", serverMTU, func(s sides) string { return s.server }, func(s sides) string { return s.out }},
	} {
		host, err := l.Host(h.name)
		lab.Check(t, err)
		*h.host = host
		near, far := lab.End{Host: m.host, Name: h.name, MTU: h.mtu}, lab.End{Host: host, Name: lab.Device, MTU: h.mtu}
		for _, s := range []sides{sides4(), sides6()} {
			bits := netip.MustParsePrefix(s.clients).Bits()
			near.Addrs = append(near.Addrs, netip.PrefixFrom(addr(h.box(s)), bits))
			far.Addrs = append(far.Addrs, netip.PrefixFrom(addr(h.own(s)), bits))
		}
		lab.Check(t, lab.Connect(near, far))
		lab.Check(t, host.AddRoute(netip.MustParsePrefix("0.0.0.0/0"), addr(h.box(sides4()))))
		lab.Check(t, host.AddRoute(netip.MustParsePrefix("::/0"), addr(h.box(sides6()))))
	}
	for _, key := range []string{"net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"} {
		lab.Check(t, m.host.SetSysctl(key, "1"))
	}
	return w
}

// eachFamily runs the test over IPv4 and over IPv6, on a wire each.
func eachFamily(t *testing.T, test func(*testing.T, *wire, sides)) {
	t.Helper()
	for name, s := range map[string]sides{"IPv4": sides4(), "IPv6": sides6()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, newWire(t, 1500, 1500), s)
		})
	}
}

// more gives the host of that side more addresses, behind its own, and returns all of them.
func more(t *testing.T, h *lab.Host, own string, n int) []string {
	t.Helper()
	addrs, next := []string{own}, addr(own)
	bits := 24
	if next.Is6() {
		bits = 64
	}
	for range n {
		next = next.Next()
		lab.Check(t, h.AddAddr(lab.Device, netip.PrefixFrom(next, bits)))
		addrs = append(addrs, next.String())
		lab.Eventually(t, patience, func() error { // IPv6 asks around first
			l, err := h.Listen("tcp", net.JoinHostPort(next.String(), "0"))
			if err != nil {
				return err
			}
			return l.Close()
		})
	}
	return addrs
}

// relayed is the scenario of one relay of the machine's port 80 on the client's side to the servers.
func relayed(s sides, servers []string, edits ...func(*Relay)) scenario {
	edits = append([]func(*Relay){listen(s.in), also(1, servers[1:]...)}, edits...)
	return scenario{
		relays: []Relay{relayOf("web", 80, servers[0], edits...)},
		places: map[string]func(*Placement){"web": sources(s.out)},
	}
}

// echoes starts an echo server on port 80 of each address.
func (w *wire) echoes(addrs []string) map[string]*lab.Echo {
	w.t.Helper()
	all := make(map[string]*lab.Echo)
	for _, a := range addrs {
		e, err := w.server.EchoTCP(net.JoinHostPort(a, "80"))
		lab.Check(w.t, err)
		all[a] = e
	}
	return all
}

// say makes a connection, from an address unless that is "", and hears what it said. The connection stays open.
func (w *wire) say(from *lab.Host, source, network, to string) (net.Conn, error) {
	var src netip.Addr
	if source != "" {
		src = addr(source)
	}
	conn, err := from.DialFrom(w.t.Context(), network, src, to)
	if err != nil {
		return nil, err
	}
	w.t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err = io.WriteString(conn, "natd"); err == nil {
		_, err = io.ReadFull(conn, make([]byte, 4))
	}
	return conn, err
}

// said is say that must succeed, and ends the connection.
func (w *wire) said(source, to string) {
	w.t.Helper()
	conn, err := w.say(w.client, source, "tcp", to)
	if err != nil {
		w.t.Fatal(err)
	}
	lab.Check(w.t, conn.Close())
}

// refused asserts that the attempt was answered, and not met with silence.
func refused(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("%s: %v, want %v", what, err, syscall.ECONNREFUSED)
	}
}

// silent asserts that nobody answers the connection.
func (w *wire) silent(from *lab.Host, to string) {
	w.t.Helper()
	conn, err := from.Dial(w.t.Context(), "udp", to)
	lab.Check(w.t, err)
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(300 * time.Millisecond))
	_, err = io.WriteString(conn, "natd")
	if err == nil {
		_, err = conn.Read(make([]byte, 4))
	}
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		w.t.Errorf("%s from %s: %v, want silence", to, from.Name, err)
	}
}

func port80(a string) string { return net.JoinHostPort(a, "80") }

// metBy is how often the server met each client's address.
func metBy(e *lab.Echo) map[string]int {
	met := make(map[string]int)
	for _, p := range e.Peers() {
		met[fmt.Sprint(p.Addr())]++
	}
	return met
}
