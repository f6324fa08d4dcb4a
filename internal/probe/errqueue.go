package probe

import (
	"encoding/binary"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"

	"natd/internal/icmp"
)

// trouble is an entry of a socket's error queue.
type trouble struct {
	errno syscall.Errno
	icmp  ICMP   // none when the kernel itself refused the packet
	sent  []byte // the beginning of what was sent, behind the IP header
}

// readTrouble takes the first ICMP error or refusal from the queue of a socket: struct sock_extended_err of linux/errqueue.h, and
// behind it the address of who sent it. It is false when there is none.
func readTrouble(fd int) (t trouble, ok bool) {
	const extended = 16 // the size of the structure
	sent, oob := make([]byte, 512), make([]byte, 512)
	n, oobn, _, _, err := unix.Recvmsg(fd, sent, oob, unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
	if err != nil {
		return t, false
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		return t, false
	}
	for _, m := range messages {
		isError := m.Header.Level == unix.SOL_IP && m.Header.Type == unix.IP_RECVERR ||
			m.Header.Level == unix.SOL_IPV6 && m.Header.Type == unix.IPV6_RECVERR
		if !isError || len(m.Data) < extended {
			continue
		}
		t = trouble{errno: syscall.Errno(binary.NativeEndian.Uint32(m.Data)), sent: sent[:n]}
		if origin := m.Data[4]; origin == unix.SO_EE_ORIGIN_ICMP || origin == unix.SO_EE_ORIGIN_ICMP6 {
			t.icmp = ICMP{
				Message: icmp.Message{V6: origin == unix.SO_EE_ORIGIN_ICMP6, Type: m.Data[5], Code: m.Data[6]},
				From:    offender(m.Data[extended:]),
			}
			if t.icmp.IsTooBig() {
				t.icmp.MTU = int(binary.NativeEndian.Uint32(m.Data[8:]))
			}
		}
		return t, true
	}
	return t, false
}

// offender reads a struct sockaddr_in or sockaddr_in6.
func offender(b []byte) netip.Addr {
	if len(b) >= unix.SizeofSockaddrInet4 && binary.NativeEndian.Uint16(b) == unix.AF_INET {
		return netip.AddrFrom4([4]byte(b[4:8]))
	}
	if len(b) >= 24 && binary.NativeEndian.Uint16(b) == unix.AF_INET6 {
		return netip.AddrFrom16([16]byte(b[8:24])).Unmap()
	}
	return netip.Addr{}
}
