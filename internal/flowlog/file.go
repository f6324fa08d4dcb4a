package flowlog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/DeRuina/timberjack"
	"golang.org/x/sys/unix"
)

// Modes of what natd makes: its group may read.
const (
	fileMode      = 0o640
	directoryMode = 0o750
)

// Options is where lines go and how much of them is kept.
type Options struct {
	Path    string
	Header  string // the first line of each file; "" for none
	MaxSize int64  // bytes of a file, then it is put aside
	Keep    int    // files that are put aside, compressed; 0 = the full file is removed
	Group   int    // that may read; -1 = whichever new files get
}

// File is a file of lines that does not grow without end. It is for one goroutine at a time.
//
// The library puts full files aside, compresses and removes them. Writing is natd's own, so that a line that a full disk cuts off can be
// taken back, and so that each file begins with a header.
type File struct {
	Options

	file    *os.File // nil while it could not be opened
	size    int64
	links   uint64 // its names; 0 for one that was removed
	rotator *timberjack.Logger
}

// Open opens the file, or makes it. Lines that another format wrote are put aside with their file: each has one header, on top.
func Open(o Options) (*File, error) {
	f := &File{Options: o}
	return f, f.open()
}

// open opens the file for what is to come. What is not wanted in it goes aside.
func (f *File) open() error {
	if err := os.MkdirAll(filepath.Dir(f.Path), directoryMode); err != nil {
		return fmt.Errorf("make the directory of the flow log: %s%w", f.hint(err), err)
	}
	file, err := os.OpenFile(f.Path, os.O_CREATE|os.O_RDWR|os.O_APPEND, fileMode)
	if err != nil {
		return fmt.Errorf("open the flow log: %s%w", f.hint(err), err)
	}
	f.file = file
	if err := f.adopt(); err != nil {
		return errors.Join(err, f.shut())
	}
	return nil
}

// hint is what to do about an error, in the words before it. What a service may not write to is a read-only file system to it
// (ProtectSystem= in systemd.exec(5)).
func (f *File) hint(err error) string {
	dir := filepath.Dir(f.Path)
	switch {
	case errors.Is(err, unix.EROFS):
		return fmt.Sprintf("natd's service may not write there; make %[1]s and give it to the user natd, "+
			"add ReadWritePaths=%[1]s to the unit (systemctl edit natd) and restart it: ", dir)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Sprintf("natd runs as user %d, who may not write there; give %s to that user, and see that the unit does not hide it: ", os.Geteuid(), dir)
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return "make room, or lower max_size and max_files: "
	}
	return ""
}

// adopt looks at what the file holds already.
func (f *File) adopt() error {
	if err := f.setSize(); err != nil {
		return err
	}
	if err := f.mend(); err != nil {
		return err
	}
	if f.size > 0 && !f.begins() {
		return f.rotate()
	}
	return f.head()
}

func (f *File) setSize() error {
	info, err := f.file.Stat()
	switch {
	case err != nil:
		return fmt.Errorf("look at the flow log: %w", err)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a file: the flow log needs one of its own", f.Path)
	}
	f.size, f.links = info.Size(), 1
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		f.links = uint64(stat.Nlink) //nolint:unconvert // it has 32 bits on arm64
	}
	return nil
}

// mend takes back a line that was cut off when an earlier natd was killed, or the machine lost power.
func (f *File) mend() error {
	const longest = 16 << 10
	tail := make([]byte, min(f.size, longest))
	if _, err := f.file.ReadAt(tail, f.size-int64(len(tail))); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the flow log: %w", err)
	}
	end := bytes.LastIndexByte(tail, '\n') + 1
	if end == len(tail) || end == 0 && f.size > longest {
		return nil
	}
	return f.truncate(f.size - int64(len(tail)-end))
}

// begins tells whether the file has the header of the lines that are to come; of JSON, which has none, whether it holds JSON.
func (f *File) begins() bool {
	want := f.Header
	if want == "" {
		want = "{"
	}
	head := make([]byte, len(want))
	_, err := f.file.ReadAt(head, 0)
	return err == nil && string(head) == want
}

// head writes the header into an empty file, and gives it to the group. The group is a convenience: who may not give files to it
// writes them all the same.
func (f *File) head() error {
	if f.size > 0 {
		return nil
	}
	if f.Group >= 0 {
		_ = f.file.Chown(-1, f.Group)
	}
	return f.append([]byte(f.Header))
}

// append writes all or nothing.
func (f *File) append(text []byte) error {
	n, err := f.file.Write(text)
	if err == nil {
		f.size += int64(n)
		return nil
	}
	err = fmt.Errorf("write the flow log: %s%w", f.hint(err), err)
	if n > 0 {
		err = errors.Join(err, f.truncate(f.size))
	}
	return err
}

func (f *File) truncate(size int64) error {
	if err := f.file.Truncate(size); err != nil {
		return fmt.Errorf("take half a line back out of the flow log: %w", err)
	}
	f.size = size
	return nil
}

// Write appends lines, all of them or none, in a new file when this one has no room for them. After an error it may be tried again
// with the same lines.
func (f *File) Write(lines []byte) error {
	if err := f.present(); err != nil {
		return err
	}
	full := f.size+int64(len(lines)) > f.MaxSize && f.size > int64(len(f.Header))
	if full {
		if err := f.rotate(); err != nil {
			return err
		}
	}
	if err := f.head(); err != nil { // it may have failed before
		return err
	}
	return f.append(lines)
}

// present makes sure that there is a file, and that what is known of it is so: somebody may have emptied or removed it to make room on a
// full disk.
func (f *File) present() error {
	if f.file != nil {
		if err := f.setSize(); err != nil {
			return err
		}
		if f.links > 0 {
			return nil
		}
	}
	return errors.Join(f.shut(), f.open())
}

// rotate puts the file aside and begins another one.
func (f *File) rotate() error {
	err := f.shut()
	if f.Keep == 0 {
		err = errors.Join(err, os.Remove(f.Path))
	} else {
		err = errors.Join(err, f.putAside())
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("put the flow log aside: %s%w", f.hint(err), err)
	}
	return f.open()
}

// putAside renames the file, has the old ones compressed and what is too many removed, and makes an empty one.
func (f *File) putAside() error {
	if f.rotator == nil {
		f.rotator = &timberjack.Logger{Filename: f.Path, MaxBackups: f.Keep, Compression: "gzip", FileMode: fileMode}
	}
	return f.rotator.RotateWithReason("full")
}

// Reopen closes the file and opens it by its name: it may have been moved away, by logrotate for example.
func (f *File) Reopen() error { return errors.Join(f.Close(), f.open()) }

// Close closes the file, once files that were put aside are compressed.
func (f *File) Close() error {
	err := f.shut()
	if f.rotator != nil {
		err = errors.Join(err, f.rotator.Close())
		f.rotator = nil
	}
	return err
}

func (f *File) shut() error {
	if f.file == nil {
		return nil
	}
	err := f.file.Close()
	f.file = nil
	return err
}
