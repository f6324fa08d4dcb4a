package netconf

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Sysctls reads and changes kernel settings, and remembers on disk what they were. It is for one goroutine at a time.
//
// Keys are written as sysctl.d(5) has them. The first separator decides: in net/ipv4/conf/eth0.100/rp_filter slashes
// separate and dots are part of names; in net.ipv4.conf.eth0/100.rp_filter, the same key, it is the other way
// round. Results have the second form, which sysctl(8) takes.
//
// /proc/sys/net shows the network namespace of the thread that looks, so one Sysctls serves one namespace.
type Sysctls struct {
	// Wrote, if it is set, hears of each setting that was given a value, with the one that it had just before. It hears neither
	// of what Restore does nor of what the kernel changes along.
	Wrote func(Change)

	root   string // "/proc/sys"
	ledger *ledger
}

// OpenSysctls reads the ledger, which need not be there yet; its directory must be, once something is
// to be changed. A ledger that another boot or another network namespace wrote restores nothing: the settings it speaks of
// are gone, or others'; see Unrestored. One that cannot be understood is set aside, see SetAside.
func OpenSysctls(ledgerFile string) (*Sysctls, error) {
	id, err := currentEpoch()
	if err != nil {
		return nil, err
	}
	return openSysctls("/proc/sys", ledgerFile, id)
}

func openSysctls(root, ledgerFile string, id epoch) (*Sysctls, error) {
	l, err := openLedger(ledgerFile, id)
	if err != nil {
		return nil, err
	}
	return &Sysctls{root: root, ledger: l}, nil
}

// SetAside is where a ledger went that could not be understood, "" when there was none. What it remembered
// will not be restored.
func (s *Sysctls) SetAside() string { return s.ledger.aside }

// Get returns a setting. White space separates the parts of one that has several. The error is fs.ErrNotExist
// when there is no such setting, as for an interface that went away.
func (s *Sysctls) Get(key string) (string, error) {
	k, err := parseKey(key)
	if err != nil {
		return "", err
	}
	return s.read(k)
}

// Set gives a setting a value. It tells whether it had to: a setting that has the value is not written to,
// so a /proc/sys that is read-only but right is no error. What the setting was before natd first changed it is on disk
// before the write.
func (s *Sysctls) Set(key, value string) (changed bool, err error) {
	return s.change(Change{Key: key, New: value})
}

// change writes one setting after it has put that, and what the kernel changes along with it, in the ledger.
func (s *Sysctls) change(own Change, along ...Change) (bool, error) {
	k, err := parseKey(own.Key)
	if err != nil {
		return false, err
	}
	old, err := s.read(k)
	if err != nil {
		return false, err
	}
	if same(old, own.New) {
		return false, nil
	}
	own.Key, own.Old = k.String(), old
	before := s.ledger.changes
	after := maps.Clone(before)
	for _, c := range append(along, own) {
		if first, ok := before[c.Key]; ok {
			c.Old = first.Old
		}
		after[c.Key] = c
	}
	if err := s.ledger.store(after); err != nil {
		return false, fmt.Errorf("set sysctl %s: not changed, because what it was cannot be remembered: %w", k, err)
	}
	if err := s.write(k, own.New); err != nil {
		return false, errors.Join(err, s.ledger.store(before))
	}
	if s.Wrote != nil {
		s.Wrote(own)
	}
	return true, nil
}

// Changed lists the settings that natd changed, by key.
func (s *Sysctls) Changed() []Change {
	changes := s.ledger.sorted()
	return slices.DeleteFunc(changes, func(c Change) bool { return same(c.Old, c.New) })
}

func (s *Sysctls) read(k sysctlKey) (string, error) {
	content, err := os.ReadFile(filepath.Join(s.root, k.path()))
	if err != nil {
		return "", fmt.Errorf("read sysctl %s: %s%w", k, remedy(err), err)
	}
	return strings.TrimSpace(string(content)), nil
}

func (s *Sysctls) write(k sysctlKey, value string) error {
	file, err := os.OpenFile(filepath.Join(s.root, k.path()), os.O_WRONLY|os.O_TRUNC, 0)
	if err == nil {
		_, err = file.WriteString(value + "\n")
		err = errors.Join(err, file.Close())
	}
	if err != nil {
		return fmt.Errorf("set sysctl %s = %s: %s%w", k, value, remedy(err), err)
	}
	return nil
}

// remedy is what the user can do about a setting that cannot be read or written.
func remedy(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "this kernel has no such setting, or there is no such interface: "
	case errors.Is(err, unix.EROFS):
		return "/proc/sys is read-only here; set it on the host of the container, " +
			"or give the service ProtectKernelTunables=no: "
	case errors.Is(err, fs.ErrPermission):
		return "natd needs CAP_NET_ADMIN in this network namespace; run it as root or give the service that capability: "
	case errors.Is(err, unix.EINVAL):
		return "the kernel does not take this value: "
	}
	return ""
}

// same compares values as the kernel does, which prints tabs where people write spaces.
func same(a, b string) bool { return slices.Equal(strings.Fields(a), strings.Fields(b)) }

// sysctlKey is the parts of a key, each the name of a file.
type sysctlKey []string

// parseKey reads a key in either notation of sysctl.d(5).
func parseKey(key string) (sysctlKey, error) {
	path := key
	if first := strings.IndexAny(key, "./"); first >= 0 && key[first] == '.' {
		path = swapSeparators(key)
	}
	parts := strings.Split(path, "/")
	for _, part := range parts {
		if part == "" || part == "." || part == ".." {
			return nil, fmt.Errorf("sysctl key %q: write it as net.ipv4.ip_forward or net/ipv4/ip_forward", key)
		}
	}
	return parts, nil
}

func (k sysctlKey) path() string { return strings.Join(k, "/") }

// String is the key with dots between the parts, and slashes for the dots in them.
func (k sysctlKey) String() string { return swapSeparators(k.path()) }

// swapSeparators turns one notation into the other.
func swapSeparators(key string) string { return strings.NewReplacer(".", "/", "/", ".").Replace(key) }
