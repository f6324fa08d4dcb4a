package logfile

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
)

// MaxLine bounds a line, in bytes. Of a longer one the beginning is given, and the rest left out.
const MaxLine = 64 << 10

// Lines are the lines of a file.
type Lines struct{ from *bufio.Reader }

// NewLines reads from the beginning.
func NewLines(r io.Reader) *Lines { return &Lines{bufio.NewReaderSize(r, MaxLine)} }

// Next is the next line, without its end; it is valid until the next call. The error is io.EOF behind the last one.
func (l *Lines) Next() ([]byte, error) {
	line, err := l.from.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		line = bytes.Clone(line)
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = l.from.ReadSlice('\n')
		}
	}
	if errors.Is(err, io.EOF) && len(line) > 0 {
		err = nil
	}
	return bytes.TrimSuffix(line, []byte("\n")), err
}

// Tail is a log that is being written, as "tail -F" follows it: by its name, when it is rotated or truncated.
type Tail struct {
	path    string
	file    *os.File
	at      int64  // read so far
	pending []byte // of a line that is not complete
	skip    bool   // the line is too long, and its beginning was given
	chunk   []byte
}

// ErrIdle is for a log that was read up to its end: more may come.
var ErrIdle = errors.New("nothing more was written yet")

// Follow opens a log at its beginning.
func Follow(path string) (*Tail, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	return &Tail{path: path, file: f, chunk: make([]byte, MaxLine)}, nil
}

// Close closes the file.
func (t *Tail) Close() error { return t.file.Close() }

// Next is the next line, without its end; it is valid until the next call. A line that is not complete is not given, unless its file has
// been left for the next one.
func (t *Tail) Next() ([]byte, error) {
	for {
		if i := bytes.IndexByte(t.pending, '\n'); i >= 0 {
			line := t.pending[:i]
			t.pending = t.pending[i+1:]
			if skip := t.skip; skip {
				t.skip = false
				continue
			}
			return line, nil
		}
		if len(t.pending) >= MaxLine {
			line := t.pending
			t.pending = nil
			if t.skip {
				continue
			}
			t.skip = true
			return line, nil
		}
		if err := t.more(); err != nil {
			return nil, err
		}
	}
}

// more reads on, in the next file if this one was left. At the end of the log it is ErrIdle.
func (t *Tail) more() error {
	n, err := t.file.Read(t.chunk)
	if n > 0 {
		t.at += int64(n)
		t.pending = append(bytes.Clone(t.pending), t.chunk[:n]...) // lines that were given stay as they are until now
		return nil
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	own, err := t.file.Stat()
	if err != nil {
		return err
	}
	if own.Size() < t.at {
		t.at, t.pending = 0, nil
		_, err := t.file.Seek(0, io.SeekStart)
		return err
	}
	now, err := os.Stat(t.path)
	switch {
	case err != nil, os.SameFile(own, now):
		return ErrIdle // moved away, and the next one is not there yet
	case own.Size() > t.at:
		return nil // it grew meanwhile
	}
	next, err := os.Open(t.path)
	if err != nil {
		return ErrIdle
	}
	_ = t.file.Close()
	t.file, t.at = next, 0
	if len(t.pending) > 0 {
		t.pending = append(t.pending, '\n')
	}
	return nil
}
