package load

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"golang.org/x/net/bpf"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// backlog is how many connections may wait: the load of a second.
const backlog = 65535

// serve answers at a port, on all addresses: connections by epoll on this thread, packets beside it. It does not return but with
// an error. The interface is the one whose packets count.
func serve(port uint16, device string, ready func()) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("opening a socket: %w", err)
	}
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
		unix.Bind(fd, &unix.SockaddrInet4{Port: int(port)}),
		unix.Listen(fd, backlog),
	)
	if err != nil {
		return fmt.Errorf("listening at port %d: %w", port, err)
	}
	udp, err := listenUDP(port)
	if err != nil {
		return err
	}
	go answerPackets(udp, device)
	poll, err := newPoller()
	if err == nil {
		err = poll.add(fd, unix.EPOLLIN)
	}
	if err != nil {
		return err
	}
	ready()
	return answerConnections(poll, fd)
}

func answerConnections(poll *poller, listener int) error {
	sinks := make(map[int]bool)
	buf := make([]byte, chunk)
	for {
		events, err := poll.wait(-1)
		if err != nil {
			return err
		}
		for _, e := range events {
			if int(e.Fd) == listener {
				accept(poll, listener)
			} else if !answer(int(e.Fd), sinks, buf) {
				delete(sinks, int(e.Fd))
				_ = unix.Close(int(e.Fd))
			}
		}
	}
}

// accept takes all connections that wait.
func accept(poll *poller, listener int) {
	for {
		fd, _, err := unix.Accept4(listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err != nil {
			return // none is left, or one has been reset in the meantime: epoll tells when there are more
		}
		if err := poll.add(fd, unix.EPOLLIN); err != nil {
			_ = unix.Close(fd)
		}
	}
}

// answer reads what a connection says and answers it, and tells whether it goes on.
func answer(fd int, sinks map[int]bool, buf []byte) bool {
	n, err := unix.Read(fd, buf)
	if errors.Is(err, unix.EAGAIN) {
		return true
	}
	if err != nil || n == 0 {
		return false
	}
	if buf[0] == askSink {
		sinks[fd] = true
	}
	if sinks[fd] {
		return true
	}
	reply := buf[:n]
	if buf[0] == askWho {
		reply = reached(fd)
	}
	_, err = unix.Write(fd, reply)
	return err == nil
}

// reached is the address of this host that a connection came to; 0.0.0.0 of one that is gone.
func reached(fd int) []byte {
	var addr [4]byte
	if local, err := unix.Getsockname(fd); err == nil {
		if v4, ok := local.(*unix.SockaddrInet4); ok {
			addr = v4.Addr
		}
	}
	return addr[:]
}

// listenUDP opens the socket for packets. Those to be forgotten are dropped by a filter: nobody has to be woken for them.
func listenUDP(port uint16) (*ipv4.PacketConn, error) {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{Port: int(port)})
	if err != nil {
		return nil, fmt.Errorf("listening for packets: %w", err)
	}
	const header = 8 // of UDP: the filter sees the packet from there
	filter, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: header, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: askDrop, SkipFalse: 1},
		bpf.RetConstant{Val: 0},
		bpf.RetConstant{Val: 1 << 16},
	})
	p := ipv4.NewPacketConn(c)
	if err == nil {
		err = p.SetBPF(filter)
	}
	if err == nil {
		// An answer has to come from the address that was asked, which is any of a network.
		err = p.SetControlMessage(ipv4.FlagDst, true)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("preparing the socket for packets: %w", err), c.Close())
	}
	return p, nil
}

// answerPackets echoes packets, and answers those that ask for the count, until the socket is closed.
func answerPackets(p *ipv4.PacketConn, device string) {
	buf := make([]byte, 1<<16)
	for {
		n, control, from, err := p.ReadFrom(buf)
		if err != nil {
			return
		}
		reply := buf[:n]
		if n > 0 && buf[0] == askCount {
			reply = binary.BigEndian.AppendUint64(nil, arrived(device))
		}
		_, _ = p.WriteTo(reply, &ipv4.ControlMessage{Src: control.Dst}, from) // who asks hears it, or asks again
	}
}

// arrived is how many packets an interface has received.
func arrived(device string) uint64 {
	text, err := os.ReadFile("/sys/class/net/" + device + "/statistics/rx_packets")
	if err != nil {
		return 0
	}
	n, _ := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64) // the kernel writes numbers
	return n
}
