package netconf

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"natd/internal/durable"
)

// Change is one setting that natd changed.
type Change struct {
	Key string `json:"key"`
	Old string `json:"old"` // before natd first changed it
	New string `json:"new"` // what natd made it

	// Along is the key that was written when the kernel changed this one by itself, "" for one that natd wrote.
	Along string `json:"along,omitempty"`

	// Before is the key that this one had to be changed before, "" for none: it gets its old value back only after that one.
	Before string `json:"before,omitempty"`
}

func byKey(a, b Change) int { return strings.Compare(a.Key, b.Key) }

// epoch is how long old values hold: until the machine boots, or the network namespace is another one.
type epoch struct {
	Boot  string `json:"boot_id"`
	NetNS uint64 `json:"netns"`
}

// ledger is the changes on disk. The file holds them before the settings do.
type ledger struct {
	file    string
	aside   string
	epoch   epoch
	changes map[string]Change

	elsewhere []Change // what the file said of another epoch
}

// ledgerJSON is a ledger as it stands in the file.
type ledgerJSON struct {
	epoch
	Changes []Change `json:"changes"`
}

func openLedger(file string, now epoch) (*ledger, error) {
	l := &ledger{file: file, epoch: now, changes: map[string]Change{}}
	content, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the ledger of sysctls: %w", err)
	}
	var stored ledgerJSON
	if json.Unmarshal(content, &stored) != nil {
		l.aside = file + ".corrupt"
		if err := os.Rename(file, l.aside); err != nil {
			return nil, fmt.Errorf("set the corrupt ledger of sysctls aside: %w", err)
		}
		return l, nil
	}
	if stored.epoch != now {
		l.elsewhere = stored.Changes
		return l, nil
	}
	for _, c := range stored.Changes {
		l.changes[c.Key] = c
	}
	return l, nil
}

func (l *ledger) sorted() []Change {
	return slices.SortedFunc(maps.Values(l.changes), byKey)
}

// store makes these the changes, on disk first. Whatever instant the machine stops at, the file is the old
// or the new one.
func (l *ledger) store(changes map[string]Change) error {
	if maps.Equal(changes, l.changes) {
		return nil
	}
	stored := ledgerJSON{epoch: l.epoch, Changes: slices.SortedFunc(maps.Values(changes), byKey)}
	content, err := json.MarshalIndent(stored, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the ledger of sysctls: %w", err)
	}
	if err := durable.Replace(l.file, append(content, '\n')); err != nil {
		return fmt.Errorf("write the ledger of sysctls (is the state directory there, writable and not full?): %w", err)
	}
	l.changes = changes
	return nil
}

// currentEpoch identifies the present boot, and the network namespace of the present thread.
func currentEpoch() (epoch, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return epoch{}, fmt.Errorf("identify the present boot: %w", err)
	}
	netns, err := namespaceID()
	if err != nil {
		return epoch{}, fmt.Errorf("identify the network namespace: %w", err)
	}
	return epoch{Boot: strings.TrimSpace(string(boot)), NetNS: netns}, nil
}

// namespaceID is the cookie of the network namespace (Linux 5.14), which is never given twice during a boot. Older
// kernels give only the inode, which the next namespace may get when this one is gone.
func namespaceID() (uint64, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("open a socket: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	cookie, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	if err == nil {
		return cookie, nil
	}
	if !errors.Is(err, unix.ENOPROTOOPT) {
		return 0, fmt.Errorf("ask for the cookie: %w", err)
	}
	var stat unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/net", &stat); err != nil {
		return 0, fmt.Errorf("stat /proc/thread-self/ns/net: %w", err)
	}
	return stat.Ino, nil
}
