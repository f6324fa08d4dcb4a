package control

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxPath is what sun_path holds before its NUL, see unix(7).
	maxPath = 107

	// The socket is made under a name beside its own; the lock that says whose it is lies there as well.
	newSuffix, lockSuffix = ".new", ".lock"

	// backlog is how many clients may wait for the server to accept them.
	backlog = 128
)

// socket is a listening unix socket at its path, and the lock that keeps a second natd away from the path.
type socket struct {
	*net.UnixListener
	path string
	made fs.FileInfo // to tell our socket from another that took the path since
	lock *os.File
}

// openSocket takes the path and listens on it. Before anybody can connect, the socket has its owner and mode.
func openSocket(path string, who access) (*socket, error) {
	if limit := maxPath - len(newSuffix); len(path) > limit {
		return nil, fmt.Errorf("socket %s: the path has %d bytes and may have %d; choose a shorter one", path, len(path), limit)
	}
	if err := makeDir(filepath.Dir(path)); err != nil {
		return nil, fmt.Errorf("make the directory of socket %s: %w", path, err)
	}
	lock, err := lockPath(path)
	if err != nil {
		return nil, err
	}
	s := &socket{path: path, lock: lock}
	if err := s.open(who); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return s, nil
}

// makeDir makes a directory that everybody can pass through, whatever the umask. One that is there stays as it is.
func makeDir(dir string) error {
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.Chmod(dir, 0o755)
}

func (s *socket) open(who access) (err error) {
	if err := clearStale(s.path); err != nil {
		return err
	}
	if s.UnixListener, err = listenAs(s.path, who); err != nil {
		return err
	}
	if s.made, err = os.Lstat(s.path); err != nil {
		return errors.Join(fmt.Errorf("look at the new socket: %w", err), s.UnixListener.Close())
	}
	return nil
}

// Close stops listening and removes the socket, unless somebody else's has its path now.
func (s *socket) Close() error {
	err := s.UnixListener.Close()
	if now, statErr := os.Lstat(s.path); statErr == nil && os.SameFile(now, s.made) {
		err = errors.Join(err, os.Remove(s.path))
	}
	return errors.Join(err, s.lock.Close())
}

// lockPath makes sure that two natd that start at once do not both find the path free. The kernel drops the
// lock with the process, so its file may stay.
func lockPath(path string) (*os.File, error) {
	lock, err := os.OpenFile(path+lockSuffix, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock socket %s: %w", path, err)
	}
	switch err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); {
	case errors.Is(err, unix.EWOULDBLOCK):
		return nil, errors.Join(errTaken(path), lock.Close())
	case err != nil:
		return nil, errors.Join(fmt.Errorf("lock socket %s: %w", path, err), lock.Close())
	}
	return lock, nil
}

func errTaken(path string) error {
	return fmt.Errorf("another natd answers on %s: stop it, or choose another path with --socket", path)
}

// clearStale removes the socket that a killed natd left behind, and nothing else.
func clearStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("look at socket %s: %w", path, err)
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("socket %s: there is a %s at this path; remove it, or choose another path with --socket", path, kind(info.Mode()))
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	switch {
	case err == nil:
		return errors.Join(errTaken(path), conn.Close())
	case !errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("find out whether another natd answers on %s: %w", path, err)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("remove the stale socket: %w", err)
	}
	return nil
}

func kind(m fs.FileMode) string {
	switch {
	case m.IsRegular():
		return "regular file"
	case m.IsDir():
		return "directory"
	case m&fs.ModeSymlink != 0:
		return "symbolic link"
	}
	return "special file"
}

// listenAs makes the socket under another name, gives it owner and mode, and only then listens and moves it to its
// path: connect(2) to a socket that does not listen is refused, so no umask has to keep strangers out meanwhile.
// The listener has a descriptor of its own.
func listenAs(path string, who access) (*net.UnixListener, error) {
	temporary := path + newSuffix
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("remove what a killed natd left: %w", err)
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open a unix socket: %w", err)
	}
	file := os.NewFile(uintptr(fd), path)
	defer file.Close()

	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: temporary}); err != nil {
		return nil, fmt.Errorf("bind socket %s: %w", temporary, err)
	}
	l, err := expose(file, fd, temporary, path, who)
	if err != nil {
		return nil, errors.Join(err, os.Remove(temporary))
	}
	return l, nil
}

func expose(file *os.File, fd int, temporary, path string, who access) (*net.UnixListener, error) {
	if err := admit(temporary, who); err != nil {
		return nil, fmt.Errorf("set who may connect to socket %s: %w", path, err)
	}
	if err := unix.Listen(fd, backlog); err != nil {
		return nil, fmt.Errorf("listen on socket %s: %w", path, err)
	}
	l, err := net.FileListener(file)
	if err != nil {
		return nil, fmt.Errorf("listen on socket %s: %w", path, err)
	}
	if err := os.Rename(temporary, path); err != nil {
		return nil, errors.Join(fmt.Errorf("move the socket to its path: %w", err), l.Close())
	}
	return l.(*net.UnixListener), nil
}

// admit lets the owner connect, and the group when there is one.
func admit(path string, who access) error {
	if who.gid < 0 {
		return os.Chmod(path, 0o600)
	}
	return errors.Join(os.Chown(path, -1, who.gid), os.Chmod(path, 0o660))
}

// lookUp finds the group that may read. Without it natd runs all the same, for root alone.
func lookUp(group string, log *slog.Logger) access {
	who := access{uid: os.Geteuid(), gid: -1}
	if group == "" {
		return who
	}
	g, err := user.LookupGroup(group)
	if err != nil {
		log.Warn("only root may use natctl: the socket group is not there; make it with groupadd, then restart natd", "group", group, "error", err)
		return who
	}
	gid, err := strconv.Atoi(g.Gid)
	if err != nil {
		return who
	}
	if !mayGiveTo(gid) {
		log.Warn("only root may use natctl: natd can give its socket only to a group it is in; "+
			"add SupplementaryGroups= to its unit (systemctl edit natd), then restart it", "group", group)
		return who
	}
	who.group, who.gid = group, gid
	return who
}

// mayGiveTo tells whether this process may give a file of its own to the group: chown(2).
func mayGiveTo(gid int) bool {
	if os.Geteuid() == 0 || os.Getegid() == gid {
		return true
	}
	groups, err := os.Getgroups()
	return err == nil && slices.Contains(groups, gid)
}
