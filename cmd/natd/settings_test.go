package main

import (
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"natd/internal/control"
	"natd/internal/lab"
)

// settings reads every network setting of a host but those that the kernel counts in.
func settings(t testing.TB, h *lab.Host) map[string]string {
	t.Helper()
	values := make(map[string]string)
	const root = "/proc/sys/net"
	err := h.Do(func() error {
		return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			key := strings.ReplaceAll(strings.TrimPrefix(path, "/proc/sys/"), "/", ".")
			if value, err := os.ReadFile(path); err == nil && !strings.HasSuffix(key, "_count") {
				values[key] = strings.TrimSpace(string(value))
			}
			return nil
		})
	})
	lab.Check(t, err)
	return values
}

// sameSettings fails the test for every setting that changed but those of allowed, by their new value.
func sameSettings(t testing.TB, before, after, allowed map[string]string) {
	t.Helper()
	for _, key := range slices.Sorted(maps.Keys(before)) {
		if now, ok := after[key]; ok && now != before[key] && now != allowed[key] {
			t.Errorf("%s was %q and is %q", key, before[key], now)
		}
	}
}

// TestHostSettings changes what the relays need, nothing else, and takes it back.
func TestHostSettings(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	lab.Check(t, lab.Connect(lab.End{Host: b.R, Name: "b2"}, lab.End{Host: b.B, Name: "ens6"}))
	lab.Check(t, b.B.SetSysctl("net.ipv4.conf.all.send_redirects", "1"))
	lab.Check(t, b.B.SetSysctl("net.ipv4.conf.ens5.send_redirects", "1"))
	before := settings(t, b.B)
	b.start(echoRelay())
	after := settings(t, b.B)
	const allForwarding = "net.ipv4.conf.all.forwarding" // ip_forward by another name
	allowed := map[string]string{
		"net.ipv4.ip_forward": "1", "net.ipv4.conf.all.accept_redirects": "0",
		"net.ipv4.conf.all.send_redirects": "0", "net.ipv4.conf.ens5.send_redirects": "0",
		"net.netfilter.nf_conntrack_acct": "1",
	}
	for key, want := range allowed {
		if after[key] != want {
			t.Errorf("%s is %s, want %s", key, after[key], want)
		}
	}
	for key := range before { // the kernel sets these along with ip_forward
		if strings.HasPrefix(key, "net.ipv4.conf.") && strings.HasSuffix(key, ".forwarding") && key != allForwarding {
			allowed[key] = "1"
		}
	}
	changed := maps.Clone(allowed)
	changed[allForwarding] = "1"
	sameSettings(t, before, after, changed)
	for _, c := range b.status().Host.Sysctls {
		if before[c.Key] != c.Old || after[c.Key] != c.New {
			t.Errorf("status says that %s went from %s to %s, it went from %s to %s", c.Key, c.Old, c.New, before[c.Key], after[c.Key])
		}
		delete(allowed, c.Key)
	}
	if len(allowed) > 0 {
		t.Errorf("status does not tell of %v", allowed)
	}
	if _, errs, code := b.natctl("flush"); code != control.CodeOK {
		t.Fatalf("natctl flush exits %d: %s", code, errs)
	}
	sameSettings(t, before, settings(t, b.B), nil)
}

// TestReloadTellsSettings wants a reload to name the settings that it changed, as plan did before and flush does after it.
func TestReloadTellsSettings(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.start(echoRelay("enabled = false"))
	for _, verb := range []string{"plan", "reload", "status"} {
		b.step([]string{verb}, control.CodeOK, "note: every relay is disabled\n")
	}
	b.configure(echoRelay())
	b.step([]string{"plan"}, control.CodeOK, "set sysctl net.ipv4.ip_forward = 1 (now 0)\n")
	b.step([]string{"reload"}, control.CodeOK, "  set sysctl net.ipv4.ip_forward = 1 (was 0)\n")
	b.step([]string{"reload"}, control.CodeOK, "nothing to change in the kernel\n")
	if want := `msg="sysctl changed" key=net.ipv4.ip_forward old=0 new=1`; strings.Count(b.natd.Log(), want) != 1 {
		t.Errorf("natd does not write once %s:\n%s", want, b.natd.Log())
	}
	b.step([]string{"flush"}, control.CodeOK, "sysctl net.ipv4.ip_forward = 0 again")
}

// TestFlushOfAnotherBoot flushes where the ledger is of another boot id, as in a container that natd's sandbox sees as another:
// what natd changed cannot be told from what others did, so it stays, and flush says what it was.
func TestFlushOfAnotherBoot(t *testing.T) {
	t.Parallel()
	for _, running := range []bool{true, false} {
		t.Run(fmt.Sprintf("running=%v", running), func(t *testing.T) {
			t.Parallel()
			b := newBox(t)
			b.start(echoRelay())
			b.kill()
			ledger := filepath.Join(b.dir, "state", "sysctls.json")
			content, err := os.ReadFile(ledger)
			lab.Check(t, err)
			lab.Check(t, os.WriteFile(ledger, regexp.MustCompile(`"boot_id": ".*"`).ReplaceAll(content, []byte(`"boot_id": "made-up"`)), 0o600))
			if running {
				b.launch()
				b.awaitReady()
			}
			out, errs, code := b.natctl("flush", "--state", filepath.Dir(ledger))
			for _, want := range []string{"are not restored: ", "net.ipv4.ip_forward was 0", "net.netfilter.nf_conntrack_acct was 0"} {
				if code != control.CodeOK || !strings.Contains(out, want) {
					t.Errorf("natctl flush exits %d and does not say %q:\n%s%s", code, want, out, errs)
				}
			}
			if value, err := b.B.Sysctl("net.ipv4.ip_forward"); err != nil || value != "1" {
				t.Errorf("net.ipv4.ip_forward is %q (%v), want 1", value, err)
			}
			if running && !strings.Contains(b.natd.Log(), "are not restored") {
				t.Errorf("natd does not tell:\n%s", b.natd.Log())
			}
		})
	}
}

// TestConntrackMax asks for what only the first network namespace can set.
func TestConntrackMax(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	echo(t, b.C, "tcp", "10.3.0.100:7")
	b.configure("[host]\nconntrack_max = 12345\n" + echoRelay())
	b.launch()
	b.awaitDegraded("net.netfilter.nf_conntrack_max")
	b.awaitRelays(map[string]string{"echo": ""})
	lab.Check(t, reach(t, b.A, "tcp", "10.2.0.100:7", patience))
}

// TestForbiddenForwarding leaves ip_forward to the administrator, and tells what that means.
func TestForbiddenForwarding(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	echo(t, b.C, "tcp", "10.3.0.100:7")
	b.configure("[host]\nip_forward = false\n" + echoRelay())
	b.launch()
	off := map[string]string{"echo": "does not forward"}
	b.awaitDegraded("ip_forward = false")
	b.awaitRelays(off)
	if value, err := b.B.Sysctl("net.ipv4.ip_forward"); err != nil || value != "0" {
		t.Errorf("net.ipv4.ip_forward is %s (%v), want 0", value, err)
	}
	lab.Check(t, b.B.SetSysctl("net.ipv4.ip_forward", "1"))
	b.awaitReady()
	lab.Check(t, reach(t, b.A, "tcp", "10.2.0.100:7", patience))
	lab.Check(t, b.B.SetSysctl("net.ipv4.ip_forward", "0"))
	b.awaitDegraded("ip_forward = false")
	b.awaitRelays(off)
}

// TestReversePath has clients come in by another interface than answers to them leave by.
func TestReversePath(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	echo(t, b.C, "tcp", "10.3.0.100:7")
	lab.Check(t, lab.Connect(
		lab.End{Host: b.R, Name: "b2", Addrs: []netip.Prefix{netip.MustParsePrefix("10.2.1.1/24")}},
		lab.End{Host: b.B, Name: "ens6", Addrs: []netip.Prefix{netip.MustParsePrefix("10.2.1.100/24")}}))
	for _, link := range []string{lab.Device, "ens6"} {
		lab.Check(t, b.B.SetSysctl("net.ipv4.conf."+link+".rp_filter", "1"))
	}
	b.start(echoRelay(`from = ["10.1.0.0/16"]`) + relayText("asymmetric", "10.2.1.100:7", "tcp", `from = ["10.1.0.0/16"]`))
	lab.Check(t, reach(t, b.A, "tcp", "10.2.1.100:7", patience))
	lab.Check(t, reach(t, b.A, "tcp", "10.2.0.100:7", patience))
	for link, want := range map[string]string{"ens6": "2", lab.Device: "1", "all": "0", "default": "0", "lo": "0"} {
		if got, err := b.B.Sysctl("net.ipv4.conf." + link + ".rp_filter"); err != nil || got != want {
			t.Errorf("rp_filter of %s is %s (%v), want %s", link, got, err, want)
		}
	}
}
