package probe

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseResolvConf(t *testing.T) {
	t.Parallel()
	server := func(text string) []netip.AddrPort {
		var all []netip.AddrPort
		for s := range strings.FieldsSeq(text) {
			all = append(all, netip.AddrPortFrom(netip.MustParseAddr(s), 53))
		}
		return all
	}
	base := func(change func(*resolvConf)) resolvConf {
		c := resolvConf{servers: server("10.0.0.2"), ndots: 1, attempts: 2, timeout: 5 * time.Second}
		change(&c)
		return c
	}
	tests := []struct {
		name, text string
		want       resolvConf
	}{
		{"nothing", "", base(func(c *resolvConf) { c.servers = server("127.0.0.1") })},
		{"comments", "# nameserver 1.1.1.1\n;nameserver 2.2.2.2\n nameserver 10.0.0.2 # the VPC's", base(func(*resolvConf) {})},
		{"three servers at most", "nameserver 10.0.0.2\nnameserver fd00::2\nnameserver fe80::2%ens5\nnameserver 10.0.0.5", base(func(c *resolvConf) {
			c.servers = server("10.0.0.2 fd00::2 fe80::2%ens5")
		})},
		{"what makes no sense", "nameserver\nnameserver nonsense\nnameserver 10.0.0.2\nsearch\noptions\nfrobnicate 1\noptions ndots:x timeout ndots:-1", base(func(*resolvConf) {})},
		{"the last list", "nameserver 10.0.0.2\ndomain a.lab\nsearch b.lab c.lab", base(func(c *resolvConf) { c.search = []string{"b.lab", "c.lab"} })},
		{"one domain", "nameserver 10.0.0.2\nsearch b.lab c.lab\ndomain a.lab", base(func(c *resolvConf) { c.search = []string{"a.lab"} })},
		{"options", "nameserver 10.0.0.2\noptions rotate use-vc ndots:2 timeout:1\noptions attempts:3 edns0", base(func(c *resolvConf) {
			c.rotate, c.tcp, c.ndots, c.timeout, c.attempts = true, true, 2, time.Second, 3
		})},
		{"bounds above", "nameserver 10.0.0.2\noptions ndots:99 timeout:99 attempts:99", base(func(c *resolvConf) {
			c.ndots, c.timeout, c.attempts = 15, 30*time.Second, 5
		})},
		{"bounds below", "nameserver 10.0.0.2\noptions ndots:0 timeout:0 attempts:0", base(func(c *resolvConf) {
			c.ndots, c.timeout, c.attempts = 0, time.Second, 1
		})},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(fmt.Sprintf("%+v", tt.want), fmt.Sprintf("%+v", *parseResolvConf(tt.text))); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", tt.name, diff)
		}
	}
}

func TestCandidates(t *testing.T) {
	t.Parallel()
	tests := []struct {
		host  string
		ndots int
		want  string
	}{
		{"db.lab", 1, "db.lab."},
		{"db.lab.", 1, "db.lab."},
		{"db", 1, "db.a.lab. db.b.lab. db."},
		{"db", 0, "db."},
		{"db.lab", 2, "db.lab.a.lab. db.lab.b.lab. db.lab."},
	}
	for _, tt := range tests {
		c := resolvConf{search: []string{"a.lab", ".b.lab.", "."}, ndots: tt.ndots}
		if got := c.candidates(tt.host); !slices.Equal(got, strings.Fields(tt.want)) {
			t.Errorf("%s with ndots %d: %v, want %s", tt.host, tt.ndots, got, tt.want)
		}
	}
}

// FuzzResolvConf has any text: there is always a server, and what is asked of it is bounded.
func FuzzResolvConf(f *testing.F) {
	f.Add("nameserver 10.0.0.2\nsearch a.lab\noptions rotate timeout:1 attempts:2 ndots:3")
	f.Add("nameserver fe80::1%\noptions :::\nsearch \x00 .")
	f.Fuzz(func(t *testing.T, text string) {
		c := parseResolvConf(text)
		if len(c.servers) == 0 || len(c.servers) > maxServers || c.attempts < 1 || c.attempts > maxAttempts ||
			c.timeout < time.Second || c.timeout > maxTimeout || c.ndots < 0 || c.ndots > maxNdots {
			t.Errorf("%+v", c)
		}
		for _, name := range c.candidates("db") {
			if !strings.HasSuffix(name, ".") || strings.HasPrefix(name, ".") {
				t.Errorf("the name %q is not absolute", name)
			}
		}
	})
}
