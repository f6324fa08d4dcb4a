// Package durable writes the files of the state directory.
package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Replace replaces the content of a file durably: rename(2) is atomic, and fsync(2) of the file before and of the
// directory after it puts both on disk. The file is for its owner alone, who is that of the directory.
func Replace(name string, content []byte) error {
	temporary := name + ".new"
	if err := unix.Unlink(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// O_EXCL: root may write here in a directory of another user, and must not follow a link that it finds.
	file, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	if err := errors.Join(err, giveAway(file), file.Sync(), file.Close()); err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	if err := os.Rename(temporary, name); err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	directory, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	return errors.Join(directory.Sync(), directory.Close())
}

// ErrChanged says that a file is not as it was left.
var ErrChanged = errors.New("somebody else has changed the file")

// Append appends to a file of that size durably. After an error part of the content may be there.
func Append(name string, size int64, content []byte) error {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	switch {
	case err != nil:
	case info.Size() != size:
		err = fmt.Errorf("%s: %w", name, ErrChanged)
	default:
		if _, err = file.Write(content); err == nil {
			err = file.Sync()
		}
	}
	return errors.Join(err, file.Close())
}

// giveAway gives a file that root made to the owner of its directory: after a "natctl flush" without a running natd, the
// natd of the unit, which is not root, must be able to read it.
func giveAway(file *os.File) error {
	if os.Geteuid() != 0 {
		return nil
	}
	var directory unix.Stat_t
	if err := unix.Stat(filepath.Dir(file.Name()), &directory); err != nil {
		return fmt.Errorf("find the owner of the directory of %s: %w", file.Name(), err)
	}
	return file.Chown(int(directory.Uid), int(directory.Gid))
}
