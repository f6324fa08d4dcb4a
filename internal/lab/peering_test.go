package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"
)

// blocked is the time after which an answer is not expected any more. The lab has no latency.
const blocked = 300 * time.Millisecond

// reaches tells whether the host gets an answer from the echo server, when want says that it should. The answer no
// comes sooner when it is the one wanted.
func reaches(t testing.TB, from *Host, network string, to netip.AddrPort, want bool) {
	t.Helper()
	limit := patience
	if !want {
		limit = blocked
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	c, err := from.Dial(ctx, network, to.String())
	if err == nil {
		defer c.Close()
		err = exchange(c, limit)
	}
	if got := err == nil; got != want {
		t.Errorf("%s to %v (%s): reached = %v (%v), want %v", from.Name, to, network, got, err, want)
	}
}

// exchange sends a word over the connection and expects it back.
func exchange(c net.Conn, limit time.Duration) error {
	const text = "hello"
	if err := c.SetDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	if _, err := io.WriteString(c, text); err != nil {
		return err
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(c, got); err != nil {
		return err
	}
	if string(got) != text {
		return fmt.Errorf("sent %q, got back %q", text, got)
	}
	return nil
}

func TestPeeringIsNotTransitive(t *testing.T) {
	t.Parallel()
	p := New(t)
	tests := []struct {
		from, to *Host
		want     bool
	}{
		{p.A, p.B, true},
		{p.B, p.A, true},
		{p.B, p.C, true},
		{p.C, p.B, true},
		{p.A, p.C, false},
		{p.C, p.A, false},
	}
	for _, server := range []*Host{p.A, p.B, p.C} {
		for _, addr := range server.addrs() {
			tcp, err := server.EchoTCP(netip.AddrPortFrom(addr, 0).String())
			Check(t, err)
			udp, err := server.EchoUDP(netip.AddrPortFrom(addr, 0).String())
			Check(t, err)
			for _, tt := range tests {
				if tt.to == server {
					reaches(t, tt.from, "tcp", tcp.Addr, tt.want)
					reaches(t, tt.from, "udp", udp.Addr, tt.want)
				}
			}
		}
	}
}

func (h *Host) addrs() []netip.Addr {
	if h.Addr6.IsValid() {
		return []netip.Addr{h.Addr, h.Addr6}
	}
	return []netip.Addr{h.Addr}
}

// TestPeeringNeedsSNAT relays with hand-written rules. Without SNAT the packet keeps an address of A, and a peering
// connection carries none that is not of its VPCs.
func TestPeeringNeedsSNAT(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, script string
		want         bool
	}{
		{"DNAT only", `table ip relay {
			chain pre { type nat hook prerouting priority dstnat; tcp dport 7 dnat to 10.3.0.100; }
		}`, false},
		{"DNAT and SNAT", `table ip relay {
			chain pre { type nat hook prerouting priority dstnat; tcp dport 7 dnat to 10.3.0.100; }
			chain post { type nat hook postrouting priority srcnat; ct status dnat snat to 10.2.0.100; }
		}`, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := New(t)
			server, err := p.C.EchoTCP("10.3.0.100:7")
			Check(t, err)
			Check(t, p.B.Nft(t.Context(), tt.script))
			Check(t, p.B.SetSysctl("net.ipv4.ip_forward", "1"))
			reaches(t, p.A, "tcp", netip.MustParseAddrPort("10.2.0.100:7"), tt.want)
			for _, peer := range server.Peers() {
				if peer.Addr() != p.B.Addr {
					t.Errorf("C saw a connection from %v, want one from %v", peer, p.B.Addr)
				}
			}
		})
	}
}

func TestPeeringLooksLikeEC2(t *testing.T) {
	t.Parallel()
	p := New(t)
	for _, h := range []*Host{p.A, p.B, p.C} {
		Check(t, h.Do(func() error {
			ifaces, err := net.Interfaces()
			if err != nil {
				return err
			}
			if len(ifaces) != 2 || ifaces[1].Name != Device || ifaces[1].MTU != vpcMTU {
				t.Errorf("%s has the interfaces %v, want lo and %s with MTU %d", h.Name, ifaces, Device, vpcMTU)
			}
			return nil
		}))
		forward, err := h.Sysctl("net.ipv4.ip_forward")
		Check(t, err)
		if forward != "0" {
			t.Errorf("%s: ip_forward = %s, want 0", h.Name, forward)
		}
	}
}

func TestTwoLabsAtOnce(t *testing.T) {
	t.Parallel()
	first, second := New(t), New(t)
	for _, p := range []*Peering{first, second} {
		server, err := p.B.EchoTCP("10.2.0.100:7")
		Check(t, err)
		reaches(t, p.A, "tcp", server.Addr, true)
		if n := len(server.Peers()); n != 1 {
			t.Errorf("lab %s: B met %d clients, want the one of its own lab", p.Dir(), n)
		}
	}
	Check(t, first.Close())
	reaches(t, second.A, "tcp", netip.MustParseAddrPort("10.2.0.100:7"), true)
}

func TestAwaitReportsTheLastError(t *testing.T) {
	t.Parallel()
	sentinel := errors.New("not there")
	err := Await(t.Context(), 20*time.Millisecond, func() error { return sentinel })
	if !errors.Is(err, sentinel) {
		t.Errorf("got %v, want an error that wraps the last one", err)
	}
	calls := 0
	err = Await(t.Context(), patience, func() error {
		if calls++; calls < 3 {
			return sentinel
		}
		return nil
	})
	if err != nil || calls != 3 {
		t.Errorf("got %v after %d calls, want success at the third", err, calls)
	}
}
