package netconf

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// snapshot reads all IPv4 settings of the calling thread's namespace: ip_forward and every setting of every interface.
func snapshot(t *testing.T) map[string]string {
	t.Helper()
	settings := settingsBelow(t, "/proc/sys/net/ipv4/conf")
	settings["ip_forward"] = readSysctl(t, "net/ipv4/ip_forward")
	return settings
}

// settingsBelow reads every setting in a directory that can be read.
func settingsBelow(t *testing.T, root string) map[string]string {
	t.Helper()
	settings := make(map[string]string)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if errors.Is(err, unix.EIO) {
			return nil // stable_secret, which nobody has set
		}
		settings[path[len(root)+1:]] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return settings
}

// differences lists the settings that differ, as "NAME OLD NEW".
func differences(before, after map[string]string) []string {
	var found []string
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if after[name] != before[name] {
			found = append(found, name+": "+before[name]+" -> "+after[name])
		}
	}
	return found
}

// settingsOfOthers is a host whose administrator has settings of his own in everything that ip_forward touches.
func settingsOfOthers(t *testing.T) {
	t.Helper()
	ip(t, "link add eth0 type veth peer name eth0.100")
	ip(t, "link add eth1 type veth peer name eth2")
	for path, value := range map[string]string{
		"all/accept_redirects":      "0",
		"eth0/accept_redirects":     "0",
		"eth0.100/forwarding":       "1",
		"eth1/forwarding":           "1",
		"default/accept_redirects":  "0",
		"default/rp_filter":         "2",
		"eth0/send_redirects":       "0",
		"default/secure_redirects":  "0",
		"eth0.100/accept_redirects": "1",
	} {
		writeSysctl(t, "net/ipv4/conf/"+path, value)
	}
}

func TestEnableForwardingAndBack(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		setUp func(t *testing.T)
	}{
		{"plain host", func(t *testing.T) { ip(t, "link add eth0 type veth peer name eth0.100") }},
		{"settings of others", settingsOfOthers},
		{"forwarding of new interfaces on", func(t *testing.T) {
			writeSysctl(t, "net/ipv4/conf/default/forwarding", "1")
			settingsOfOthers(t)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			newNamespace(t)
			test.setUp(t)
			enableAndBack(t)
		})
	}
}

func enableAndBack(t *testing.T) {
	t.Helper()
	before := snapshot(t)
	s := openReal(t)
	if changed, err := s.EnableForwarding(); !changed || err != nil {
		t.Fatalf("enable: %t, %v", changed, err)
	}
	if changed, err := s.EnableForwarding(); changed || err != nil {
		t.Errorf("enable again: %t, %v", changed, err)
	}
	if on, err := s.Forwarding(); !on || err != nil {
		t.Errorf("forwarding: %t, %v", on, err)
	}
	reported := map[string]bool{}
	for _, c := range s.Changed() {
		reported[c.Key] = true
	}
	for _, name := range []string{"net.ipv4.ip_forward", "net.ipv4.conf.lo.forwarding"} {
		if !reported[name] {
			t.Errorf("%s is not among the changes %s", name, list(s.Changed()))
		}
	}
	if _, err := s.Restore(); err != nil {
		t.Fatal(err)
	}
	if diff := differences(before, snapshot(t)); len(diff) > 0 {
		t.Errorf("after the restore:\n%q", diff)
	}
	if left := s.Changed(); len(left) > 0 {
		t.Errorf("the ledger still holds %s", list(left))
	}
}

// TestEnableForwardingReports compares the list of changes with what the kernel did.
func TestEnableForwardingReports(t *testing.T) {
	t.Parallel()
	newNamespace(t)
	settingsOfOthers(t)
	writeSysctl(t, "net/ipv4/conf/all/accept_redirects", "1")
	before := snapshot(t)
	s := openReal(t)
	if _, err := s.EnableForwarding(); err != nil {
		t.Fatal(err)
	}
	changed := s.Changed()
	diff := differences(before, snapshot(t))
	// conf.all.forwarding is ip_forward once more, so the kernel shows one difference more than there are.
	if len(diff) != len(changed)+1 {
		t.Errorf("%d changes are listed, the kernel made %d:\n%s\n%q", len(changed), len(diff), list(changed), diff)
	}
}

// TestRestoreForwarding covers what others do between the change and the restore.
func TestRestoreForwarding(t *testing.T) {
	t.Parallel()
	const conf = "net/ipv4/conf/"
	for _, test := range []struct {
		name      string
		meanwhile func(t *testing.T)
		want      map[string]string // what differs from the time before
	}{
		{
			"somebody accepts redirects",
			func(t *testing.T) { writeSysctl(t, conf+"all/accept_redirects", "1") },
			map[string]string{"all/accept_redirects": "1\n"},
		},
		{
			"somebody takes an interface out",
			func(t *testing.T) { writeSysctl(t, conf+"eth1/forwarding", "0") },
			map[string]string{"eth1/forwarding": "0\n"},
		},
		{
			"somebody turned forwarding off, or a restore was cut short",
			func(t *testing.T) { writeSysctl(t, "net/ipv4/ip_forward", "0") },
			nil,
		},
		{
			"somebody turned forwarding off and on again",
			func(t *testing.T) {
				writeSysctl(t, "net/ipv4/ip_forward", "0")
				writeSysctl(t, "net/ipv4/ip_forward", "1")
			},
			nil,
		},
		{
			"an interface came",
			func(t *testing.T) { ip(t, "link add new0 type veth peer name new1") },
			nil,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			newNamespace(t)
			settingsOfOthers(t)
			want := snapshot(t)
			maps.Copy(want, test.want)
			s := openReal(t)
			if _, err := s.EnableForwarding(); err != nil {
				t.Fatal(err)
			}
			test.meanwhile(t)
			if _, err := s.Restore(); err != nil {
				t.Fatal(err)
			}
			if diff := differences(want, snapshot(t)); len(diff) > 0 {
				t.Errorf("after the restore:\n%q", diff)
			}
		})
	}
}

// TestRestoreForwardingVanished takes an interface away, and gives its name to another.
func TestRestoreForwardingVanished(t *testing.T) {
	t.Parallel()
	newNamespace(t)
	settingsOfOthers(t)
	s := openReal(t)
	if _, err := s.EnableForwarding(); err != nil {
		t.Fatal(err)
	}
	ip(t, "link del eth0")
	ip(t, "link set eth1 name eth0")
	if _, err := s.Restore(); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"ip_forward": "0", "conf/eth0/forwarding": "0", "conf/lo/forwarding": "0", "conf/all/accept_redirects": "0",
	} {
		if got := readSysctl(t, "net/ipv4/"+path); got != want {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
	}
}

// TestDriftKeepsFirst turns forwarding on again after somebody turned it off: old is what was before the first time.
func TestDriftKeepsFirst(t *testing.T) {
	t.Parallel()
	newNamespace(t)
	settingsOfOthers(t)
	before := snapshot(t)
	s := openReal(t)
	for range 3 {
		if changed, err := s.EnableForwarding(); !changed || err != nil {
			t.Fatalf("enable: %t, %v", changed, err)
		}
		writeSysctl(t, "net/ipv4/ip_forward", "0")
	}
	if _, err := s.EnableForwarding(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Restore(); err != nil {
		t.Fatal(err)
	}
	if diff := differences(before, snapshot(t)); len(diff) > 0 {
		t.Errorf("after the restore:\n%q", diff)
	}
}

// quietRedirects turns them off as the daemon does.
func quietRedirects(s *Sysctls, link string) (changed bool, err error) {
	for _, key := range RedirectKeys(link) {
		set, err := s.Set(key, "0")
		if err != nil {
			return changed, err
		}
		changed = changed || set
	}
	return changed, nil
}

func TestQuietRedirects(t *testing.T) {
	t.Parallel()
	newNamespace(t)
	ip(t, "link add eth0 type veth peer name eth0.100")
	before := snapshot(t)
	s := openReal(t)
	for _, step := range []struct {
		link    string
		changed bool
	}{{"eth0.100", true}, {"eth0.100", false}, {"eth0", true}} {
		if changed, err := quietRedirects(s, step.link); changed != step.changed || err != nil {
			t.Errorf("%s: got %t, %v, want %t", step.link, changed, err, step.changed)
		}
	}
	for _, name := range []string{"all", "eth0.100", "eth0"} {
		if got := readSysctl(t, "net/ipv4/conf/"+name+"/send_redirects"); got != "0" {
			t.Errorf("send_redirects of %s is %s", name, got)
		}
	}
	if _, err := quietRedirects(s, "eth7"); err == nil {
		t.Error("an interface that is not there: no error")
	}
	if _, err := s.Restore(); err != nil {
		t.Fatal(err)
	}
	if diff := differences(before, snapshot(t)); len(diff) > 0 {
		t.Errorf("after the restore:\n%q", diff)
	}
}
