package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Host is one machine of a lab.
type Host struct {
	Name  string
	Addr  netip.Addr // the first IPv4 address, in the usual topology
	Addr6 netip.Addr // likewise IPv6; the zero Addr where the kernel has none

	lab *Lab
	ns  *namespace
}

// prepare brings the loopback interface up and sets what a new namespace would otherwise copy from the machine that
// the lab runs on, or what would make tests wait.
func (h *Host) prepare() error {
	settings := [][2]string{
		{"net.ipv4.ip_forward", "0"},
		{"net.ipv4.conf.all.rp_filter", "0"},
		{"net.ipv4.conf.default.rp_filter", "0"},
	}
	if hasIPv6() {
		settings = append(settings, [2]string{"net.ipv6.conf.default.accept_dad", "0"}) // addresses work at once
	}
	for _, s := range settings {
		if err := h.SetSysctl(s[0], s[1]); err != nil {
			return err
		}
	}
	return h.SetUp("lo", true)
}

// hasIPv6 tells whether the kernel has IPv6.
func hasIPv6() bool {
	_, err := os.Stat("/proc/sys/net/ipv6")
	return err == nil
}

// Lab is the lab that the host belongs to.
func (h *Host) Lab() *Lab { return h.lab }

// Do runs Go code in the host, on a thread of its own. Sockets opened there stay in the host, and files of /proc/sys
// and /sys are the host's; for /proc/net use /proc/thread-self/net. Goroutines that f starts are not in the host.
func (h *Host) Do(f func() error) error {
	if err := h.ns.do(f); err != nil {
		return fmt.Errorf("host %s: %w", h.Name, err)
	}
	return nil
}

// Dial connects from the host. The address must be numeric: names would be looked up on other threads.
func (h *Host) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	return h.DialFrom(ctx, network, netip.Addr{}, addr)
}

// DialFrom is Dial with the source address given.
func (h *Host) DialFrom(ctx context.Context, network string, from netip.Addr, addr string) (net.Conn, error) {
	var c net.Conn
	err := h.Do(func() (err error) {
		c, err = dialer(network, from).DialContext(ctx, network, addr)
		return err
	})
	return c, err
}

// dialer dials from an address, or any when it is the zero Addr.
func dialer(network string, from netip.Addr) *net.Dialer {
	switch {
	case !from.IsValid():
		return &net.Dialer{}
	case strings.HasPrefix(network, "udp"):
		return &net.Dialer{LocalAddr: net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}
	}
	return &net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}
}

// Listen opens a listening socket in the host. It is closed with the lab, if not before.
func (h *Host) Listen(network, addr string) (net.Listener, error) {
	var l net.Listener
	err := h.Do(func() (err error) {
		l, err = net.Listen(network, addr)
		return err
	})
	if err == nil {
		h.lab.own(func() error { return ignoreClosed(l.Close()) })
	}
	return l, err
}

// ListenPacket opens a datagram socket in the host. It is closed with the lab, if not before.
func (h *Host) ListenPacket(network, addr string) (net.PacketConn, error) {
	var c net.PacketConn
	err := h.Do(func() (err error) {
		c, err = net.ListenPacket(network, addr)
		return err
	})
	if err == nil {
		h.lab.own(func() error { return ignoreClosed(c.Close()) })
	}
	return c, err
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Sysctl reads a kernel setting of the host, such as net.ipv4.ip_forward.
func (h *Host) Sysctl(key string) (string, error) {
	var value []byte
	err := h.Do(func() (err error) {
		value, err = os.ReadFile(sysctlPath(key))
		return err
	})
	return strings.TrimSpace(string(value)), err
}

// SetSysctl changes a kernel setting of the host.
func (h *Host) SetSysctl(key, value string) error {
	return h.Do(func() error { return os.WriteFile(sysctlPath(key), []byte(value), 0) })
}

func sysctlPath(key string) string {
	return filepath.Join("/proc/sys", strings.ReplaceAll(key, ".", "/"))
}

// OverlayFile gives the host its own content of a file that exists, such as /etc/resolv.conf. Writing to the path again,
// in the host, changes what only the host sees.
func (h *Host) OverlayFile(path, content string) error {
	dir, err := h.lab.TempDir(h.Name + "-overlay")
	if err != nil {
		return err
	}
	own := filepath.Join(dir, filepath.Base(path))
	if err := os.WriteFile(own, []byte(content), 0o644); err != nil {
		return fmt.Errorf("host %s: writing its own %s: %w", h.Name, path, err)
	}
	return h.Do(func() error {
		if err := unix.Mount(own, path, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("putting its own %s in place: %w", path, err)
		}
		return nil
	})
}
