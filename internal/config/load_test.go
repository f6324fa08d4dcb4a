package config

import (
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestLoad(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "natd.toml")
	writeFile(t, file, minimal)
	link := filepath.Join(filepath.Dir(file), "link.toml")
	if err := os.Symlink("natd.toml", link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, link} {
		c, err := Load(path)
		if err != nil {
			t.Fatalf("Load: %v", err)
		}
		if c.Path != path || len(c.NAT.Relays) != 1 {
			t.Errorf("Load(%s) has path %s and %d relays", path, c.Path, len(c.NAT.Relays))
		}
	}
	writeFile(t, file, "[deamon]\n")
	if _, err := Load(file); err == nil || err.Error() != file+`:1: deamon: unknown table; did you mean "daemon"?` {
		t.Errorf("Load = %v", err)
	}
}

func TestLoadRelativePath(t *testing.T) {
	t.Parallel()
	c, err := Load(exampleFile)
	if err != nil {
		t.Fatal(err)
	}
	if !filepath.IsAbs(c.Path) || filepath.Base(c.Path) != filepath.Base(exampleFile) {
		t.Errorf("the path is %s, want an absolute one", c.Path)
	}
}

func TestLoadFileKinds(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(syscall.Mkfifo(at("fifo"), 0o600))
	must(os.Symlink("gone\x1b", at("dangling")))
	must(os.Symlink("loop", at("loop")))
	writeFile(t, at("huge"), "")
	must(os.Truncate(at("huge"), 33<<20))
	writeFile(t, at("full"), "")
	must(os.Truncate(at("full"), 32<<20))
	socket, err := net.Listen("unix", at("socket"))
	must(err)
	defer socket.Close()

	tests := []struct{ name, rule string }{
		{"missing", "cannot be read: no such file or directory"},
		{"none/natd.toml", "cannot be read: no such file or directory"},
		{"dangling", `cannot be read: it is a symbolic link to "gone\x1b", which does not exist`},
		{"loop", "cannot be read: too many levels of symbolic links"},
		{".", "cannot be read: it is a directory, not a regular file"},
		{"fifo", "cannot be read: it is a FIFO, not a regular file"},
		{"socket", "cannot be read: it is a socket, not a regular file"},
		{"../../../../../../../../dev/null", "cannot be read: it is a device, not a regular file"},
		{"huge", "cannot be read: it has 34603008 bytes, more than the limit of 33554432 (32 MiB)"},
	}
	for _, tt := range tests {
		path := filepath.Clean(at(tt.name))
		if _, err := Load(path); err == nil || err.Error() != path+": "+tt.rule {
			t.Errorf("Load = %v\nwant %s: %s", err, path, tt.rule)
		}
	}
	if _, err := Load(at("full")); err == nil || !strings.Contains(err.Error(), "NULL") {
		t.Errorf("a file of the largest size is refused as %v, want as not TOML", err)
	}
	if _, err := Load(at("missing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v is not fs.ErrNotExist", err)
	}
}

// TestLoadUnreadable runs itself again as nobody, for root may read everything.
func TestLoadUnreadable(t *testing.T) {
	const variable, nobody = "NATD_TEST_UNREADABLE", 65534
	if path := os.Getenv(variable); path != "" {
		_, err := Load(path)
		if !errors.Is(err, fs.ErrPermission) {
			t.Fatalf("%v is not fs.ErrPermission", err)
		}
		if want := path + ": cannot be read: permission denied for uid 65534; its owner or root can allow it (chmod, chown)"; err.Error() != want {
			t.Fatalf("Load = %v\nwant %s", err, want)
		}
		return
	}
	if os.Geteuid() != 0 {
		skip(t, "only root can become nobody")
	}
	dir, err := os.MkdirTemp("", "natd-config-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	file, binary := filepath.Join(dir, "natd.toml"), filepath.Join(dir, "test")
	writeFile(t, file, minimal)
	copyFile(t, binary, os.Args[0])
	for path, mode := range map[string]fs.FileMode{dir: 0o755, file: 0o600, binary: 0o755} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(binary, "-test.run=^TestLoadUnreadable$", "-test.count=1")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), variable+"="+file)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	switch {
	case errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES):
		skip(t, "cannot become nobody: "+err.Error())
	case err != nil:
		t.Errorf("as nobody: %v\n%s", err, out)
	}
}

// copyFile copies the test binary to where others than root can reach it.
func copyFile(t *testing.T, to, from string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
}

// skip skips on a laptop and fails where everything has to be there.
func skip(t *testing.T, reason string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(reason)
	}
	t.Skip(reason)
}

// meddler is a file that something happens to when it is read.
type meddler struct {
	*os.File
	meddle func()
}

func (m *meddler) Read(p []byte) (int, error) {
	n, err := m.File.Read(p)
	if m.meddle != nil {
		m.meddle()
		m.meddle = nil
	}
	return n, err
}

func TestReadStable(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		meddle func(t *testing.T, path string)
		want   error
	}{
		{"nothing", func(*testing.T, string) {}, nil},
		{"grows", func(t *testing.T, path string) { appendTo(t, path, "# more\n") }, errChanged},
		{"shrinks", func(t *testing.T, path string) { writeFile(t, path, "[daemon]\n") }, errChanged},
		{"written again", func(t *testing.T, path string) {
			writeFile(t, path, strings.ReplaceAll(minimal, "web", "bew"))
			touchOld(t, path)
		}, errChanged},
		{"replaced", func(t *testing.T, path string) { // the old file stays as it was, and is read to its end
			writeFile(t, path+".new", "[daemon]\n")
			if err := os.Rename(path+".new", path); err != nil {
				t.Fatal(err)
			}
		}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "natd.toml")
			writeFile(t, path, minimal)
			f, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			data, err := readStable(f, &meddler{f, func() { tt.meddle(t, path) }})
			if !errors.Is(err, tt.want) {
				t.Errorf("the error is %v, want %v", err, tt.want)
			}
			if err == nil && string(data) != minimal {
				t.Errorf("read %q, want %q", data, minimal)
			}
		})
	}
}

func appendTo(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

// touchOld gives the file a time of its own: one written twice in the same tick of the kernel's clock has one time.
func touchOld(t *testing.T, path string) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	old := info.ModTime().Add(-1e9)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
}

// TestReadLimit has a file that grows beyond the limit after its size was looked at.
func TestReadLimit(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "natd.toml")
	writeFile(t, path, minimal)
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	_, err = readStable(f, &meddler{f, func() {
		if err := os.Truncate(path, 1<<30); err != nil {
			t.Error(err)
		}
	}})
	if err == nil || !strings.Contains(err.Error(), "more than the limit") {
		t.Errorf("the error is %v, want the limit", err)
	}
}
