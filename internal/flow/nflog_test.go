package flow

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"natd/internal/lab"
	"natd/nat"
)

// flood makes the calling thread's host track as many connections: a datagram each to its loopback interface.
func flood(count int) error {
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	for i := range count {
		if _, err := conn.WriteTo(nil, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 10000 + i}); err != nil {
			return errors.Join(err, conn.Close())
		}
	}
	return conn.Close()
}

// openLog opens the Log in the host.
func openLog(t *testing.T, h *lab.Host) (*Log, error) {
	t.Helper()
	var l *Log
	err := h.Do(func() (err error) {
		l, err = OpenLog()
		return err
	})
	if err == nil {
		t.Cleanup(func() {
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	return l, err
}

// hear runs the Log until the test ends.
func hear(t *testing.T, l *Log) <-chan Dialled {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	heard, done := make(chan Dialled, 100), make(chan error, 1)
	go func() {
		done <- l.Run(ctx, func(d Dialled) { heard <- d }, func() { t.Error("the kernel dropped reports") })
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return heard
}

// next is the next report.
func next(t *testing.T, heard <-chan Dialled) Dialled {
	t.Helper()
	select {
	case d := <-heard:
		return d
	case <-time.After(10 * time.Second):
		t.Fatal("nothing was reported")
		return Dialled{}
	}
}

// loggingRelay makes host B a relay of TCP and UDP port 80 to C, with log = true.
func loggingRelay(t *testing.T, p *lab.Peering) {
	t.Helper()
	apply(t, p, func(*nat.Relay) {}, false)
}

// apply makes host B such a relay, but for what edit changes, and brings it to the kernel.
func apply(t *testing.T, p *lab.Peering, edit func(*nat.Relay), reports bool) {
	t.Helper()
	lab.Check(t, p.B.SetSysctl("net.ipv4.ip_forward", "1"))
	r := nat.Relay{
		Name:      "web",
		Listen:    nat.Listen{Addr: p.B.Addr, Ports: nat.PortRange{First: 80, Last: 80}},
		Protocols: []nat.Protocol{nat.TCP, nat.UDP},
		Backends:  []nat.Backend{{Addr: p.C.Addr, Ports: nat.PortRange{First: 8080, Last: 8080}, Weight: 1}},
		Enabled:   true, Log: true,
	}
	edit(&r)
	own := []netip.Addr{p.B.Addr}
	target := nat.Target{Addr: p.C.Addr, Ports: r.Backends[0].Ports, Weight: 1, SNAT: own}
	places := &nat.Placements{Relays: []nat.Placement{{Addrs: own, Targets: []nat.Target{target}}}, Answered: time.Minute}
	want := nat.Build(&nat.Spec{Relays: []nat.Relay{r}, ReportRefused: reports, ReportRepeated: reports}, places)
	lab.Check(t, p.B.Do(func() error {
		k, err := nat.Open()
		if err != nil {
			return err
		}
		hold := nat.Hold{Protect: nat.ProtectOff}
		return errors.Join(k.Apply(nat.Diff(want, &nat.Table{}, hold), 0, hold), k.Close())
	}))
}

// From the client's first packet to the report, with the real kernel in between: once for a connection, as the client sent it.
func TestLog(t *testing.T) {
	t.Parallel()
	p := lab.New(t)
	loggingRelay(t, p)
	if _, err := p.C.EchoTCP(netip.AddrPortFrom(p.C.Addr, 8080).String()); err != nil {
		t.Fatal(err)
	}
	if _, err := p.C.EchoUDP(netip.AddrPortFrom(p.C.Addr, 8080).String()); err != nil {
		t.Fatal(err)
	}
	l, err := openLog(t, p.B)
	lab.Check(t, err)
	heard := hear(t, l)
	listen := netip.AddrPortFrom(p.B.Addr, 80)
	for network, proto := range map[string]nat.Protocol{"tcp": nat.TCP, "udp": nat.UDP} {
		conn, err := p.A.Dial(t.Context(), network, listen.String())
		lab.Check(t, err)
		for range 3 {
			lab.Check(t, echo(conn))
		}
		want := Dialled{
			Client: netip.MustParseAddrPort(conn.LocalAddr().String()),
			Listen: nat.Endpoint{Addr: p.B.Addr, Proto: proto, Port: 80},
		}
		if got := next(t, heard); got != want {
			t.Errorf("reported is %v, want %v", got, want)
		}
		lab.Check(t, conn.Close())
	}
	if len(heard) > 0 {
		t.Errorf("a connection was reported twice: %v", <-heard)
	}
}

// What an IPv6 client sends first is reported as it was, extension headers or none.
func TestLog6(t *testing.T) {
	t.Parallel()
	p := lab.New(t)
	lab.Check(t, p.B.Nft(t.Context(), fmt.Sprintf(`table inet t { chain c {
		type filter hook prerouting priority 0
		ct state new udp dport 80 log group %d
	}; }`, nat.LogGroup)))
	l, err := openLog(t, p.B)
	lab.Check(t, err)
	heard := hear(t, l)
	for _, options := range [][]byte{nil, {0, 0, 1, 4, 0, 0, 0, 0}} { // RFC 8200, section 4.6: eight bytes of padding
		conn, err := p.A.Dial(t.Context(), "udp", netip.AddrPortFrom(p.B.Addr6, 80).String())
		lab.Check(t, err)
		defer conn.Close()
		raw, err := conn.(*net.UDPConn).SyscallConn()
		lab.Check(t, err)
		if options != nil {
			lab.Check(t, raw.Control(func(fd uintptr) {
				lab.Check(t, unix.SetsockoptString(int(fd), unix.IPPROTO_IPV6, unix.IPV6_DSTOPTS, string(options)))
			}))
		}
		_, err = conn.Write([]byte("hello"))
		lab.Check(t, err)
		want := Dialled{
			Client: netip.MustParseAddrPort(conn.LocalAddr().String()),
			Listen: nat.Endpoint{Addr: p.B.Addr6, Proto: nat.UDP, Port: 80},
		}
		if got := next(t, heard); got != want {
			t.Errorf("with options %v reported is %v, want %v", options, got, want)
		}
	}
}

// echo sends something and waits for it to come back.
func echo(conn net.Conn) error {
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	if _, err := conn.Write([]byte("hello")); err != nil {
		return err
	}
	buf := make([]byte, 5)
	n, err := conn.Read(buf)
	if err == nil && string(buf[:n]) != "hello" {
		err = fmt.Errorf("the answer is %q", buf[:n])
	}
	return err
}

// The group is for one program: a second one hears why it gets nothing.
func TestLogIsForOne(t *testing.T) {
	t.Parallel()
	h := lab.NewHost(t)
	_, err := openLog(t, h)
	lab.Check(t, err)
	if _, err := openLog(t, h); err == nil || !strings.Contains(err.Error(), "only one program") {
		t.Errorf("a second OpenLog: %v, want to be told that there is another", err)
	}
}

func TestWithoutPrivilege(t *testing.T) {
	t.Parallel()
	h := lab.NewHost(t)
	lab.Check(t, h.Do(func() error {
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		if err := unix.Capset(&header, &none[0]); err != nil {
			return err
		}
		if _, err := OpenLog(); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("OpenLog: %v, want %v", err, fs.ErrPermission)
		}
		c, err := Open()
		if err != nil {
			return err
		}
		if _, err := c.Delete([]Entry{*example()}); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("Delete: %v, want %v", err, fs.ErrPermission)
		}
		return c.Close()
	}))
}
