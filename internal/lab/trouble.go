package lab

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Trouble is an ICMP error, as the socket got it that sent the packet. The kernel finds the socket by the packet that the
// error quotes: one that quotes other addresses or ports than the socket used finds none.
type Trouble struct {
	Errno syscall.Errno // ECONNREFUSED, EHOSTUNREACH, EMSGSIZE and so on
	By    netip.Addr    // who sent the error
	MTU   int           // of EMSGSIZE
}

// String is "connection refused by 10.2.0.1".
func (t Trouble) String() string { return fmt.Sprintf("%v by %v (%d)", t.Errno, t.By, t.MTU) }

// Provoke sends a datagram of so many bytes that may pass so many routers and must not be fragmented, and waits for the ICMP
// error that it meets with.
func (h *Host) Provoke(to netip.AddrPort, hops, size int, within time.Duration) (Trouble, error) {
	c, err := h.Dial(context.Background(), "udp", to.String())
	if err != nil {
		return Trouble{}, err
	}
	defer c.Close()
	t, err := provoke(c, to.Addr().Is4(), hops, size, within)
	if err != nil {
		return t, fmt.Errorf("host %s: provoking an ICMP error from %v: %w", h.Name, to, err)
	}
	return t, nil
}

func provoke(c net.Conn, is4 bool, hops, size int, within time.Duration) (Trouble, error) {
	udp, ok := c.(*net.UDPConn)
	if !ok {
		return Trouble{}, errors.New("the socket is not UDP")
	}
	raw, err := udp.SyscallConn()
	if err != nil {
		return Trouble{}, err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = wantErrors(int(fd), is4, hops) }); err != nil || failed != nil {
		return Trouble{}, errors.Join(err, failed)
	}
	deadline := time.Now().Add(within)
	for {
		// The first datagram for an address may be lost while it is resolved, and an error from before makes Write fail.
		_, _ = c.Write(make([]byte, size))
		var t Trouble
		if err := raw.Control(func(fd uintptr) { t, failed = readTrouble(int(fd)) }); err != nil {
			return t, err
		}
		if failed == nil && t.By.IsValid() {
			return t, nil
		}
		if time.Now().After(deadline) {
			return Trouble{}, errors.Join(errors.New("no ICMP error came"), failed)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// wantErrors makes the kernel keep ICMP errors for the socket, as in ip(7) and ipv6(7).
func wantErrors(fd int, is4 bool, hops int) error {
	if is4 {
		return errors.Join(unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_RECVERR, 1),
			unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TTL, hops),
			unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE))
	}
	return errors.Join(unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVERR, 1),
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, hops),
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_PROBE))
}

// readTrouble reads struct sock_extended_err of linux/errqueue.h, and the address of who sent it behind that.
func readTrouble(fd int) (t Trouble, err error) {
	oob := make([]byte, 512)
	_, n, _, _, err := unix.Recvmsg(fd, make([]byte, 1<<16), oob, unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
	if err != nil {
		return t, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil {
		return t, err
	}
	const extended = 16 // its size
	for _, m := range messages {
		isError := m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_RECVERR ||
			m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_RECVERR
		if !isError || len(m.Data) < extended+unix.SizeofSockaddrInet4 {
			continue
		}
		t.Errno = syscall.Errno(binary.NativeEndian.Uint32(m.Data))
		t.MTU = int(binary.NativeEndian.Uint32(m.Data[8:]))
		switch by := m.Data[extended:]; binary.NativeEndian.Uint16(by) {
		case unix.AF_INET:
			t.By = netip.AddrFrom4([4]byte(by[4:8]))
		case unix.AF_INET6:
			t.By = netip.AddrFrom16([16]byte(by[8:24]))
		}
	}
	return t, nil
}
