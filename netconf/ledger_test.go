package netconf

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLedgerLasts(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "sysctl.json")
	here := epoch{Boot: "boot-1", NetNS: 4026531840}
	l, err := openLedger(file, here)
	if err != nil {
		t.Fatal(err)
	}
	change := Change{Key: "net.ipv4.conf.all.accept_redirects", Old: "1", New: "0", Along: "net.ipv4.ip_forward"}
	if err := l.store(map[string]Change{change.Key: change}); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		now  epoch
		want int
	}{
		{"same boot and namespace", here, 1},
		{"after a reboot", epoch{Boot: "boot-2", NetNS: here.NetNS}, 0},
		{"in another namespace", epoch{Boot: here.Boot, NetNS: 1}, 0},
	} {
		again, err := openLedger(file, test.now)
		if err != nil || len(again.changes) != test.want || again.aside != "" {
			t.Errorf("%s: %v, %v, set aside to %q; want %d changes", test.name, again.changes, err, again.aside, test.want)
		}
		if test.want > 0 && again.changes[change.Key] != change {
			t.Errorf("%s: got %+v, want %+v", test.name, again.changes[change.Key], change)
		}
	}
}

// TestLedgerReplaced checks that the first change after a reboot does away with what was before it.
func TestLedgerReplaced(t *testing.T) {
	t.Parallel()
	s, ledgerFile := fakeSysctls(t)
	mustSet(t, s, "net.ipv4.ip_forward", "1")
	rebooted, err := openSysctls(s.root, ledgerFile, epoch{Boot: "boot-2", NetNS: 1})
	if err != nil {
		t.Fatal(err)
	}
	if back, err := rebooted.Restore(); err != nil || len(back) != 0 {
		t.Errorf("restored %s, %v from before the reboot", list(back), err)
	}
	mustSet(t, rebooted, "net.ipv4.conf.eth0.rp_filter", "2")
	content, err := os.ReadFile(ledgerFile)
	if err != nil || strings.Contains(string(content), "ip_forward") || !strings.Contains(string(content), "boot-2") {
		t.Errorf("the ledger after the reboot: %s, %v", content, err)
	}
}

func TestLedgerCorrupt(t *testing.T) {
	t.Parallel()
	for _, content := range []string{"", "{", "[]", `{"boot_id":"boot-1","netns":1,"changes":[{"key"`, "\x00\x00\x00"} {
		s, ledgerFile := fakeSysctls(t)
		if err := os.WriteFile(ledgerFile, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		s = reopen(t, s.root, ledgerFile)
		if kept, err := os.ReadFile(s.SetAside()); err != nil || string(kept) != content {
			t.Errorf("%q: set aside to %q: %q, %v", content, s.SetAside(), kept, err)
		}
		mustSet(t, s, "net.ipv4.ip_forward", "1")
		s = reopen(t, s.root, ledgerFile)
		if got, want := list(s.Changed()), "net.ipv4.ip_forward 0 1"; got != want || s.SetAside() != "" {
			t.Errorf("%q: afterwards %s, set aside %q; want %s", content, got, s.SetAside(), want)
		}
	}
}

// TestLedgerUnwritable keeps the old ledger and leaves no litter when the new one cannot be written.
func TestLedgerUnwritable(t *testing.T) {
	t.Parallel()
	s, ledgerFile := fakeSysctls(t)
	mustSet(t, s, "net.ipv4.ip_forward", "1")
	if err := os.Mkdir(ledgerFile+".new", 0o700); err != nil { // in the way of the temporary file
		t.Fatal(err)
	}
	if _, err := s.Set("net.ipv4.conf.eth0.rp_filter", "2"); err == nil || !strings.Contains(err.Error(), "not changed") {
		t.Errorf("got %v, want that it is not changed", err)
	}
	if got := mustGet(t, s, "net.ipv4.conf.eth0.rp_filter"); got != "1" {
		t.Errorf("the setting became %s", got)
	}
	if got, want := list(reopen(t, s.root, ledgerFile).Changed()), "net.ipv4.ip_forward 0 1"; got != want {
		t.Errorf("the ledger holds %s, want %s", got, want)
	}
	if err := os.Remove(ledgerFile + ".new"); err != nil {
		t.Fatal(err)
	}
	mustSet(t, s, "net.ipv4.conf.eth0.rp_filter", "2")
	if _, err := os.Stat(ledgerFile + ".new"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the temporary file is left over: %v", err)
	}
}

func TestCurrentEpoch(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t)
	other := otherNamespace(t)
	here, err := currentEpoch()
	if err != nil || here.Boot == "" || here.NetNS == 0 {
		t.Fatalf("got %+v, %v", here, err)
	}
	var again, elsewhere epoch
	if err := errors.Join(
		ns.run(func() (err error) { again, err = currentEpoch(); return err }),
		other.run(func() (err error) { elsewhere, err = currentEpoch(); return err }),
	); err != nil {
		t.Fatal(err)
	}
	if again != here {
		t.Errorf("the same namespace is %+v and %+v", here, again)
	}
	if elsewhere.Boot != here.Boot || elsewhere.NetNS == here.NetNS {
		t.Errorf("another namespace of this boot is %+v, this one is %+v", elsewhere, here)
	}
}
