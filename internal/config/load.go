package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// maxSize is three times what 100,000 relays take.
const maxSize = 32 << 20

// attempts is how often a file is read that changes meanwhile. One that is written for longer is refused.
const attempts = 3

// Load reads and checks a configuration file. Its error is of type Errors.
func Load(path string) (*Config, error) { return new(Parser).Load(path) }

// Load reads and checks a configuration file. Its error is of type Errors.
func (p *Parser) Load(path string) (*Config, error) {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	data, err := readFile(path)
	if err != nil {
		return nil, Errors{{File: path, Rule: "cannot be read: " + explain(path, err), cause: err}}
	}
	return p.Parse(path, data)
}

// errChanged tells that the file was written while it was read.
var errChanged = errors.New("it changes while it is read; write it beside, then rename it")

// readFile reads a file that did not change meanwhile.
func readFile(path string) (data []byte, err error) {
	for range attempts {
		if data, err = readOnce(path); !errors.Is(err, errChanged) {
			break
		}
	}
	return data, err
}

func readOnce(path string) ([]byte, error) {
	// O_NONBLOCK: a FIFO without a writer must not hold up the daemon (open(2)). Go sets O_CLOEXEC itself.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readStable(f, f)
}

// readStable reads all of f through r, which is f outside tests, and compares f before and after.
func readStable(f *os.File, r io.Reader) ([]byte, error) {
	before, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !before.Mode().IsRegular() {
		return nil, fmt.Errorf("it is %s, not a regular file", kind(before.Mode()))
	}
	if err := checkSize(before.Size()); err != nil {
		return nil, err
	}
	data := bytes.NewBuffer(make([]byte, 0, before.Size()+bytes.MinRead))
	if _, err := data.ReadFrom(io.LimitReader(r, maxSize+1)); err != nil {
		return nil, err
	}
	size := int64(data.Len())
	if err := checkSize(size); err != nil {
		return nil, err
	}
	after, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if size != before.Size() || size != after.Size() || !before.ModTime().Equal(after.ModTime()) {
		return nil, errChanged
	}
	return data.Bytes(), nil
}

func checkSize(size int64) error {
	if size > maxSize {
		return fmt.Errorf("it has %d bytes, more than the limit of %d (32 MiB)", size, maxSize)
	}
	return nil
}

// kind says what a file is that is not regular.
func kind(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "a directory"
	case mode&fs.ModeNamedPipe != 0:
		return "a FIFO"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	case mode&fs.ModeDevice != 0:
		return "a device"
	}
	return "something else"
}

// explain says what the user can do about a file that cannot be read.
func explain(path string, err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if target, linkErr := os.Readlink(path); linkErr == nil {
			return fmt.Sprintf("it is a symbolic link to %s, which does not exist", show(target))
		}
		return "no such file or directory"
	case errors.Is(err, fs.ErrPermission):
		return fmt.Sprintf("permission denied for uid %d; its owner or root can allow it (chmod, chown)", os.Geteuid())
	case errors.Is(err, syscall.ENXIO):
		if info, statErr := os.Stat(path); statErr == nil { // a socket cannot even be opened
			return fmt.Sprintf("it is %s, not a regular file", kind(info.Mode()))
		}
	}
	if at, ok := errors.AsType[*fs.PathError](err); ok {
		return at.Err.Error()
	}
	return err.Error()
}
