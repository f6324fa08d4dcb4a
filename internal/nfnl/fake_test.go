package nfnl

import (
	"encoding/binary"
	"errors"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fakeKernel is the other end of a Socket: it gets what the Socket sends and answers with what the test says.
type fakeKernel struct {
	t    *testing.T
	file *os.File
}

// newFake makes a Socket that speaks with a fake kernel. The pair keeps datagrams apart as netlink does, and ignores the
// netlink address that the Socket sends to.
func newFake(t *testing.T) (*Socket, *fakeKernel) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	s := &Socket{file: os.NewFile(uintptr(fds[0]), "fake"), buf: make([]byte, receiveSize), patience: patience}
	if s.raw, err = s.file.SyscallConn(); err != nil {
		t.Fatal(err)
	}
	k := &fakeKernel{t, os.NewFile(uintptr(fds[1]), "fake kernel")}
	t.Cleanup(func() {
		if err := errors.Join(s.Close(), k.file.Close()); err != nil && !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
	})
	return s, k
}

// slowSend is a connection to a kernel that is at work, for that long, while a program sends.
type slowSend struct {
	syscall.RawConn
	work time.Duration
}

func (c slowSend) Write(f func(fd uintptr) bool) error {
	err := c.RawConn.Write(f)
	time.Sleep(c.work)
	return err
}

// reply is one message of an answer. Its sequence number is that of the request plus offset.
type reply struct {
	typ, flags uint16
	offset     int
	payload    []byte
}

// serve answers one request with datagrams in the background, and returns what was sent.
func (k *fakeKernel) serve(datagrams ...[]reply) (request func() []byte) {
	got := make(chan []byte, 1)
	go func() {
		buf := make([]byte, 1<<20)
		n, err := k.file.Read(buf)
		if err != nil {
			k.t.Error(err)
			close(got)
			return
		}
		got <- buf[:n]
		for _, d := range datagrams {
			k.send(binary.NativeEndian.Uint32(buf[8:]), d)
		}
	}()
	return func() []byte { return <-got }
}

func (k *fakeKernel) send(seq uint32, replies []reply) {
	var b []byte
	for _, r := range replies {
		b = append(b, message(r.typ, r.flags, seq+uint32(r.offset), r.payload)...)
	}
	if _, err := k.file.Write(b); err != nil {
		k.t.Error(err)
	}
}

// message is the bytes of one message.
func message(typ, flags uint16, seq uint32, payload []byte) []byte {
	b := binary.NativeEndian.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+len(payload)))
	b = binary.NativeEndian.AppendUint16(b, typ)
	b = binary.NativeEndian.AppendUint16(b, flags)
	b = binary.NativeEndian.AppendUint32(b, seq)
	b = append(binary.NativeEndian.AppendUint32(b, 0), payload...)
	return append(b, make([]byte, align(len(b))-len(b))...)
}

// verdictOf is the payload of an NLMSG_ERROR message, with the kernel's words unless they are empty.
func verdictOf(errno unix.Errno, words string) []byte {
	b := binary.NativeEndian.AppendUint32(nil, uint32(-int32(errno)))
	b = append(b, make([]byte, unix.SizeofNlMsghdr)...)
	if words != "" {
		var attrs Builder
		attrs.String(unix.NLMSGERR_ATTR_MSG, words)
		b = append(b, attrs.Payload()...)
	}
	return b
}

// refusal is a message that refuses the request so many behind the first; errno 0 acknowledges it.
func refusal(offset int, errno unix.Errno, words string) reply {
	flags := uint16(0)
	if words != "" {
		flags = unix.NLM_F_ACK_TLVS
	}
	return reply{unix.NLMSG_ERROR, flags, offset, verdictOf(errno, words)}
}

// data is a message of a dump that carries a number.
func data(n byte) reply { return reply{typ: 1000, payload: []byte{0, 0, 0, 0, n}} }

// end is the end of a dump.
func end(errno unix.Errno) reply {
	return reply{typ: unix.NLMSG_DONE, payload: binary.NativeEndian.AppendUint32(nil, uint32(-int32(errno)))}
}

// requests is a Builder with so many requests.
func requests(n int) *Builder {
	var b Builder
	for range n {
		b.Begin(1000, 0, unix.AF_UNSPEC, 0)
		b.End()
	}
	return &b
}
