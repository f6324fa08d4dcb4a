package lab

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// dirPrefix begins the name of every lab's directory. The name goes on with the owner's process id, for people,
	// and a random part, and it is the identity of the lab.
	dirPrefix = "natd-lab-"

	// markerVar is the environment variable that names the lab in everything that runs in it. Children inherit it,
	// however far they detach themselves.
	markerVar = "NATD_LAB"

	// killPatience is how long a killed process may take to go. It ends only when it leaves the kernel, and one that waits there for
	// the lock of all network devices waits for as long as the kernel takes the namespaces of others down: seconds on a busy machine.
	killPatience = time.Minute
)

// Reap removes what labs left whose owners died without closing them: directories, and programs that detached
// themselves. The lock on its directory tells whether a lab is alive, because the kernel drops it with the owner.
func Reap() error {
	dirs, err := filepath.Glob(filepath.Join(os.TempDir(), dirPrefix+"*"))
	if err != nil {
		return fmt.Errorf("looking for leftovers of labs in %s: %w", os.TempDir(), err)
	}
	var errs []error
	for _, dir := range dirs {
		lock, err := lockDir(dir)
		if err != nil {
			continue // alive, or gone in the meantime
		}
		errs = append(errs, killMarked(filepath.Base(dir)), os.RemoveAll(dir), lock.Close())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("removing leftovers of labs: %w", err)
	}
	return nil
}

// makeDir makes and locks the directory of a new lab. A Reap elsewhere can win the race for the lock of a directory
// just made and remove it; then the next one is tried.
func makeDir() (string, *os.File, error) {
	for {
		dir, err := os.MkdirTemp("", dirPrefix+strconv.Itoa(os.Getpid())+"-")
		if err != nil {
			return "", nil, fmt.Errorf("making the lab's directory: %w", err)
		}
		lock, err := lockDir(dir)
		if err == nil {
			return dir, lock, nil
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.EWOULDBLOCK) {
			return "", nil, err
		}
	}
}

// lockDir takes the lock of a lab's directory, or fails at once.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("opening the lab's directory: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		_, err = os.Stat(dir) // the previous holder may have removed it
	}
	if err != nil {
		return nil, fmt.Errorf("locking %s: %w", dir, errors.Join(err, f.Close()))
	}
	return f, nil
}

// killMarked kills everything that carries the lab's mark and waits until it is gone. It looks again after each round,
// because a process can fork between being found and being killed.
func killMarked(id string) error {
	deadline := time.Now().Add(killPatience)
	for {
		left, err := killRound([]byte(markerVar + "=" + id))
		if err != nil || len(left) == 0 {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("of %s there are still there after SIGKILL: %s", id, strings.Join(left, ", "))
		}
		time.Sleep(time.Millisecond)
	}
}

// killRound kills every process whose environment has the entry, and describes them.
func killRound(entry []byte) ([]string, error) {
	dirs, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("looking for processes: %w", err)
	}
	var killed []string
	for _, d := range dirs {
		pid, err := strconv.Atoi(d.Name())
		if err != nil {
			continue
		}
		if killIfMarked(pid, entry) {
			killed = append(killed, describe(pid))
		}
	}
	return killed, nil
}

// describe names a process, and says where in the kernel it is.
func describe(pid int) string {
	read := func(file string) string {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
		if err != nil {
			return "?"
		}
		return strings.TrimSpace(string(text))
	}
	return fmt.Sprintf("%s (process %d, in %s)", read("comm"), pid, read("wchan"))
}

// killIfMarked takes hold of the process first and then looks at its environment, so that the process killed is the
// one looked at, even if ids are reused. A process that is gone has an empty environment.
func killIfMarked(pid int, entry []byte) bool {
	p, err := os.FindProcess(pid)
	if err != nil {
		return false
	}
	defer p.Release() //nolint:errcheck // there is nothing to do about it
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return false
	}
	for e := range bytes.SplitSeq(env, []byte{0}) {
		if bytes.Equal(e, entry) {
			return p.Kill() == nil
		}
	}
	return false
}
