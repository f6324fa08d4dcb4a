package netconf

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// fakeRoot is a directory of settings in the place of /proc/sys.
func fakeRoot(t *testing.T, settings map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for path, value := range settings {
		file := filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(value+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// fakeSysctls has the settings that most tests need, and its ledger in a directory of its own.
func fakeSysctls(t *testing.T) (s *Sysctls, ledgerFile string) {
	t.Helper()
	root := fakeRoot(t, map[string]string{
		"net/ipv4/ip_forward":              "0",
		"net/ipv4/conf/eth0/rp_filter":     "1",
		"net/ipv4/conf/eth0.100/rp_filter": "1",
		"net/ipv4/tcp_rmem":                "4096\t131072\t6291456",
	})
	ledgerFile = filepath.Join(t.TempDir(), "sysctl.json")
	return reopen(t, root, ledgerFile), ledgerFile
}

func reopen(t *testing.T, root, ledgerFile string) *Sysctls {
	t.Helper()
	s, err := openSysctls(root, ledgerFile, epoch{Boot: "boot-1", NetNS: 1})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// openReal opens the sysctls of the namespace of the calling thread.
func openReal(t *testing.T) *Sysctls {
	t.Helper()
	s, err := OpenSysctls(filepath.Join(t.TempDir(), "sysctl.json"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustSet(t *testing.T, s *Sysctls, key, value string) {
	t.Helper()
	if _, err := s.Set(key, value); err != nil {
		t.Fatal(err)
	}
}

func mustGet(t *testing.T, s *Sysctls, key string) string {
	t.Helper()
	value, err := s.Get(key)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// list is "KEY OLD NEW, ...".
func list(changes []Change) string {
	words := make([]string, 0, len(changes))
	for _, c := range changes {
		words = append(words, c.Key+" "+c.Old+" "+c.New)
	}
	return strings.Join(words, ", ")
}

func TestParseKey(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ key, path, name string }{
		{"net.ipv4.ip_forward", "net/ipv4/ip_forward", "net.ipv4.ip_forward"},
		{"net/ipv4/ip_forward", "net/ipv4/ip_forward", "net.ipv4.ip_forward"},
		{"net/ipv4/conf/eth0.100/rp_filter", "net/ipv4/conf/eth0.100/rp_filter", "net.ipv4.conf.eth0/100.rp_filter"},
		{"net.ipv4.conf.eth0/100.rp_filter", "net/ipv4/conf/eth0.100/rp_filter", "net.ipv4.conf.eth0/100.rp_filter"},
		{"net.ipv4.conf.eth0.rp_filter", "net/ipv4/conf/eth0/rp_filter", "net.ipv4.conf.eth0.rp_filter"},
		{"", "", ""},
		{"net..ipv4", "", ""},
		{"net/ipv4/../../kernel/panic", "", ""},
		{"net.ipv4.conf.//.rp_filter", "", ""},
		{"/net/ipv4/ip_forward", "", ""},
		{"net.ipv4.", "", ""},
	} {
		k, err := parseKey(test.key)
		if (err != nil) != (test.path == "") {
			t.Errorf("%q: error %v", test.key, err)
			continue
		}
		if err == nil && (k.path() != test.path || k.String() != test.name) {
			t.Errorf("%q: got %s and %s, want %s and %s", test.key, k.path(), k, test.path, test.name)
		}
	}
}

// FuzzParseKey checks that no key leads out of the root, and that names mean what they are printed for.
func FuzzParseKey(f *testing.F) {
	for _, seed := range []string{"net.ipv4.ip_forward", "net/ipv4/conf/eth0.1/x", "a/../b", "./..//.", "x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, key string) {
		k, err := parseKey(key)
		if err != nil {
			return
		}
		if !filepath.IsLocal(k.path()) {
			t.Errorf("%q leads to %q", key, k.path())
		}
		again, err := parseKey(k.String())
		if err != nil || again.path() != k.path() && len(k) > 1 {
			t.Errorf("%q is printed as %q, which is %q, %v", key, k, again, err)
		}
	})
}

func TestSet(t *testing.T) {
	t.Parallel()
	s, _ := fakeSysctls(t)
	var wrote []Change
	s.Wrote = func(c Change) { wrote = append(wrote, c) }
	for _, test := range []struct {
		key, value string
		changed    bool
	}{
		{"net.ipv4.ip_forward", "0", false},
		{"net.ipv4.ip_forward", "1", true},
		{"net/ipv4/ip_forward", "1", false},
		{"net.ipv4.tcp_rmem", "4096 131072 6291456", false}, // the kernel prints tabs
		{"net/ipv4/conf/eth0.100/rp_filter", "0", true},
		{"net.ipv4.conf.eth0/100.rp_filter", "2", true}, // the same setting again
	} {
		changed, err := s.Set(test.key, test.value)
		if err != nil || changed != test.changed {
			t.Errorf("set %s = %s: got %t, %v, want %t", test.key, test.value, changed, err, test.changed)
		}
		if got := mustGet(t, s, test.key); !same(got, test.value) {
			t.Errorf("after set %s = %s it is %s", test.key, test.value, got)
		}
	}
	want := "net.ipv4.conf.eth0/100.rp_filter 1 2, net.ipv4.ip_forward 0 1"
	if got := list(s.Changed()); got != want {
		t.Errorf("changed:\n got %s\nwant %s", got, want)
	}
	want = "net.ipv4.ip_forward 0 1, net.ipv4.conf.eth0/100.rp_filter 1 0, net.ipv4.conf.eth0/100.rp_filter 0 2"
	if got := list(wrote); got != want {
		t.Errorf("heard of:\n got %s\nwant %s", got, want)
	}
}

func TestSetErrors(t *testing.T) {
	t.Parallel()
	s, ledgerFile := fakeSysctls(t)
	for _, key := range []string{"net.ipv4.conf.eth7.rp_filter", "net.ipv4.nonsense"} {
		if _, err := s.Set(key, "1"); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), key) {
			t.Errorf("set %s: got %v, want that it does not exist", key, err)
		}
	}
	if _, err := s.Set("net..x", "1"); err == nil || !strings.Contains(err.Error(), `"net..x"`) {
		t.Errorf("a key that is none: got %v", err)
	}
	if _, err := os.Stat(ledgerFile); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the ledger was written although nothing changed: %v", err)
	}
	gone := reopen(t, s.root, filepath.Join(t.TempDir(), "no-such-directory", "sysctl.json"))
	if _, err := gone.Set("net.ipv4.ip_forward", "1"); err == nil || !strings.Contains(err.Error(), "state directory") {
		t.Errorf("without a state directory: got %v", err)
	}
	if got := mustGet(t, gone, "net.ipv4.ip_forward"); got != "0" {
		t.Errorf("the setting became %s although its old value could not be remembered", got)
	}
}

// TestSetRefused covers what only a kernel can say, with the settings of a real namespace.
func TestSetRefused(t *testing.T) {
	t.Parallel()
	newNamespace(t)
	s := openReal(t)
	mustSet(t, s, "net.ipv4.conf.lo.rp_filter", "1")
	if _, err := s.Set("net.ipv4.conf.lo.rp_filter", "nonsense"); !errors.Is(err, unix.EINVAL) ||
		!strings.Contains(err.Error(), "does not take this value") {
		t.Errorf("a value that is none: got %v", err)
	}
	readOnlySysctls(t)
	if changed, err := s.Set("net.ipv4.conf.lo.rp_filter", "1"); changed || err != nil {
		t.Errorf("read-only with the right value: got %t, %v", changed, err)
	}
	for _, key := range []string{"net.ipv4.conf.lo.rp_filter", "net.ipv4.ip_forward"} {
		if _, err := s.Set(key, "2"); !errors.Is(err, unix.EROFS) || !strings.Contains(err.Error(), "read-only") {
			t.Errorf("read-only with another value: got %v", err)
		}
	}
	want := "net.ipv4.conf.lo.rp_filter 0 1"
	if got := list(s.Changed()); got != want {
		t.Errorf("changed: got %s, want %s", got, want)
	}
	if back, err := s.Restore(); !errors.Is(err, unix.EROFS) || len(back) != 0 {
		t.Errorf("restore while read-only: got %v, %v", back, err)
	}
	if got := list(s.Changed()); got != want {
		t.Errorf("after a restore that failed the ledger holds %q, want %q", got, want)
	}
}

// readOnlySysctls makes /proc/sys read-only for the thread of the test, as containers have it.
func readOnlySysctls(t *testing.T) {
	t.Helper()
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		lacking(t, "make a mount namespace: %v", err)
	}
	for _, mount := range []struct {
		source, target string
		flags          uintptr
	}{
		{"none", "/", unix.MS_REC | unix.MS_PRIVATE},
		{"/proc/sys", "/proc/sys", unix.MS_BIND},
		{"none", "/proc/sys", unix.MS_BIND | unix.MS_REMOUNT | unix.MS_RDONLY},
	} {
		if err := unix.Mount(mount.source, mount.target, "", mount.flags, ""); err != nil {
			t.Fatalf("mount %+v: %v", mount, err)
		}
	}
}

// TestSetNotPermitted drops the right to change the network, and root's over the files.
func TestSetNotPermitted(t *testing.T) {
	t.Parallel()
	newNamespace(t)
	s := openReal(t)
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if err := unix.Capset(&header, &none[0]); err != nil { // of this thread, which ends with the test
		t.Fatal(err)
	}
	for _, key := range []string{"net.ipv4.ip_forward", "net.ipv4.conf.lo.accept_local"} {
		_, err := s.Set(key, "1")
		if !errors.Is(err, fs.ErrPermission) && err != nil || err != nil && !strings.Contains(err.Error(), "CAP_NET_ADMIN") {
			t.Errorf("set %s without capabilities: got %v", key, err)
		}
	}
	if got := mustGet(t, s, "net.ipv4.ip_forward"); got != "0" {
		t.Errorf("ip_forward is %s", got)
	}
}
