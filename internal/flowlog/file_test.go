package flowlog

import (
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// open opens a log file of at most 100 bytes, in a directory that is made for it.
func open(t *testing.T, path, header string, keep int) *File {
	t.Helper()
	f, err := Open(Options{Path: path, Header: header, MaxSize: 100, Keep: keep, Group: os.Getgid()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

func write(t *testing.T, f interface{ Write([]byte) error }, lines string) {
	t.Helper()
	if err := f.Write([]byte(lines)); err != nil {
		t.Fatal(err)
	}
}

func contents(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// aside are the texts of the files that were put aside, compressed, the oldest first.
func aside(t *testing.T, path string, want int) (texts []string) {
	t.Helper()
	pattern := strings.TrimSuffix(path, ".log") + "-*.log.gz"
	var names []string
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		all, err := filepath.Glob(strings.TrimSuffix(pattern, ".gz") + "*")
		if err != nil {
			t.Fatal(err)
		}
		if names, err = filepath.Glob(pattern); err != nil {
			t.Fatal(err)
		}
		if len(names) == want && len(all) == want {
			break
		}
	}
	if len(names) != want {
		t.Fatalf("%d files are aside and compressed, want %d", len(names), want)
	}
	slices.Sort(names)
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		z, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(z)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(text))
	}
	return texts
}

// line is of 40 bytes.
const line = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n"

func TestFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log", "flow.log")
	f := open(t, path, "a b\n", 2)
	for n := range 7 { // two lines fit into a file
		write(t, f, strings.ReplaceAll(line, "x", string(rune('0'+n))))
		time.Sleep(2 * time.Millisecond) // the names of files that are put aside have milliseconds
	}
	one := func(n string) string { return strings.ReplaceAll(line, "x", n) }
	if got := contents(t, path); got != "a b\n"+one("6") {
		t.Errorf("the file has %q", got)
	}
	if got := aside(t, path, 2); !slices.Equal(got, []string{"a b\n" + one("2") + one("3"), "a b\n" + one("4") + one("5")}) {
		t.Errorf("aside is %q", got)
	}
	for name, want := range map[string]os.FileMode{path: 0o640, filepath.Dir(path): os.ModeDir | 0o750} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != want {
			t.Errorf("%s has mode %v, want %v", name, info.Mode(), want)
		}
	}
}

// One that keeps none begins anew.
func TestFileKeepsNone(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "flow.log")
	f := open(t, path, "a b\n", 0)
	for range 3 {
		write(t, f, line)
	}
	if got := contents(t, path); got != "a b\n"+line {
		t.Errorf("the file has %q", got)
	}
	aside(t, path, 0)
}

// Lines that are longer than a file may be are written all the same, in a file of their own.
func TestFileOfOneSegment(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "flow.log")
	f := open(t, path, "a b\n", 1)
	write(t, f, line)
	write(t, f, strings.Repeat(line, 5))
	if got := contents(t, path); got != "a b\n"+strings.Repeat(line, 5) {
		t.Errorf("the file has %q", got)
	}
}

// What an earlier natd left: the header decides whether more lines belong into the file, and half a line is taken back.
func TestFileThatWasThere(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		was, header string
		want        string
		aside       []string
	}{
		"empty":                 {"", "a b\n", "a b\n" + line, nil},
		"the same format":       {"a b\n1 2\n", "a b\n", "a b\n1 2\n" + line, nil},
		"cut off":               {"a b\n1 2\n3", "a b\n", "a b\n1 2\n" + line, nil},
		"cut off in its header": {"a", "a b\n", "a b\n" + line, nil},
		"another format":        {"a c\n1 2\n", "a b\n", "a b\n" + line, []string{"a c\n1 2\n"}},
		"JSON":                  {"{}\n", "", "{}\n" + line, nil},
		"text before JSON":      {"a b\n1 2\n", "", line, []string{"a b\n1 2\n"}},
		"JSON before text":      {"{}\n", "a b\n", "a b\n" + line, []string{"{}\n"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "flow.log")
			if err := os.WriteFile(path, []byte(tt.was), 0o600); err != nil {
				t.Fatal(err)
			}
			write(t, open(t, path, tt.header, 1), line)
			if got := contents(t, path); got != tt.want {
				t.Errorf("the file has %q, want %q", got, tt.want)
			}
			if got := aside(t, path, len(tt.aside)); !slices.Equal(got, tt.aside) {
				t.Errorf("aside is %q, want %q", got, tt.aside)
			}
		})
	}
}

func TestFileReopens(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "flow.log")
	f := open(t, path, "a b\n", 1)
	write(t, f, line)
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	write(t, f, line)
	if err := f.Reopen(); err != nil {
		t.Fatal(err)
	}
	write(t, f, line)
	if old, is := contents(t, path+".1"), contents(t, path); old != "a b\n"+line+line || is != "a b\n"+line {
		t.Errorf("the files have %q and %q", old, is)
	}
}

// What is no file is left alone, and what cannot be opened is tried again with every write.
func TestFileErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := Open(Options{Path: "/dev/null", Header: "a b\n", MaxSize: 100}); err == nil || !strings.Contains(err.Error(), "/dev/null is not a file") {
		t.Errorf("got %v", err)
	}
	path := filepath.Join(dir, "flow.log")
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := Open(Options{Path: path, Header: "a b\n", MaxSize: 100})
	if err == nil || !strings.Contains(err.Error(), "open the flow log: ") {
		t.Errorf("got %v", err)
	}
	if err := f.Write([]byte(line)); err == nil {
		t.Error("a directory was written to")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	write(t, f, line)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if got := contents(t, path); got != "a b\n"+line {
		t.Errorf("the file has %q", got)
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestStream(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	s := &Stream{To: &out, Header: "a b\n"}
	write(t, s, line)
	if err := s.Reopen(); err != nil {
		t.Fatal(err)
	}
	write(t, s, line)
	if out.String() != "a b\n"+line+line || s.Close() != nil {
		t.Errorf("written is %q", out.String())
	}
	if err := (&Stream{To: brokenPipe{}}).Write([]byte(line)); err == nil || !strings.Contains(err.Error(), "broken pipe") {
		t.Errorf("got %v", err)
	}
}

// Somebody empties the file because the disk is full, or removes it, without telling natd. The next lines are behind a header, in a file
// that has the name.
func TestFileIsTakenAway(t *testing.T) {
	t.Parallel()
	for name, take := range map[string]func(path string) error{
		"emptied": func(path string) error { return os.Truncate(path, 0) },
		"removed": os.Remove,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "flow.log")
			f := open(t, path, "header\n", 1)
			write(t, f, line+line)
			if err := take(path); err != nil {
				t.Fatal(err)
			}
			write(t, f, line)
			write(t, f, line)
			if got := contents(t, path); got != "header\n"+line+line {
				t.Errorf("the file has %q", got)
			}
			if names, _ := filepath.Glob(strings.TrimSuffix(path, ".log") + "-*"); len(names) > 0 {
				t.Errorf("put aside is %v", names)
			}
		})
	}
}
