package durable

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestReplace(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if os.Geteuid() == 0 {
		if err := os.Chown(dir, 65534, 65534); err != nil {
			t.Fatal(err)
		}
	}
	victim, name := filepath.Join(dir, "victim"), filepath.Join(dir, "state")
	if err := os.WriteFile(victim, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(victim, name+".new"); err != nil {
		t.Fatal(err)
	}
	for _, content := range []string{"one", "two"} {
		if err := Replace(name, []byte(content)); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(name); err != nil || string(got) != content {
			t.Errorf("the file has %q, want %q: %v", got, content, err)
		}
	}
	if got, err := os.ReadFile(victim); err != nil || string(got) != "mine" {
		t.Errorf("what a link led to has %q: %v", got, err)
	}
	var file, directory unix.Stat_t
	if err := unix.Stat(name, &file); err != nil || file.Mode&0o777 != 0o600 {
		t.Errorf("mode %o, want 600: %v", file.Mode&0o777, err)
	}
	if err := unix.Stat(dir, &directory); err != nil || file.Uid != directory.Uid {
		t.Errorf("the file is of %d, its directory of %d: %v", file.Uid, directory.Uid, err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 2 {
		t.Errorf("left in the directory: %v %v", left, err)
	}
}

func TestReplaceFails(t *testing.T) {
	t.Parallel()
	if err := Replace(filepath.Join(t.TempDir(), "absent", "state"), nil); err == nil {
		t.Error("a file in a directory that does not exist was written")
	}
}

// What is appended is behind what was there, and a file that is not as it was left is left alone.
func TestAppend(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "file")
	if err := Append(name, 0, []byte("a")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Append to nothing: %v", err)
	}
	if err := errors.Join(Replace(name, []byte("a")), Append(name, 1, []byte("b"))); err != nil {
		t.Fatal(err)
	}
	if err := Append(name, 1, []byte("c")); !errors.Is(err, ErrChanged) {
		t.Errorf("Append to a file that has grown: %v", err)
	}
	if got, err := os.ReadFile(name); string(got) != "ab" || err != nil {
		t.Errorf("the file has %q, %v", got, err)
	}
}
