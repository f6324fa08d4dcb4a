package control

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// peer is the process at the other end as it was when it connected. Rights follow from uid and groups
// alone: the pid may belong to another process by now.
type peer struct {
	uid, gid uint32
	pid      int32
	groups   []uint32 // the supplementary ones
}

// peerOf asks the kernel who connected. See SO_PEERCRED in unix(7). A peer of another user namespace shows as
// the overflow user, 65534, and has no rights.
func peerOf(conn *net.UnixConn) (p peer, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return peer{}, fmt.Errorf("look at the peer of a connection: %w", err)
	}
	var failure error
	err = raw.Control(func(fd uintptr) { p, failure = peerOfSocket(int(fd)) })
	if err == nil {
		err = failure
	}
	if err != nil {
		return peer{}, fmt.Errorf("ask the kernel for the peer of a connection: %w", err)
	}
	return p, nil
}

func peerOfSocket(fd int) (peer, error) {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return peer{}, os.NewSyscallError("getsockopt SO_PEERCRED", err)
	}
	groups, err := peerGroups(fd)
	if err != nil {
		return peer{}, os.NewSyscallError("getsockopt SO_PEERGROUPS", err)
	}
	return peer{uid: cred.Uid, gid: cred.Gid, pid: cred.Pid, groups: groups}, nil
}

// peerGroups reads SO_PEERGROUPS (Linux 4.13), for which x/sys/unix has no wrapper. With too small a buffer the
// kernel answers ERANGE and the size it takes (sk_getsockopt in net/core/sock.c).
func peerGroups(fd int) ([]uint32, error) {
	groups := make([]uint32, 32)
	for {
		size := uint32(len(groups) * 4)
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(unsafe.SliceData(groups))), uintptr(unsafe.Pointer(&size)), 0)
		switch {
		case errno == 0:
			return groups[:size/4], nil
		case errno != unix.ERANGE || int(size) <= len(groups)*4:
			return nil, errno
		}
		groups = make([]uint32, size/4)
	}
}

// LogValue names the peer in a log line.
func (p peer) LogValue() slog.Value {
	return slog.GroupValue(slog.Any("uid", p.uid), slog.Any("gid", p.gid), slog.Any("pid", p.pid))
}

func (p peer) root() bool { return p.uid == 0 }

func (p peer) in(gid int) bool {
	return gid >= 0 && (p.gid == uint32(gid) || slices.Contains(p.groups, uint32(gid)))
}

// access is who may use a socket.
type access struct {
	uid   int    // natd's own user
	group string // whose members may read, "" = nobody
	gid   int    // of the group, -1 = there is none
}

// mayRead tells whether the peer may ask anything at all.
func (a access) mayRead(p peer) error {
	if p.root() || int(p.uid) == a.uid || p.in(a.gid) {
		return nil
	}
	return Errorf(CodeNotPermitted, "not permitted: user %d may not ask natd; %s may", p.uid, a.readers())
}

// mayDo tells whether a peer that may read may also do this.
func mayDo(p peer, op string) error {
	if p.root() || !privileged(op) {
		return nil
	}
	return Errorf(CodeNotPermitted, "not permitted: user %d may not %s; only root may (try sudo)", p.uid, op)
}

func (a access) readers() string {
	if a.gid < 0 {
		return "only root"
	}
	return fmt.Sprintf("root and the members of group %s", a.group)
}
