package control

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestListenMakesDirectoryAndSocket(t *testing.T) { // not parallel: the umask belongs to the process
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)

	path := filepath.Join(t.TempDir(), "run", "natd", "natd.sock")
	s, err := Listen(path, "", silent())
	if err != nil {
		t.Fatal(err)
	}
	wantMode(t, filepath.Dir(path), fs.ModeDir|0o755)
	wantMode(t, path, fs.ModeSocket|0o600)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

func wantMode(t *testing.T, path string, want fs.FileMode) {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != want {
		t.Errorf("%s has mode %v, want %v", path, info.Mode(), want)
	}
}

func TestListenKeepsDirectory(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "mine")
	if err := os.Mkdir(dir, 0o710); err != nil {
		t.Fatal(err)
	}
	s, err := Listen(filepath.Join(dir, "natd.sock"), "", silent())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	wantMode(t, dir, fs.ModeDir|0o710)
}

func TestListenGroup(t *testing.T) {
	t.Parallel()
	needRoot(t)
	group, gid := someGroup(t)
	path := filepath.Join(t.TempDir(), "natd.sock")
	s, err := Listen(path, group, silent())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	wantMode(t, path, fs.ModeSocket|0o660)
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Sys().(*syscall.Stat_t).Gid; int(got) != gid {
		t.Errorf("the socket has group %d, want %d", got, gid)
	}
}

func TestListenMissingGroup(t *testing.T) {
	t.Parallel()
	log := new(logBuffer)
	path := filepath.Join(t.TempDir(), "natd.sock")
	s, err := Listen(path, "no-such-group-natd", log.logger())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	wantMode(t, path, fs.ModeSocket|0o600)
	if got := strings.Count(log.String(), "level=WARN"); got != 1 {
		t.Errorf("%d warnings, want 1:\n%s", got, log)
	}
	wantContains(t, log.String(), "only root may use natctl", "group=no-such-group-natd")
}

// What is at the path and is no socket stays as it is, and so does what a symbolic link points to.
func TestListenKeepsWhatIsNoSocket(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		make func(path string) error
		want string
	}{
		"regular file": {func(p string) error { return os.WriteFile(p, []byte("mine"), 0o600) }, "there is a regular file at this path"},
		"empty file":   {func(p string) error { return os.WriteFile(p, nil, 0o600) }, "there is a regular file at this path"},
		"directory":    {func(p string) error { return os.Mkdir(p, 0o700) }, "there is a directory at this path"},
		"symlink":      {func(p string) error { return os.Symlink("target", p) }, "there is a symbolic link at this path"},
		"FIFO":         {func(p string) error { return unix.Mkfifo(p, 0o600) }, "there is a special file at this path"},
		"link to socket": {func(p string) error {
			return errors.Join(leaveStale(p+".real"), os.Symlink(p+".real", p))
		}, "there is a symbolic link at this path"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "natd.sock")
			if err := test.make(path); err != nil {
				t.Fatal(err)
			}
			before, _ := os.Lstat(path)
			_, err := Listen(path, "", silent())
			if err == nil {
				t.Fatal("no error")
			}
			wantContains(t, err.Error(), path, test.want, "--socket")
			after, err := os.Lstat(path)
			if err != nil || !os.SameFile(before, after) || before.Mode() != after.Mode() {
				t.Errorf("it was touched: %v", err)
			}
		})
	}
}

// leaveStale makes a socket that nobody listens on, as a killed natd does.
func leaveStale(path string) error {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return err
	}
	l.SetUnlinkOnClose(false)
	return l.Close()
}

func TestListenReplacesStaleSocket(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "natd.sock")
	for _, stale := range []string{path, path + newSuffix} {
		if err := leaveStale(stale); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(path+lockSuffix, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r := runAt(t, path, "", well(), nil)
	r.mustServe(t)
	if _, err := os.Lstat(path + newSuffix); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the temporary socket is still there: %v", err)
	}
}

// A live socket stays its owner's: that of another natd, and that of a program that knows nothing of the lock.
func TestListenDoesNotSteal(t *testing.T) {
	t.Parallel()
	first := run(t, well(), nil)

	foreign := filepath.Join(t.TempDir(), "natd.sock")
	l, err := net.Listen("unix", foreign)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()

	for _, path := range []string{first.path, foreign} {
		_, err := Listen(path, "", silent())
		if err == nil {
			t.Fatal("it was stolen")
		}
		wantContains(t, err.Error(), "another natd answers on "+path)
	}
	first.mustServe(t)
	conn, err := net.Dial("unix", foreign)
	if err != nil {
		t.Fatalf("the other program's socket is gone: %v", err)
	}
	_ = conn.Close()
}

func TestListenAtOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "natd.sock")
	if err := leaveStale(path); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	servers := make(chan *Server, 20)
	for range cap(servers) {
		wg.Go(func() {
			if s, err := Listen(path, "", silent()); err == nil {
				servers <- s
			}
		})
	}
	wg.Wait()
	close(servers)
	if len(servers) != 1 {
		t.Errorf("%d of %d took the path, want 1", len(servers), cap(servers))
	}
	for s := range servers {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
}

// A server whose path was taken over by force does not remove the new owner's socket.
func TestCloseKeepsForeignSocket(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "natd.sock")
	s, err := Listen(path, "", silent())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the foreign socket was removed: %v", err)
	}
}

func TestListenPathErrors(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct{ path, want string }{
		"too long":          {filepath.Join(t.TempDir(), strings.Repeat("x", 104)), "choose a shorter one"},
		"file as directory": {filepath.Join(file, "natd.sock"), "not a directory"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Listen(test.path, "", silent())
			if err == nil {
				t.Fatal("no error")
			}
			wantContains(t, err.Error(), test.want, test.path)
		})
	}
}
