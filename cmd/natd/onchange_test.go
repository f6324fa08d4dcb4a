package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"natd/internal/control"
	"natd/internal/lab"
)

// echoes starts echo servers on the first n extra addresses of host C, of IPv4 (0) or IPv6 (1), and returns the addresses.
func (b *box) echoes(n int, port uint16, version int) (to []string) {
	b.t.Helper()
	lab.Check(b.t, b.C.AddExtra(n))
	for i := range n {
		at := netip.AddrPortFrom(b.C.Extra(i + 1)[version], port).String()
		echo(b.t, b.C, "tcp", at)
		to = append(to, at)
	}
	return to
}

// silence makes the backend with that address as mute as a host that lost its power, until speak is called.
func (b *box) silence(addr netip.Addr) (speak func()) {
	b.t.Helper()
	family := "ip"
	if addr.Is6() {
		family = "ip6"
	}
	lab.Check(b.t, b.C.Nft(b.t.Context(), fmt.Sprintf(`table inet silence {
	chain input { type filter hook input priority -300; %[1]s daddr %[2]s drop; }
	chain output { type filter hook output priority -300; %[1]s saddr %[2]s drop; }
}`, family, addr)))
	return func() { b.t.Helper(); lab.Check(b.t, b.C.Nft(b.t.Context(), "delete table inet silence")) }
}

// established opens connections to the relay until one is with the backend, and returns that one, used once.
func (b *box) established(listen, backend string) net.Conn {
	b.t.Helper()
	for range 10 {
		c, err := b.A.Dial(b.t.Context(), "tcp", listen)
		lab.Check(b.t, err)
		b.t.Cleanup(func() { _ = c.Close() })
		lab.Check(b.t, exchange(c, patience))
		for _, known := range b.connections("--relay", "web") {
			if known.Client == c.LocalAddr().String() && known.Target == backend {
				return c
			}
		}
	}
	b.t.Fatalf("no connection was sent to %s", backend)
	return nil
}

// connections is what natctl connections lists.
func (b *box) connections(args ...string) []control.Connection {
	b.t.Helper()
	return b.list(args...).Connections
}

// hears waits for what comes on a connection on which nothing is said, or for its end.
func hears(c net.Conn, within time.Duration) error {
	_ = c.SetReadDeadline(time.Now().Add(within))
	_, err := io.ReadFull(c, make([]byte, 1))
	return err
}

// chatter exchanges lines until that fails, and tells why.
func chatter(c net.Conn) <-chan error {
	done := make(chan error, 1)
	go func() {
		for {
			if err := exchange(c, patience); err != nil {
				done <- err
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	return done
}

// soon is what a client that learns of the end at once may take for it. Left to TCP, one that sends gives up after minutes
// (tcp_retries2 of linux/Documentation/networking/ip-sysctl.rst), and one that waits never.
const soon = 3 * time.Second

// TestCloseOnChange wants the clients of a backend that fell silent, or that a reload took away, to learn of it at once, whether they
// send or wait.
func TestCloseOnChange(t *testing.T) {
	t.Parallel()
	for name, version := range map[string]int{"IPv4": 0, "IPv6": 1} {
		for _, leaves := range []string{"silent", "removed"} {
			t.Run(name+"/"+leaves, func(t *testing.T) {
				t.Parallel()
				b := newBox(t)
				b.closesOnChange(version, leaves)
			})
		}
	}
}

func (b *box) closesOnChange(version int, leaves string) {
	t := b.t
	t.Helper()
	to := b.echoes(2, 7, version)
	listen := []string{"10.2.0.100:7", "[fd00:10:2::100]:7"}[version]
	config := func(to ...string) string {
		return fmt.Sprintf("[[relay]]\nname = \"web\"\nlisten = %q\nto = [%s]\non_change = \"close\"\n%s\n",
			listen, strings.Join(quoted(to), ", "), quickHealth)
	}
	b.start(config(to...))
	b.awaitBackends("up", "up")
	idle, other, sends := b.established(listen, to[1]), b.established(listen, to[0]), chatter(b.established(listen, to[1]))
	if leaves == "silent" {
		b.silence(b.C.Extra(2)[version])
		b.awaitBackends("up", "down")
	} else {
		b.reload(config(to[0]))
	}
	left := time.Now()
	if err := hears(idle, soon); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client that waits got %v after %v, want a reset", err, time.Since(left))
	}
	select {
	case err := <-sends:
		if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
			t.Errorf("the client that sends got %v, want a reset", err)
		}
	case <-time.After(soon):
		t.Error("the client that sends goes on to wait for an answer")
	}
	if err := hears(other, 200*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the client of the other backend got %v", err)
	}
	lab.Check(t, exchange(other, patience))
	for _, c := range b.connections() {
		if c.Target == to[1] {
			t.Errorf("a connection to the backend that left is still tracked: %+v", c)
		}
	}
	if log := b.natd.Log(); strings.Contains(log, "are not told") || !strings.Contains(log, "ended connections") {
		t.Errorf("natd wrote:\n%s", log)
	}
}

// TestDrainOnChange wants connections to outlive a backend that was only out of reach, or that a reload took away.
func TestDrainOnChange(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	to := b.echoes(2, 80, 0)
	config := pool(quoted(to), quickHealth)
	b.start(config)
	b.awaitBackends("up", "up")
	c := b.established(webListen, to[1])
	speak := b.silence(b.C.Extra(2)[0])
	b.awaitBackends("up", "down")
	speak()
	b.awaitBackends("up", "up")
	lab.Check(t, exchange(c, patience))
	b.reload(pool(quoted(to[:1]), quickHealth))
	lab.Check(t, exchange(c, patience))
	r, err := relayOf(b.status(), "web")
	lab.Check(t, err)
	if len(r.Backends) != 2 || r.Backends[1].State != control.BackendDraining || r.Backends[1].Active != 1 {
		t.Errorf("the status of the backends is %+v, want one that left and has a connection", r.Backends)
	}
}

func quoted(texts []string) (all []string) {
	for _, text := range texts {
		all = append(all, fmt.Sprintf("%q", text))
	}
	return all
}
