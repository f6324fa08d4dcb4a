package logfile

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

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// write makes a file, compressed if its name says so, that was last written so many minutes ago.
func write(t testing.TB, path, text string, minutes int) {
	t.Helper()
	f, err := os.Create(path)
	check(t, err)
	defer f.Close()
	if strings.HasSuffix(path, compressed) {
		z := gzip.NewWriter(f)
		_, err = io.WriteString(z, text)
		check(t, errors.Join(err, z.Close()))
	} else {
		_, err = io.WriteString(f, text)
		check(t, err)
	}
	at := time.Now().Add(-time.Duration(minutes) * time.Minute)
	check(t, os.Chtimes(path, at, at))
}

// TestFiles wants the parts of a log in the order in which they were written, and nothing else.
func TestFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	log := filepath.Join(dir, "flow.log")
	stamped := func(minutes int) string {
		return "flow-" + time.Now().UTC().Add(-time.Duration(minutes)*time.Minute).Format("2006-01-02T15-04-05.000")
	}
	for name, minutes := range map[string]int{
		"flow.log": 0, "flow.log.1": 10, "flow.log.2.gz": 20, "flow.log-20260101": 70, "flow.log.bak": 1, "flow.log.": 1, "flows.log": 1,
		"flow-notes.log": 1, "other.log.1": 1, "flow.log.3": 30, "flow.log.3.gz": 29, // is being compressed
	} {
		write(t, filepath.Join(dir, name), name, minutes)
	}
	late := stamped(40) + ".log.gz"
	write(t, filepath.Join(dir, late), late, 5) // was compressed when natd was started again
	sized := stamped(50) + "-size.log"
	write(t, filepath.Join(dir, sized), sized, 50)
	check(t, os.Mkdir(filepath.Join(dir, "flow.log.9"), 0o700))

	files, err := Files(log)
	check(t, err)
	var names []string
	for _, f := range files {
		names = append(names, filepath.Base(f.Path))
		r, err := Open(f.Path)
		check(t, err)
		text, err := io.ReadAll(r)
		check(t, errors.Join(err, r.Close()))
		if string(text) != filepath.Base(f.Path) {
			t.Errorf("%s holds %q", f.Path, text)
		}
	}
	if want := []string{"flow.log-20260101", sized, late, "flow.log.3", "flow.log.2.gz", "flow.log.1"}; !slices.Equal(names, want) {
		t.Errorf("got  %q\nwant %q", names, want)
	}
}

func TestOpenDamaged(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "flow.log.1.gz")
	check(t, os.WriteFile(path, []byte("not compressed at all"), 0o600))
	if _, err := Open(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
}

func TestLines(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", MaxLine+5)
	lines := NewLines(strings.NewReader("a\n\n" + long + "\nb"))
	var got []string
	for {
		line, err := lines.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		check(t, err)
		got = append(got, string(line))
	}
	if want := []string{"a", "", long[:MaxLine], "b"}; !slices.Equal(got, want) {
		t.Errorf("got %.20q", got)
	}
}

// lines takes all that there is now.
func (t *Tail) lines(tb testing.TB) (got []string) {
	tb.Helper()
	for {
		line, err := t.Next()
		if errors.Is(err, ErrIdle) {
			return got
		}
		check(tb, err)
		got = append(got, string(line))
	}
}

func add(t testing.TB, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	check(t, err)
	_, err = io.WriteString(f, text)
	check(t, errors.Join(err, f.Close()))
}

// TestTail follows a log through all that happens to logs.
func TestTail(t *testing.T) {
	t.Parallel()
	log := filepath.Join(t.TempDir(), "flow.log")
	add(t, log, "1\n2\nha")
	tail, err := Follow(log)
	check(t, err)
	defer tail.Close()
	old, err := os.OpenFile(log, os.O_APPEND|os.O_WRONLY, 0)
	check(t, err)
	defer old.Close()
	long := strings.Repeat("x", 3*MaxLine)
	for _, step := range []struct {
		what string
		do   func()
		want []string
	}{
		{"what was there", func() {}, []string{"1", "2"}},
		{"nothing", func() {}, nil},
		{"a half line is completed", func() { add(t, log, "lf\n3\n") }, []string{"half", "3"}},
		{"a line that is too long", func() { add(t, log, long+"\n4\n") }, []string{long[:MaxLine], "4"}},
		{"it is put aside, and still written to", func() {
			check(t, os.Rename(log, log+".1"))
			_, err := old.WriteString("5\n")
			check(t, err)
		}, []string{"5"}},
		{"the next one comes, after a last word in the old one", func() {
			_, err := old.WriteString("6\ncut off")
			check(t, err)
			add(t, log, "7\n")
		}, []string{"6", "cut off", "7"}},
		{"it is truncated", func() {
			check(t, os.Truncate(log, 0))
			add(t, log, "8")
		}, nil},
		{"and goes on", func() { add(t, log, "\n") }, []string{"8"}},
		{"it is deleted", func() { check(t, os.Remove(log)) }, nil},
		{"and comes back", func() { add(t, log, "9\n") }, []string{"9"}},
	} {
		step.do()
		if got := tail.lines(t); !slices.Equal(got, step.want) {
			t.Errorf("%s: got %.20q, want %.20q", step.what, got, step.want)
		}
	}
}
