package probe

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// stored is a store in a directory of its own, and its log.
func stored(t *testing.T) (store, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	return store{path: filepath.Join(t.TempDir(), "names.json"), log: slog.New(slog.NewTextHandler(&log, nil))}, &log
}

func TestStore(t *testing.T) {
	t.Parallel()
	s, log := stored(t)
	now := time.Now()
	if got := s.load(now); len(got) > 0 || log.Len() > 0 {
		t.Errorf("no file, and got %v, log %s", got, log)
	}
	want := map[Name]saved{
		{"db.lab", IPv4}: {"db.lab", IPv4, addrs("a b"), now.Add(-time.Hour), now},
		{"db.lab", IPv6}: {"db.lab", IPv6, []netip.Addr{netip.MustParseAddr("fd00::1")}, now, now.Add(-time.Minute)},
	}
	for range 2 { // the second replaces the first
		s.save(want)
	}
	got := s.load(now)
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	info, err := os.Stat(s.path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("the file is %v, %v, want mode 0600", info, err)
	}
	if log.Len() > 0 {
		t.Errorf("log: %s", log)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(s.path), "*")); len(left) != 1 {
		t.Errorf("the directory holds %v", left)
	}
}

// TestStoreIgnoresGarbage has files that natd did not write, or not like that.
func TestStoreIgnoresGarbage(t *testing.T) {
	t.Parallel()
	entry := func(host, family, addresses string) string {
		return fmt.Sprintf(`{"host":%q,"family":%q,"addresses":[%s],"changed":"2026-01-01T00:00:00Z","used":"2100-01-01T00:00:00Z"}`, host, family, addresses)
	}
	good := entry("db.lab", "ipv4", `"10.3.0.97"`)
	file := func(entries ...string) string { return `{"version":1,"names":[` + strings.Join(entries, ",") + `]}` }
	tests := map[string]struct {
		content string
		want    int
		log     string
	}{
		"good":                    {file(good), 1, ""},
		"empty":                   {"", 0, "cannot be read"},
		"cut off":                 {file(good)[:50], 0, "cannot be read"},
		"another version":         {strings.Replace(file(good), `:1`, `:2`, 1), 0, "version 2"},
		"binary":                  {"\x00\xff\x00", 0, "cannot be read"},
		"too long":                {file(good) + strings.Repeat(" ", maxStore), 0, "longer than"},
		"no such family":          {file(entry("db.lab", "ipx", `"10.3.0.1"`)), 0, "ipx"},
		"a family that is not":    {file(good, entry("b.lab", "ipv6", `"10.3.0.1"`)), 1, "answers=1"},
		"no host's addresses":     {file(good, entry("b.lab", "ipv4", `"127.0.0.1","169.254.169.254","::1"`)), 1, "answers=1"},
		"no host":                 {file(good, entry("", "ipv4", `"10.3.0.1"`)), 1, "answers=1"},
		"a host that is too long": {file(good, entry(strings.Repeat("a", 300), "ipv4", `"10.3.0.1"`)), 1, "answers=1"},
		"no addresses":            {file(good, entry("b.lab", "ipv4", "")), 1, "answers=1"},
		"used long ago":           {strings.Replace(file(good), "2100-01-01", "2020-01-01", 1), 0, ""},
	}
	for name, tt := range tests {
		s, log := stored(t)
		if err := os.WriteFile(s.path, []byte(tt.content), 0o600); err != nil {
			t.Fatal(err)
		}
		got := s.load(time.Now())
		if len(got) != tt.want || !strings.Contains(log.String(), tt.log) || tt.log == "" && log.Len() > 0 {
			t.Errorf("%s: %v, log %q, want %d answers and %q", name, got, log, tt.want, tt.log)
		}
	}
}

// TestStoreFollowsNoLink that somebody laid where the file is made.
func TestStoreFollowsNoLink(t *testing.T) {
	t.Parallel()
	s, log := stored(t)
	victim := filepath.Join(t.TempDir(), "victim")
	if err := os.Symlink(victim, s.path+".new"); err != nil {
		t.Fatal(err)
	}
	s.save(map[Name]saved{dbLab(): {"db.lab", IPv4, addrs("a"), time.Now(), time.Now()}})
	if _, err := os.Lstat(victim); err == nil || log.Len() > 0 {
		t.Errorf("the link was followed, or nothing kept: %v, %s", err, log)
	}
}

// TestStoreThatCannotWrite says so, and no more.
func TestStoreThatCannotWrite(t *testing.T) {
	t.Parallel()
	s, log := stored(t)
	s.path = filepath.Join(filepath.Dir(s.path), "absent", "names.json")
	s.save(nil)
	if !strings.Contains(log.String(), "state directory") {
		t.Errorf("log: %q", log)
	}
}
