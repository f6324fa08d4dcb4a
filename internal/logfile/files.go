// Package logfile reads logs that are rotated: the file and those that were put aside, compressed or not, and what is written
// to it from now on.
package logfile

import (
	"cmp"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// File is a log, or a part of it that was put aside.
type File struct {
	Path string
	Last time.Time // when it was written to, or put aside: nothing in it is newer
	info fs.FileInfo
}

const compressed = ".gz"

// Files lists the parts of a log that were put aside, the oldest first, without the log itself. What has the names that lumberjack
// (flow-TIME.log.gz) and logrotate (flow.log.2.gz, flow.log-20261121) give is taken for a part.
func Files(path string) ([]File, error) {
	dir, name := filepath.Split(path)
	entries, err := os.ReadDir(cmp.Or(dir, "."))
	if err != nil {
		return nil, fmt.Errorf("list the parts of the log: %w", err)
	}
	names := make(map[string]bool, len(entries))
	for _, e := range entries {
		names[e.Name()] = true
	}
	var files []File
	for _, e := range entries {
		// Beside its original, a compressed part is not finished.
		if !part(name, e.Name()) || names[strings.TrimSuffix(e.Name(), compressed)] && strings.HasSuffix(e.Name(), compressed) {
			continue
		}
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			files = append(files, File{Path: dir + e.Name(), Last: last(name, e.Name(), info), info: info})
		}
	}
	slices.SortFunc(files, func(a, b File) int { return cmp.Or(a.Last.Compare(b.Last), cmp.Compare(b.Path, a.Path)) })
	return files, nil
}

// part tells whether a file is a part of the log that was put aside.
func part(log, name string) bool {
	name = strings.TrimSuffix(name, compressed)
	if rest, ok := strings.CutPrefix(name, log); ok {
		return len(rest) > 1 && (rest[0] == '.' || rest[0] == '-') && strings.Trim(rest[1:], "0123456789-") == ""
	}
	ext := filepath.Ext(log)
	stem := strings.TrimSuffix(log, ext)
	return strings.HasSuffix(name, ext) && !stamp(stem, name).IsZero()
}

// stamp is the time that lumberjack and its kin put into a name, as in flow-2026-11-21T07-49-10.123.log, in UTC; the zero time
// where there is none.
func stamp(stem, name string) time.Time {
	const layout = "2006-01-02T15-04-05.000"
	rest, ok := strings.CutPrefix(name, stem+"-")
	if !ok || len(rest) < len(layout) {
		return time.Time{}
	}
	t, err := time.Parse(layout, rest[:len(layout)])
	if err != nil {
		return time.Time{}
	}
	return t
}

// last is the time of a name, or else that of the file: one is compressed later than it was put aside.
func last(log, name string, info fs.FileInfo) time.Time {
	if t := stamp(strings.TrimSuffix(log, filepath.Ext(log)), name); !t.IsZero() {
		return t
	}
	return info.ModTime()
}

// Reader is an open file, or what it holds when it is compressed.
type Reader struct {
	io.Reader
	file *os.File
	info fs.FileInfo
}

// Close closes the file.
func (r *Reader) Close() error { return r.file.Close() }

// Is tells whether the reader reads this part, under whatever name it was opened.
func (r *Reader) Is(f File) bool { return os.SameFile(r.info, f.info) }

// Open opens a file to be read from its beginning. That a name ends in .gz says that it is compressed.
func Open(path string) (*Reader, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	r, err := reader(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return r, nil
}

// OpenPart is Open for a part that Files has found. It may have been compressed since then.
func OpenPart(path string) (*Reader, error) {
	r, err := Open(path)
	if errors.Is(err, fs.ErrNotExist) && !strings.HasSuffix(path, compressed) {
		return Open(path + compressed)
	}
	return r, err
}

func reader(f *os.File) (*Reader, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	r := &Reader{Reader: f, file: f, info: info}
	if strings.HasSuffix(f.Name(), compressed) {
		if r.Reader, err = gzip.NewReader(f); err != nil {
			return nil, fmt.Errorf("read %s: %w", f.Name(), err)
		}
	}
	return r, nil
}
