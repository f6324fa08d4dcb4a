package main

import (
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"natd/internal/control"
	"natd/internal/lab"
)

// sprinkle sends a datagram from each of n ports of the host.
func sprinkle(h *lab.Host, first, n int, to *unix.SockaddrInet4) error {
	return h.Do(func() error {
		for port := first; port < first+n; port++ {
			s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return err
			}
			err = errors.Join(unix.Bind(s, &unix.SockaddrInet4{Port: port}), unix.Sendto(s, []byte("?"), 0, to), unix.Close(s))
			if err != nil {
				return fmt.Errorf("port %d: %w", port, err)
			}
		}
		return nil
	})
}

// TestPortCapacity uses up three quarters of the source ports that one address has towards one backend.
func TestPortCapacity(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	_, err := b.C.ListenPacket("udp", "10.3.0.100:514")
	lab.Check(t, err)
	b.start("[[relay]]\nname = \"syslog\"\nlisten = \"10.2.0.100:514\"\nprotocol = \"udp\"\nto = [\"10.3.0.100:514\"]\n")
	lab.Check(t, b.B.SetSysctl("net.netfilter.nf_conntrack_udp_timeout", "300")) // a slow machine shall not see the first ones go
	relay := &unix.SockaddrInet4{Port: 514, Addr: b.B.Addr.As4()}
	const ports, warned = 64512, 64512 * 3 / 4

	lab.Check(t, sprinkle(b.A, 1024, warned-1, relay))
	r, err := relayOf(b.status(), "syslog")
	lab.Check(t, err)
	want := control.PortUse{Source: "10.2.0.100", Target: "10.3.0.100:514", Used: warned - 1, Max: ports}
	if r.State != control.RelayReady || r.Ports == nil || *r.Ports != want {
		t.Errorf("below three quarters the relay is %s: %s, with %+v, want %+v", r.State, r.Reason, r.Ports, want)
	}
	lab.Check(t, sprinkle(b.A, 1024+warned-1, 1, relay))
	b.step([]string{"status"}, control.CodeDegraded,
		"48384 of 64512 source ports of 10.2.0.100 towards 10.3.0.100:514 are in use: add addresses to snat, or backends")
	b.B.Output(t, "conntrack", "-F")
	b.step([]string{"status"}, control.CodeOK, "ready")
}
