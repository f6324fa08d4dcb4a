package imds

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	standin "natd/internal/lab/imds"
)

func addrs(texts ...string) (list []netip.Addr) {
	for _, text := range texts {
		list = append(list, netip.MustParseAddr(text))
	}
	return list
}

func prefixes(texts ...string) (list []netip.Prefix) {
	for _, text := range texts {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}

func compare() cmp.Option {
	return cmp.Options{
		cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
		cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	}
}

// whole is an instance of two interfaces that says everything, the second interface first.
func whole() *standin.Instance {
	return &standin.Instance{
		ID: "i-0123456789abcdef0", Type: "t3.nano", Account: "123456789012", Region: "eu-west-1",
		Zone: "eu-west-1a", ZoneID: "euw1-az2", Image: "ami-0abc",
		Interfaces: []standin.Interface{{
			MAC: "02:00:00:00:00:01", ID: "eni-0def", Device: 1, VPC: "vpc-0b", Subnet: "subnet-0c", IPv4: []string{"10.2.1.100"},
		}, {
			MAC: "02:00:00:00:00:02", ID: "eni-0abc", Device: 0, VPC: "vpc-0b", Subnet: "subnet-0b",
			IPv4: []string{"10.2.0.100", "10.2.0.101"}, IPv6: []string{"2001:db8:2::100"},
			IPv4Prefixes: []string{"10.2.0.16/28"}, IPv6Prefixes: []string{"2001:db8:2:0:1::/80"},
			SubnetIPv4: "10.2.0.0/24", SubnetIPv6: []string{"2001:db8:2::/64"},
			VPCIPv4: []string{"10.2.0.0/16", "100.64.0.0/16"}, VPCIPv6: []string{"2001:db8:2::/56"},
			Public: map[string]string{"203.0.113.5": "10.2.0.101", "198.51.100.7": "10.2.0.100"},
		}},
	}
}

func TestIdentity(t *testing.T) {
	t.Parallel()
	c, _ := serve(t, &standin.Service{Source: func() (*standin.Instance, error) { return whole(), nil }})
	want := &Identity{
		ID: "i-0123456789abcdef0", Type: "t3.nano", Account: "123456789012", Region: "eu-west-1",
		Zone: "eu-west-1a", ZoneID: "euw1-az2", Image: "ami-0abc",
		Interfaces: []Interface{{
			MAC: "02:00:00:00:00:02", ID: "eni-0abc", VPC: "vpc-0b", Subnet: "subnet-0b",
			Addrs:        addrs("10.2.0.100", "10.2.0.101", "2001:db8:2::100"),
			Prefixes:     prefixes("10.2.0.16/28", "2001:db8:2:0:1::/80"),
			SubnetBlocks: prefixes("10.2.0.0/24", "2001:db8:2::/64"),
			VPCBlocks:    prefixes("10.2.0.0/16", "100.64.0.0/16", "2001:db8:2::/56"),
			Public: []Association{
				{netip.MustParseAddr("198.51.100.7"), netip.MustParseAddr("10.2.0.100")},
				{netip.MustParseAddr("203.0.113.5"), netip.MustParseAddr("10.2.0.101")},
			},
		}, {
			MAC: "02:00:00:00:00:01", ID: "eni-0def", Device: 1, VPC: "vpc-0b", Subnet: "subnet-0c", Addrs: addrs("10.2.1.100"),
		}},
	}
	got := mustIdentity(t, c)
	if diff := cmp.Diff(want, got, compare()); diff != "" {
		t.Errorf("Identity (-want +got):\n%s", diff)
	}
	if !got.Equal(want) || got.Equal(&Identity{ID: got.ID}) {
		t.Error("Equal does not tell answers apart")
	}
}

// TestLittle asks an instance of which only the id is known.
func TestLittle(t *testing.T) {
	t.Parallel()
	document := "/latest/dynamic/instance-identity/document"
	c, _ := serve(t, &standin.Service{Source: func() (*standin.Instance, error) {
		return &standin.Instance{ID: "i-0", Keys: map[string]*string{document: nil}}, nil
	}})
	if diff := cmp.Diff(&Identity{ID: "i-0"}, mustIdentity(t, c), compare()); diff != "" {
		t.Errorf("Identity (-want +got):\n%s", diff)
	}
}

// TestHalf asks while an interface comes or goes: its MAC address is listed, and keys that every interface has are not there.
func TestHalf(t *testing.T) {
	t.Parallel()
	const mac = "/latest/meta-data/network/interfaces/macs/02:00:00:00:00:01/"
	tests := []struct {
		gone string
		good bool
		set  func(*standin.Interface)
	}{
		{"interface-id", false, func(i *standin.Interface) { i.ID = "" }},
		{"vpc-id", false, func(i *standin.Interface) { i.VPC = "" }},
		{"subnet-id", false, func(i *standin.Interface) { i.Subnet = "" }},
		{"local-ipv4s", false, func(i *standin.Interface) { i.IPv4 = nil }},
		{"local-ipv4s", true, func(i *standin.Interface) { i.IPv4, i.IPv6 = nil, []string{"2001:db8:2::101"} }},
	}
	for _, tt := range tests {
		instance := whole()
		tt.set(&instance.Interfaces[0])
		c, _ := serve(t, &standin.Service{Source: func() (*standin.Instance, error) { return instance, nil }})
		switch id, err := c.Identity(t.Context()); {
		case tt.good && err != nil:
			t.Errorf("without %s, which not every interface has: %v", tt.gone, err)
		case !tt.good && (err == nil || !strings.Contains(err.Error(), mac+tt.gone)):
			t.Errorf("without %s: got %+v, %v, want an error that names it", tt.gone, id, err)
		}
	}
}

// TestGarbage has one bad value among good ones: nothing of such an answer is believed.
func TestGarbage(t *testing.T) {
	t.Parallel()
	const mac = "/latest/meta-data/network/interfaces/macs/02:00:00:00:00:02/"
	tests := []struct{ path, value string }{
		{"/latest/meta-data/instance-id", "i-0\x1b[2J"},
		{"/latest/meta-data/instance-id", strings.Repeat("i", maxName+1)},
		{"/latest/dynamic/instance-identity/document", "{"},
		{"/latest/dynamic/instance-identity/document", `{"region": "eu west"}`},
		{"/latest/dynamic/instance-identity/document", `{"region": 1}`},
		{"/latest/meta-data/network/interfaces/macs/", "../../../user-data"},
		{mac + "interface-id", "eni 1"},
		{mac + "device-number", "-1"},
		{mac + "device-number", "65536"},
		{mac + "local-ipv4s", "10.2.0.100\n10.2.0.300"},
		{mac + "local-ipv4s", strings.Repeat("10.2.0.100\n", maxList+1)},
		{mac + "ipv6s", "fe80::1%ens5"},
		{mac + "subnet-ipv4-cidr-block", "10.2.0.1/24"},
		{mac + "vpc-ipv6-cidr-blocks", "::ffff:10.2.0.0/112"},
		{mac + "ipv4-associations/203.0.113.5", "somewhere"},
	}
	for _, tt := range tests {
		c, _ := serve(t, &standin.Service{Source: func() (*standin.Instance, error) {
			i := whole()
			i.Keys = map[string]*string{tt.path: &tt.value}
			return i, nil
		}})
		id, err := c.Identity(t.Context())
		if err == nil || !strings.Contains(err.Error(), tt.path) {
			t.Errorf("%s = %.40q: got %+v, %v, want an error that names it", tt.path, tt.value, id, err)
		}
		if err != nil && strings.ContainsAny(err.Error(), "\x1b\n") {
			t.Errorf("%s = %.40q: the error carries it raw: %q", tt.path, tt.value, err)
		}
	}
}

func TestOwns(t *testing.T) {
	t.Parallel()
	i := Interface{Addrs: addrs("10.2.0.100", "2001:db8:2::100"), Prefixes: prefixes("10.2.0.16/28", "2001:db8:2:0:1::/80")}
	for text, want := range map[string]bool{
		"10.2.0.100": true, "10.2.0.101": false, "10.2.0.16": true, "10.2.0.31": true, "10.2.0.32": false,
		"2001:db8:2::100": true, "2001:db8:2:0:1::7": true, "2001:db8:2:0:2::7": false,
	} {
		if got := i.Owns(netip.MustParseAddr(text)); got != want {
			t.Errorf("Owns(%s) = %v, want %v", text, got, want)
		}
	}
}

// FuzzParse wants that whatever is accepted can be shown to a person, and reads the same again.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"i-0123456789abcdef0", "0", "02:00:00:00:00:01/", "10.2.0.100\n10.2.0.101", "10.2.0.0/16\n2001:db8::/56",
		`{"accountId": "123456789012", "region": null}`, "", "\x00", "::ffff:10.2.0.1", "fe80::1%eth0", "\u202e", "<html>",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		plain := func(what string) {
			t.Helper()
			if len(what) > maxToken || strings.ContainsFunc(what, func(r rune) bool { return r <= ' ' || r > '~' }) {
				t.Errorf("%q is let through", what)
			}
		}
		if name, err := parseName(text); err == nil {
			plain(name)
		}
		if token, err := parseToken(text); err == nil {
			plain(token)
		}
		if d, err := parseDocument(text); err == nil {
			plain(d.AccountID + d.AvailabilityZone + d.ImageID + d.InstanceType + d.Region)
		}
		again(t, text, parseMAC)
		again(t, text, func(s string) (string, error) { a, err := parseAddr(s); return a.String(), err })
		again(t, text, func(s string) (string, error) { p, err := parsePrefix(s); return p.String(), err })
		if list, err := listOf(maxList, parseAddr)(text); err == nil && len(list) > maxList {
			t.Errorf("a list of %d", len(list))
		}
		_, _ = parseNumber(text) // must not panic
	})
}

// again parses what was parsed.
func again(t *testing.T, text string, parse func(string) (string, error)) {
	t.Helper()
	once, err := parse(text)
	if err != nil {
		return
	}
	if twice, err := parse(once); err != nil || twice != once {
		t.Errorf("%q becomes %q and then %q, %v", text, once, twice, err)
	}
}
