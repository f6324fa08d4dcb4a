package trace

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// buffer is the room for packets that wait to be read, in bytes: some thousands.
const buffer = 4 << 20

// Stream is a watch that runs. One goroutine reads it; another one may change its filter.
type Stream struct {
	ctx     context.Context
	stop    func() bool
	file    *os.File
	raw     syscall.RawConn
	filter  atomic.Pointer[Filter]
	devices map[int]string
	data    []byte
	oob     []byte
	drops   int
}

// Watch begins to watch all interfaces of the network namespace, until ctx ends. What passed before is not seen. It needs CAP_NET_RAW;
// without it the error is os.ErrPermission.
func Watch(ctx context.Context, f Filter) (*Stream, error) {
	// Without a protocol a packet socket gets nothing, so that the filter stands before the first packet (packet(7)).
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if errors.Is(err, os.ErrPermission) {
		return nil, fmt.Errorf("watching packets needs CAP_NET_RAW, run as root: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("watching packets: opening a packet socket: %w", err)
	}
	s := &Stream{ctx: ctx, devices: map[int]string{}, data: make([]byte, snapshot), oob: make([]byte, 256)}
	s.file = os.NewFile(uintptr(fd), "packets")
	if s.raw, err = s.file.SyscallConn(); err == nil {
		err = s.Refilter(f)
	}
	if err == nil {
		err = s.control(begin)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("watching packets: %w", err), s.file.Close())
	}
	s.stop = context.AfterFunc(ctx, func() { _ = s.file.SetReadDeadline(time.Unix(0, 1)) }) // in the past
	return s, nil
}

// begin lets the packets in: from all interfaces, with the time of each and the tag of its VLAN.
func begin(fd int) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, buffer); err != nil {
		// Without CAP_NET_ADMIN no more than net.core.rmem_max.
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, buffer); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	err := errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: bigEndian(unix.ETH_P_ALL)}))
	return os.NewSyscallError("preparing a packet socket", err)
}

// bigEndian is a number in the byte order of the network.
func bigEndian(n uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, n))
}

// Refilter changes what is watched. Packets that wait to be read must pass the new filter, too.
func (s *Stream) Refilter(f Filter) error {
	code, err := f.assemble()
	if err != nil {
		return err
	}
	s.filter.Store(&f)
	return s.control(func(fd int) error {
		p := unix.SockFprog{Len: uint16(len(code)), Filter: unsafe.SliceData(code)}
		if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &p); err != nil {
			return fmt.Errorf("attaching a packet filter of %d instructions: %w", len(code), err)
		}
		return nil
	})
}

func (s *Stream) control(do func(fd int) error) error {
	var err error
	failed := s.raw.Control(func(fd uintptr) { err = do(int(fd)) })
	return errors.Join(failed, err)
}

// Next waits for the next packet. When ctx has ended the error is ctx's.
func (s *Stream) Next() (Packet, error) {
	for {
		var p Packet
		var ok bool
		var err error
		if failed := s.raw.Read(func(fd uintptr) bool {
			p, ok, err = s.receive(int(fd))
			return !errors.Is(err, unix.EAGAIN)
		}); failed != nil {
			err = failed
		}
		switch {
		case s.ctx.Err() != nil:
			return Packet{}, s.ctx.Err()
		case errors.Is(err, unix.ENETDOWN) || errors.Is(err, unix.EINTR):
			// An interface went down: that is said once, and the others are still watched (packet(7)).
		case err != nil:
			return Packet{}, fmt.Errorf("watching packets: %w", err)
		case ok && s.filter.Load().passes(p):
			return p, nil
		}
	}
}

// receive takes one packet from the socket. It is false for what is not IP, and what is not for this host.
func (s *Stream) receive(fd int) (p Packet, ok bool, err error) {
	n, oobn, _, from, err := unix.Recvmsg(fd, s.data, s.oob, 0)
	if err != nil {
		return p, false, err
	}
	link, isLink := from.(*unix.SockaddrLinklayer)
	if !isLink || link.Pkttype == unix.PACKET_OTHERHOST {
		return p, false, nil
	}
	extra := ancillary(s.oob[:oobn], n)
	b, vlan := untagged(s.data[:n], bigEndian(link.Protocol))
	if p, ok = decode(b, extra.size); !ok {
		return p, false, nil
	}
	p.Time, p.VLAN = extra.time, max(vlan, extra.vlan)
	p.Index, p.Device, p.Outgoing = link.Ifindex, s.device(fd, link.Ifindex), link.Pkttype == unix.PACKET_OUTGOING
	return p, true, nil
}

// device is the name of an interface, as it was when its first packet came.
func (s *Stream) device(fd, index int) string {
	if name, known := s.devices[index]; known {
		return name
	}
	name := fmt.Sprintf("if%d", index) // one that is gone
	if r, err := unix.NewIfreq(""); err == nil {
		r.SetUint32(uint32(index))
		if unix.IoctlIfreq(fd, unix.SIOCGIFNAME, r) == nil {
			name = r.Name()
		}
	}
	s.devices[index] = name
	return name
}

// Drops is how many packets were lost until now because they were not read in time.
func (s *Stream) Drops() int {
	_ = s.control(func(fd int) error { // the kernel counts from the last question on
		stats, err := unix.GetsockoptTpacketStats(fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
		if err == nil {
			s.drops += int(stats.Drops)
		}
		return err
	})
	return s.drops
}

// Close ends the watch.
func (s *Stream) Close() error {
	s.stop()
	return s.file.Close()
}

// extra is what the kernel tells of a packet beside its bytes.
type extra struct {
	time time.Time
	size int // of the packet on the wire, in bytes
	vlan uint16
}

// ancillary reads struct timespec and struct tpacket_auxdata (linux/if_packet.h).
func ancillary(oob []byte, captured int) extra {
	e := extra{time: time.Now(), size: captured}
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return e
	}
	for _, m := range messages {
		switch {
		case m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SO_TIMESTAMPNS && len(m.Data) >= 16:
			e.time = time.Unix(int64(binary.NativeEndian.Uint64(m.Data)), int64(binary.NativeEndian.Uint64(m.Data[8:])))
		case m.Header.Level == unix.SOL_PACKET && m.Header.Type == unix.PACKET_AUXDATA && len(m.Data) >= 20:
			e.size = int(binary.NativeEndian.Uint32(m.Data[4:]))
			if status := binary.NativeEndian.Uint32(m.Data); status&unix.TP_STATUS_VLAN_VALID != 0 {
				e.vlan = binary.NativeEndian.Uint16(m.Data[16:]) & 0x0fff
			}
		}
	}
	return e
}
