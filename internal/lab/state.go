package lab

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// State is everything of a host that natd may change: rulesets, and the settings of IPv4, IPv6 and connection tracking.
func (h *Host) State(t testing.TB) string {
	t.Helper()
	var text strings.Builder
	text.WriteString(h.Output(t, "nft", "-s", "list", "ruleset"))
	Check(t, h.Do(func() error {
		for _, dir := range []string{"/proc/sys/net/ipv4", "/proc/sys/net/ipv6", "/proc/sys/net/netfilter"} {
			if err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, _ error) error {
				value, err := os.ReadFile(path)
				if err == nil && entry.Name() != "nf_conntrack_count" {
					fmt.Fprintf(&text, "%s = %s\n", path, strings.TrimSpace(string(value)))
				}
				return nil // directories, and settings that can only be written
			}); err != nil {
				return err
			}
		}
		return nil
	}))
	return text.String()
}

// WantSame names the lines in which two states differ.
func WantSame(t testing.TB, before, after string) {
	t.Helper()
	was, is := strings.Split(before, "\n"), strings.Split(after, "\n")
	for _, line := range missing(was, is) {
		t.Errorf("was, and is no more: %s", line)
	}
	for _, line := range missing(is, was) {
		t.Errorf("is, and was not: %s", line)
	}
}

// missing is the lines of a that b has not.
func missing(a, b []string) (absent []string) {
	has := make(map[string]bool, len(b))
	for _, line := range b {
		has[line] = true
	}
	for _, line := range a {
		if !has[line] {
			absent = append(absent, line)
		}
	}
	return absent
}
