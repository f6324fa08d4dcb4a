package netconf

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestDropping(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		paths []reversePath
		want  []string
	}{
		{"nothing", nil, nil},
		{"strict and symmetric", []reversePath{{"eth0", 1, []string{"eth0"}}}, nil},
		{"strict and asymmetric", []reversePath{{"eth0", 1, []string{"eth1"}}}, []string{"eth0"}},
		{"one of several next hops", []reversePath{{"eth0", 1, []string{"eth1", "eth0"}}}, nil},
		{"loose", []reversePath{{"eth0", 2, []string{"eth1"}}}, nil},
		{"off", []reversePath{{"eth0", 0, []string{"eth1"}}}, nil},
		{"no way back", []reversePath{{"eth0", 1, nil}}, nil},
		{
			"each once and in order",
			[]reversePath{{"eth1", 1, []string{"eth0"}}, {"eth0", 1, []string{"eth1"}}, {"eth1", 1, []string{"eth0"}}},
			[]string{"eth0", "eth1"},
		},
	} {
		if got := dropping(test.paths); !slices.Equal(got, test.want) {
			t.Errorf("%s: got %v, want %v", test.name, got, test.want)
		}
	}
}

func TestOutermost(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ clients, want string }{
		{"10.1.0.0/16", "[10.1.0.1 10.1.255.254]"},
		{"10.1.7.9/30", "[10.1.7.9 10.1.7.10]"},
		{"10.1.0.0/31", "[10.1.0.0]"},
		{"10.1.0.100/32", "[10.1.0.100]"},
		{"0.0.0.0/0", "[0.0.0.1 255.255.255.254]"},
		{"128.0.0.0/1", "[128.0.0.1 255.255.255.254]"},
		{"2001:db8::/32", "[]"},
	} {
		if got := fmt.Sprint(outermost(netip.MustParsePrefix(test.clients))); got != test.want {
			t.Errorf("%s: got %s, want %s", test.clients, got, test.want)
		}
	}
	if got := fmt.Sprint(outermost(netip.Prefix{})); got != "[0.0.0.1 255.255.255.254]" {
		t.Errorf("everybody: got %s", got)
	}
}

// asymmetric is a host in the namespace of the test with two interfaces to the returned namespace of its clients: they
// send by eth0, and the host's routes lead back to them by eth1.
func asymmetric(t *testing.T) (clients namespace) {
	t.Helper()
	clients = otherNamespace(t)
	for i := range 2 {
		ip(t, fmt.Sprintf("link add eth%d type veth peer name c%d", i, i))
		ip(t, fmt.Sprintf("link set c%d netns /proc/%d/fd/%d", i, os.Getpid(), clients.fd))
		ip(t, fmt.Sprintf("addr add 10.%d.0.100/24 dev eth%d", 2+i, i))
		ip(t, fmt.Sprintf("link set eth%d up", i))
	}
	ip(t, "route add 10.1.0.0/16 dev eth1")
	link, err := net.InterfaceByName("eth0")
	if err != nil {
		t.Fatal(err)
	}
	lines := []string{
		"link set lo up", "link set c0 up", "link set c1 up",
		"addr add 10.1.0.100/32 dev c0",
		"route add 10.2.0.0/24 dev c0 src 10.1.0.100",
		// The filter looks at ARP requests too; the packet is what the test is about.
		"neigh add 10.2.0.100 lladdr " + link.HardwareAddr.String() + " dev c0",
	}
	err = clients.run(func() error {
		for _, line := range lines {
			if _, err := ipLine(line); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return clients
}

// filtered is how many packets the reverse path filter dropped in the namespace of the calling thread.
func filtered(t *testing.T) string {
	t.Helper()
	content, err := os.ReadFile("/proc/thread-self/net/netstat")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for line := range strings.Lines(string(content)) {
		fields := strings.Fields(line)
		if i := slices.Index(names, "IPReversePathFilter"); i >= 0 && fields[0] == "TcpExt:" {
			return fields[i]
		}
		names = fields
	}
	t.Fatalf("no IPReversePathFilter in %s", content)
	return ""
}

// TestStrictDropsPacket sends a real packet into an asymmetric host before and after the filter is loosened.
func TestStrictDropsPacket(t *testing.T) {
	t.Parallel()
	newNamespace(t)
	clients := asymmetric(t)
	h, s := openHost(t), openReal(t)
	writeSysctl(t, "net/ipv4/conf/all/rp_filter", "1")
	service, err := net.ListenPacket("udp4", "10.2.0.100:9000")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = service.Close() }()
	send := func() {
		t.Helper()
		if err := clients.run(func() error { return sendDatagram("10.2.0.100:9000") }); err != nil {
			t.Fatal(err)
		}
	}

	send()
	eventually(t, "the strict filter drops the packet", func() bool { return filtered(t) == "1" })
	ways := []Ingress{{netip.MustParsePrefix("10.1.0.0/16"), "eth0"}}
	drops, err := StrictDrops(h, s, ways)
	if err != nil || !slices.Equal(drops, []string{"eth0"}) {
		t.Fatalf("got %v, %v, want eth0", drops, err)
	}
	if changed, err := s.LoosenReversePath(drops[0]); !changed || err != nil {
		t.Fatalf("loosen: %t, %v", changed, err)
	}
	if drops, err := StrictDrops(h, s, ways); err != nil || len(drops) > 0 {
		t.Errorf("after it is loose: got %v, %v", drops, err)
	}
	send()
	if err := service.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, from, err := service.ReadFrom(make([]byte, 16)); err != nil || !strings.HasPrefix(from.String(), "10.1.0.100:") {
		t.Errorf("after it is loose the packet does not arrive: from %v, %v", from, err)
	}
	if _, err := s.Restore(); err != nil {
		t.Fatal(err)
	}
	if filter, err := s.ReversePathFilter("eth0"); filter != 1 || err != nil {
		t.Errorf("after the restore the filter is %d, %v", filter, err)
	}
}

func sendDatagram(to string) error {
	socket, err := net.Dial("udp4", to)
	if err != nil {
		return err
	}
	_, err = socket.Write([]byte("hello"))
	return errors.Join(err, socket.Close())
}

func TestStrictDrops(t *testing.T) {
	t.Parallel()
	newNamespace(t)
	asymmetric(t)
	for _, line := range []string{
		"route add 10.7.0.0/25 dev eth0",
		"route add 10.7.0.128/25 dev eth1",
		"route add 10.8.0.0/24 nexthop dev eth0 nexthop dev eth1",
		"route add default dev eth1",
		"route add unreachable 10.20.0.0/16",
	} {
		ip(t, line)
	}
	writeSysctl(t, "net/ipv4/conf/eth0/rp_filter", "1")
	writeSysctl(t, "net/ipv4/conf/eth1/rp_filter", "1")
	h, s := openHost(t), openReal(t)
	for _, test := range []struct{ clients, link, want string }{
		{"10.1.0.0/16", "eth0", "[eth0]"},
		{"10.1.0.0/16", "eth1", "[]"},
		{"10.2.0.0/24", "eth0", "[]"},
		{"10.7.0.0/25", "eth0", "[]"},
		{"10.7.0.0/24", "eth0", "[eth0]"}, // half of it
		{"10.7.0.0/24", "eth1", "[eth1]"},
		{"10.8.0.0/24", "eth0", "[]"}, // either next hop will do
		{"10.8.0.0/24", "eth1", "[]"},
		{"10.20.0.0/16", "eth0", "[]"}, // no way back
		{"10.2.0.100/32", "eth1", "[]"},
		{"0.0.0.0/0", "eth0", "[eth0]"},
		{"0.0.0.0/0", "eth1", "[]"},
		{"2001:db8::/32", "eth0", "[]"},
		{"10.1.0.0/16", "eth7", "[]"},
		{"10.1.0.0/16", "lo", "[]"}, // its filter is off
	} {
		got, err := StrictDrops(h, s, []Ingress{{netip.MustParsePrefix(test.clients), test.link}})
		if err != nil || fmt.Sprint(got) != test.want {
			t.Errorf("%s by %s: got %v, %v, want %s", test.clients, test.link, got, err, test.want)
		}
	}
	if got, err := StrictDrops(h, s, []Ingress{{Link: "eth0"}}); err != nil || len(got) != 1 {
		t.Errorf("everybody by eth0: got %v, %v", got, err)
	}
}

func TestReversePathFilter(t *testing.T) {
	t.Parallel()
	s := reopen(t, fakeRoot(t, map[string]string{
		"net/ipv4/conf/all/rp_filter":   "1",
		"net/ipv4/conf/eth0/rp_filter":  "0",
		"net/ipv4/conf/eth1/rp_filter":  "2",
		"net/ipv4/conf/eth.2/rp_filter": "junk",
	}), t.TempDir()+"/sysctl.json")
	for link, want := range map[string]int{"eth0": 1, "eth1": 2} {
		if got, err := s.ReversePathFilter(link); got != want || err != nil {
			t.Errorf("%s: got %d, %v, want %d", link, got, err, want)
		}
	}
	if _, err := s.ReversePathFilter("eth.2"); err == nil {
		t.Error("junk is a filter")
	}
	if _, err := s.ReversePathFilter("eth7"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no such interface: got %v", err)
	}
}
