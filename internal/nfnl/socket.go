package nfnl

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// patience is how long an answer may take before the outcome of a request counts as unknown. A commit of
	// a hundred thousand elements takes a fraction of a second; a machine that swaps may take many of them.
	patience = 30 * time.Second

	// receiveSize is what a receive shows to the kernel. Dump messages grow to at most 32 KiB
	// (netlink_recvmsg in net/netlink/af_netlink.c); one notification may hold more.
	receiveSize = 64 << 10
)

// Message is one message received: its type and flags, and what follows the netlink header. The payload
// is valid only until the next receive.
type Message struct {
	Type, Flags uint16
	Seq, Port   uint32
	Payload     []byte // begins with struct nfgenmsg
}

// Attrs is the part of the payload behind struct nfgenmsg.
func (m Message) Attrs() []byte {
	if len(m.Payload) < 4 {
		return nil
	}
	return m.Payload[4:]
}

// Socket is one NETLINK_NETFILTER socket. It is for one goroutine at a time.
type Socket struct {
	file *os.File
	raw  syscall.RawConn
	port uint32
	seq  uint32
	buf  []byte

	dropping bool // the kernel drops notifications until the queue is empty

	patience time.Duration
}

// Dial opens a socket with room for bufferSize bytes of received messages (0 = the system's default).
func Dial(bufferSize int) (*Socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("open a netfilter netlink socket: %w", err)
	}
	s := &Socket{file: os.NewFile(uintptr(fd), "netfilter"), buf: make([]byte, receiveSize), patience: patience}
	if err := s.setUp(fd, bufferSize); err != nil {
		return nil, errors.Join(err, s.file.Close())
	}
	return s, nil
}

func (s *Socket) setUp(fd, bufferSize int) (err error) {
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("bind a netfilter netlink socket: %w", err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return fmt.Errorf("read the port of a netfilter netlink socket: %w", err)
	}
	if nl, ok := name.(*unix.SockaddrNetlink); ok {
		s.port = nl.Pid
	}
	// Errors come with the kernel's own words, and without the request that caused them.
	for _, option := range []int{unix.NETLINK_EXT_ACK, unix.NETLINK_CAP_ACK} {
		if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, option, 1); err != nil {
			return fmt.Errorf("set netlink socket option %d: %w", option, err)
		}
	}
	if bufferSize > 0 {
		if err := setBuffer(fd, unix.SO_RCVBUFFORCE, unix.SO_RCVBUF, bufferSize); err != nil {
			return fmt.Errorf("size the receive buffer of a netlink socket to %d bytes: %w", bufferSize, err)
		}
	}
	s.raw, err = s.file.SyscallConn()
	return err
}

// setBuffer sets a buffer past the system's limit where the process may, else up to the limit.
func setBuffer(fd, force, plain, size int) error {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, force, size) == nil {
		return nil
	}
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, plain, size)
}

// Port is the socket's netlink port id. The kernel names by it who owns a table and who changed the ruleset.
func (s *Socket) Port() uint32 { return s.port }

// Close closes the socket. The kernel then drops the ownership of tables that it holds.
func (s *Socket) Close() error { return s.file.Close() }

// send hands the bytes to the kernel in one piece, as a batch needs it.
func (s *Socket) send(b []byte) error {
	var failed error
	err := s.raw.Write(func(fd uintptr) bool {
		failed = unix.Sendto(int(fd), b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
		if errors.Is(failed, unix.EMSGSIZE) {
			// netlink_sendmsg refuses what is larger than the send buffer.
			if failed = setBuffer(int(fd), unix.SO_SNDBUFFORCE, unix.SO_SNDBUF, len(b)+4096); failed == nil {
				failed = unix.Sendto(int(fd), b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
			}
		}
		return !errors.Is(failed, unix.EAGAIN)
	})
	return errors.Join(err, failed)
}

// receive waits for one datagram and calls each for the messages in it.
func (s *Socket) receive(each func(Message) error) error { return s.next(true, each) }

// next is receive that need not wait: where nothing has arrived it is EAGAIN.
func (s *Socket) next(wait bool, each func(Message) error) error {
	var n int
	var failed error
	err := s.raw.Read(func(fd uintptr) bool {
		n, failed = unix.Read(int(fd), s.buf)
		again := wait && errors.Is(failed, unix.EAGAIN) || errors.Is(failed, unix.EINTR)
		return !again
	})
	if err == nil {
		err = failed // else it is the EAGAIN before the deadline
	}
	if err != nil {
		return err
	}
	return split(s.buf[:n], each)
}

// split calls each for every message in a datagram, up to the first malformed one.
func split(b []byte, each func(Message) error) error {
	for len(b) >= unix.SizeofNlMsghdr {
		size := int(binary.NativeEndian.Uint32(b))
		if size < unix.SizeofNlMsghdr || size > len(b) {
			return nil
		}
		m := Message{
			Type:    binary.NativeEndian.Uint16(b[4:]),
			Flags:   binary.NativeEndian.Uint16(b[6:]),
			Seq:     binary.NativeEndian.Uint32(b[8:]),
			Port:    binary.NativeEndian.Uint32(b[12:]),
			Payload: b[unix.SizeofNlMsghdr:size],
		}
		if err := each(m); err != nil {
			return err
		}
		b = b[min(align(size), len(b)):]
	}
	return nil
}

// Join subscribes to a multicast group of notifications (enum nfnetlink_groups).
func (s *Socket) Join(group int) error { return s.member(unix.NETLINK_ADD_MEMBERSHIP, group) }

// Leave ends the subscription to a group. What the kernel has delivered already can still be read.
func (s *Socket) Leave(group int) error { return s.member(unix.NETLINK_DROP_MEMBERSHIP, group) }

func (s *Socket) member(option, group int) error {
	var failed error
	err := s.raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.SOL_NETLINK, option, group)
	})
	if err := errors.Join(err, failed); err != nil {
		return fmt.Errorf("subscribe to netfilter notifications, or no longer (group %d): %w", group, err)
	}
	return nil
}

// NotFrom lets the kernel deliver no notification of what the socket with the port id did. A change of a hundred thousand elements
// sends one for each of them.
func (s *Socket) NotFrom(port uint32) error {
	// The port id is the word at offset 12, in the byte order of the machine; the filter reads it as big endian.
	wire := binary.BigEndian.Uint32(binary.NativeEndian.AppendUint32(nil, port))
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 12},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 1, K: wire},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0xffffffff},
		{Code: unix.BPF_RET | unix.BPF_K},
	}
	var failed error
	err := s.raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
			&unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
	})
	if err := errors.Join(err, failed); err != nil {
		return fmt.Errorf("filter netfilter notifications: %w", err)
	}
	return nil
}
