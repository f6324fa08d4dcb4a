package vm

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Cache is a directory of images. It is locked while it is open: two runs at once would build the same images.
type Cache struct {
	dir      string
	progress func(string)
	lock     *os.File
}

// OpenCache opens the cache in a directory and makes it if need be. It waits for another run that has it open. progress is
// told what takes long.
func OpenCache(dir string, progress func(string)) (*Cache, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the cache of images: %w", err)
	}
	lock, err := os.Create(filepath.Join(dir, "lock"))
	if err != nil {
		return nil, fmt.Errorf("make the lock of the cache: %w", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("lock the cache of images: %w", err), lock.Close())
	}
	return &Cache{dir: dir, progress: progress, lock: lock}, nil
}

// Close lets others use the cache.
func (c *Cache) Close() error { return c.lock.Close() }

// image returns the directory of the named image. It calls build, with the directory to fill, unless the image is there
// already and was made from the same inputs.
func (c *Cache) image(name string, inputs []string, build func(dir string) error) (string, error) {
	sum := sha256.Sum256([]byte(strings.Join(inputs, "\x00")))
	key := hex.EncodeToString(sum[:])
	dir := filepath.Join(c.dir, name)
	keyFile := filepath.Join(dir, "key")
	if have, err := os.ReadFile(keyFile); err == nil && string(have) == key {
		return dir, nil
	}
	c.progress("building the image " + name + " ...")
	start := time.Now()
	next := dir + ".next"
	err := errors.Join(os.RemoveAll(next), os.Mkdir(next, 0o755))
	if err == nil {
		err = build(next)
	}
	if err == nil {
		err = errors.Join(os.WriteFile(filepath.Join(next, "key"), []byte(key), 0o644), os.RemoveAll(dir), os.Rename(next, dir))
	}
	if err != nil {
		return "", errors.Join(fmt.Errorf("build the image %s: %w", name, err), os.RemoveAll(next))
	}
	c.progress(fmt.Sprintf("built the image %s in %.0f s", name, time.Since(start).Seconds()))
	return dir, nil
}

// run runs a program; the error has what it wrote.
func run(ctx context.Context, name string, args ...string) error {
	_, err := output(ctx, nil, name, args...)
	return err
}

// output runs a program with additional environment variables and returns what it wrote to its standard output.
func output(ctx context.Context, env []string, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, strings.TrimSpace(out.String()+errs.String()))
	}
	return out.String(), nil
}

// ext4 makes an image of that many MiB from a directory. Without a journal: a machine's disks live for one run.
func ext4(ctx context.Context, image, dir string, size int) error {
	if err := run(ctx, "truncate", "-s", fmt.Sprintf("%dM", size), image); err != nil {
		return err
	}
	return run(ctx, "mkfs.ext4", "-q", "-F", "-m0", "-O", "^has_journal,^metadata_csum,^64bit", "-E", "root_owner=0:0,lazy_itable_init=1", "-d", dir, image)
}
