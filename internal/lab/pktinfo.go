package lab

import (
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// tellDestinations makes the kernel tell for every datagram to which of the host's addresses it came (ip(7), IP_PKTINFO;
// ipv6(7), IPV6_RECVPKTINFO). A socket of IPv6 that serves IPv4 too gets those addresses in their mapped form.
func tellDestinations(c *net.UDPConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var errSet error
	err = raw.Control(func(fd uintptr) {
		errSet = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
		if errSet != nil { // a socket of IPv4 only
			errSet = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
		}
	})
	return errors.Join(err, errSet)
}

// asSource turns what the kernel told with a datagram into what it takes with the answer: the same address, as the source,
// by whatever way the routes say and not the one that the datagram came.
func asSource(told []byte) error {
	messages, err := unix.ParseSocketControlMessage(told)
	if err != nil {
		return fmt.Errorf("reading to which address a datagram came: %w", err)
	}
	for _, m := range messages {
		switch {
		case m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_PKTINFO:
			clear(m.Data[:4]) // ipi_ifindex comes first
		case m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_PKTINFO:
			clear(m.Data[16:]) // ipi6_ifindex comes last
		}
	}
	return nil
}
