package netconf

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// zero is a stranger who changes a setting below a fake root to 0.
func zero(t *testing.T, s *Sysctls, path string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.root, path), []byte("0\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestRestore(t *testing.T) {
	t.Parallel()
	const forward, filter = "net/ipv4/ip_forward", "net/ipv4/conf/eth0/rp_filter"
	for _, test := range []struct {
		name      string
		meanwhile func(t *testing.T, s *Sysctls)
		back      string
		forward   string
		filter    string
	}{
		{
			"nothing happened", func(*testing.T, *Sysctls) {},
			"net.ipv4.conf.eth0.rp_filter 1 2, net.ipv4.ip_forward 0 1", "0", "1",
		},
		{
			"somebody chose another value", func(t *testing.T, s *Sysctls) { zero(t, s, filter) },
			"net.ipv4.ip_forward 0 1", "0", "0",
		},
		{
			"somebody restored the old value", func(t *testing.T, s *Sysctls) { zero(t, s, forward) },
			"net.ipv4.conf.eth0.rp_filter 1 2", "0", "1",
		},
		{
			"natd changed it twice", func(t *testing.T, s *Sysctls) { mustSet(t, s, filter, "0") },
			"net.ipv4.conf.eth0.rp_filter 1 0, net.ipv4.ip_forward 0 1", "0", "1",
		},
		{
			"natd changed it again after somebody else", func(t *testing.T, s *Sysctls) {
				zero(t, s, filter)
				mustSet(t, s, filter, "2")
			},
			"net.ipv4.conf.eth0.rp_filter 1 2, net.ipv4.ip_forward 0 1", "0", "1",
		},
		{
			"the interface went away", func(t *testing.T, s *Sysctls) {
				if err := os.RemoveAll(filepath.Join(s.root, "net/ipv4/conf/eth0")); err != nil {
					t.Fatal(err)
				}
			},
			"net.ipv4.ip_forward 0 1", "0", "",
		},
	} {
		s, ledgerFile := fakeSysctls(t)
		mustSet(t, s, forward, "1")
		mustSet(t, s, filter, "2")
		test.meanwhile(t, s)
		s = reopen(t, s.root, ledgerFile) // natd died in between
		back, err := s.Restore()
		if err != nil || list(back) != test.back {
			t.Errorf("%s: got %s, %v, want %s", test.name, list(back), err, test.back)
		}
		if got := mustGet(t, s, forward); got != test.forward {
			t.Errorf("%s: %s is %s, want %s", test.name, forward, got, test.forward)
		}
		if got, _ := s.Get(filter); got != test.filter {
			t.Errorf("%s: %s is %s, want %s", test.name, filter, got, test.filter)
		}
		if again := reopen(t, s.root, ledgerFile); len(again.Changed()) != 0 {
			t.Errorf("%s: the ledger still holds %s", test.name, list(again.Changed()))
		}
	}
}

// TestUnrestored has a ledger of another boot id, as a container makes one up that its services do not see.
func TestUnrestored(t *testing.T) {
	t.Parallel()
	const forward, filter, vlan = "net/ipv4/ip_forward", "net/ipv4/conf/eth0/rp_filter", "net/ipv4/conf/eth0.100/rp_filter"
	s, ledgerFile := fakeSysctls(t)
	mustSet(t, s, forward, "1")
	mustSet(t, s, filter, "2")
	mustSet(t, s, vlan, "2")
	if got := s.Unrestored(); len(got) != 0 {
		t.Errorf("of this boot: got %s, want nothing", list(got))
	}
	zero(t, s, filter) // somebody else's by now
	for range 2 {      // it is said each time
		elsewhere, err := openSysctls(s.root, ledgerFile, epoch{Boot: "made-up", NetNS: 1})
		if err != nil {
			t.Fatal(err)
		}
		if back, err := elsewhere.Restore(); err != nil || len(back) != 0 {
			t.Errorf("restored %s, %v", list(back), err)
		}
		if got, want := list(elsewhere.Unrestored()), "net.ipv4.conf.eth0/100.rp_filter 1 2, net.ipv4.ip_forward 0 1"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// TestLedgerFirst cuts natd off between the ledger and the write.
func TestLedgerFirst(t *testing.T) {
	t.Parallel()
	s, ledgerFile := fakeSysctls(t)
	mustSet(t, s, "net.ipv4.ip_forward", "1")
	zero(t, s, "net/ipv4/ip_forward") // as if the write had never been
	s = reopen(t, s.root, ledgerFile)
	if back, err := s.Restore(); err != nil || len(back) != 0 {
		t.Errorf("got %s, %v, want nothing to restore", list(back), err)
	}
	mustSet(t, s, "net.ipv4.ip_forward", "1")
	if got, want := list(s.Changed()), "net.ipv4.ip_forward 0 1"; got != want {
		t.Errorf("set after that: got %s, want %s", got, want)
	}
}

// TestLedgerBeforeSetting catches a change in the act: the setting is a pipe, where natd waits for somebody
// who reads what it writes.
func TestLedgerBeforeSetting(t *testing.T) {
	t.Parallel()
	s, ledgerFile := fakeSysctls(t)
	pipe := filepath.Join(s.root, "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := s.Set("pipe", "1")
		done <- err
	}()
	if err := os.WriteFile(pipe, []byte("0\n"), 0); err != nil { // the old value
		t.Fatal(err)
	}
	eventually(t, "the ledger has the change while the setting has not", func() bool {
		l, err := openLedger(ledgerFile, s.ledger.epoch)
		return err == nil && l.changes["pipe"] == Change{Key: "pipe", Old: "0", New: "1"}
	})
	if got, err := os.ReadFile(pipe); err != nil || string(got) != "1\n" {
		t.Errorf("written: %q, %v", got, err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestRestoreNothing needs no state directory when there is nothing to restore.
func TestRestoreNothing(t *testing.T) {
	t.Parallel()
	s := reopen(t, t.TempDir(), filepath.Join(t.TempDir(), "absent", "sysctl.json"))
	if back, err := s.Restore(); err != nil || len(back) != 0 {
		t.Errorf("got %s, %v", list(back), err)
	}
}
