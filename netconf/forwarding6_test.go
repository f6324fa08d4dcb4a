package netconf

import (
	"encoding/binary"
	"errors"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// advertiser is a router on the other end of eth0.
type advertiser struct {
	t      *testing.T
	router namespace
}

// newAdvertiser gives the namespace of the test an interface eth0 with a router behind it.
func newAdvertiser(t *testing.T) *advertiser {
	t.Helper()
	a := &advertiser{t: t, router: otherNamespace(t)}
	ip(t, "link add eth0 type veth peer name eth1")
	ip(t, "link add mover type veth peer name moved") // somebody made it a router
	writeSysctl(t, "net/ipv6/conf/mover/forwarding", "1")
	name := strconv.Itoa(os.Getpid()) + "/fd/" + strconv.Itoa(a.router.fd)
	ip(t, "link set eth1 netns /proc/"+name)
	// Without its own checks and requests, the host hears and keeps only what the test sends.
	writeSysctl(t, "net/ipv6/conf/eth0/accept_dad", "0")
	writeSysctl(t, "net/ipv6/conf/eth0/router_solicitations", "0")
	ip(t, "link set eth0 up")
	if err := a.router.run(func() error {
		if err := os.WriteFile("/proc/sys/net/ipv6/conf/eth1/accept_dad", []byte("0"), 0); err != nil {
			return err
		}
		_, err := ipLine("link set eth1 up")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return a
}

// send is one router advertisement (RFC 4861, section 4.2) with the network 2001:db8:5::/64. The host may use the router for the
// lifetime.
func (a *advertiser) send(lifetime time.Duration) error {
	message := make([]byte, 16, 48)
	message[0], message[4] = 134, 64 // the kernel adds the checksum
	seconds := uint32(lifetime.Seconds())
	binary.BigEndian.PutUint16(message[6:], uint16(seconds))
	message = append(message, 3, 4, 64, 0xc0) // a prefix that is on the link, to make addresses of
	message = binary.BigEndian.AppendUint32(message, seconds)
	message = binary.BigEndian.AppendUint32(message, seconds)
	message = append(message, 0, 0, 0, 0)
	message = append(message, netip.MustParseAddr("2001:db8:5::").AsSlice()...)
	return a.router.run(func() error {
		fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMPV6)
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(fd) }()
		link, err := net.InterfaceByName("eth1")
		if err != nil {
			return err
		}
		for option, value := range map[int]int{unix.IPV6_MULTICAST_HOPS: 255, unix.IPV6_MULTICAST_IF: link.Index} {
			if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, option, value); err != nil {
				return err
			}
		}
		to := &unix.SockaddrInet6{ZoneId: uint32(link.Index), Addr: netip.MustParseAddr("ff02::1").As16()}
		return unix.Sendto(fd, message, 0, to)
	})
}

// expires is how long the default route that was learned still holds; 0 when there is none.
func (a *advertiser) expires() time.Duration {
	a.t.Helper()
	route := ip(a.t, "-6 route show default proto ra")
	if m := regexp.MustCompile(`expires (\d+)sec`).FindStringSubmatch(route); m != nil {
		seconds, _ := strconv.Atoi(m[1])
		return time.Duration(seconds) * time.Second
	}
	return 0
}

// learned sends advertisements until the host has taken one.
func (a *advertiser) learned(lifetime time.Duration) {
	a.t.Helper()
	eventually(a.t, "the host learns its default route", func() bool {
		// Until the router has its link-local address there is nothing to send from.
		if err := a.send(lifetime); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) && !errors.Is(err, unix.ENETUNREACH) {
			a.t.Fatal(err)
		}
		left := a.expires()
		return left > lifetime-10*time.Second && left <= lifetime
	})
}

// kept checks whether the default route is there.
func (a *advertiser) kept(want bool) {
	a.t.Helper()
	if got := a.expires() > 0; got != want {
		a.t.Errorf("the default route is there: %t, want %t", got, want)
	}
}

// TestForwarding6KeepsDefaultRoute shows that the default route that a router advertised outlives that the host becomes a
// router, and that it is no more, that it is renewed meanwhile, and that all is as before in the end.
func TestForwarding6KeepsDefaultRoute(t *testing.T) {
	t.Parallel()
	newNamespace(t)
	a := newAdvertiser(t)
	a.learned(500 * time.Second)
	before := settingsBelow(t, "/proc/sys/net/ipv6/conf")
	s := openReal(t)
	if changed, err := s.EnableForwarding6(); !changed || err != nil {
		t.Fatalf("enable: %t, %v", changed, err)
	}
	if on, err := s.Forwarding6(); !on || err != nil {
		t.Fatalf("forwarding: %t, %v", on, err)
	}
	if changed, err := s.EnableForwarding6(); changed || err != nil {
		t.Errorf("enable again: %t, %v", changed, err)
	}
	a.kept(true)
	a.learned(1000 * time.Second)
	// The kernel looks for default routes to remove only where one was added since it looked last (RT6_TABLE_HAS_DFLT_ROUTER).
	ip(t, "-6 route del default")
	a.learned(1000 * time.Second)
	if _, err := s.Restore(); err != nil {
		t.Fatal(err)
	}
	if diff := differences(before, settingsBelow(t, "/proc/sys/net/ipv6/conf")); len(diff) > 0 {
		t.Errorf("after the restore:\n%q", diff)
	}
	if left := s.ledger.changes; len(left) > 0 {
		t.Errorf("the ledger still holds %v", left)
	}
	a.kept(true)
	a.learned(1500 * time.Second)
}

// TestForwarding6WithoutCare is the witness of the test above: this is what the kernel does by itself.
func TestForwarding6WithoutCare(t *testing.T) {
	t.Parallel()
	newNamespace(t)
	a := newAdvertiser(t)
	a.learned(500 * time.Second)
	writeSysctl(t, "net/ipv6/conf/all/forwarding", "1")
	a.kept(false)
}

// forwarding6Test is a host with settings of others, and what becomes of them.
type forwarding6Test struct {
	name      string
	others    map[string]string
	meanwhile func(t *testing.T, s *Sysctls)
	during    map[string]string
	after     map[string]string // what differs from the time before
}

// TestForwarding6OfOthers leaves alone what somebody else decided about routers and their advertisements.
func TestForwarding6OfOthers(t *testing.T) {
	t.Parallel()
	for _, test := range forwarding6Tests() {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			newNamespace(t)
			test.run(t)
		})
	}
}

func forwarding6Tests() []forwarding6Test {
	const conf = ipv6Conf
	return []forwarding6Test{
		{
			name:   "plain host",
			during: map[string]string{"eth0/accept_ra": "2", "default/accept_ra": "2", "all/accept_ra": "1", "lo/accept_ra": "1"},
		},
		{
			name:   "networkd takes advertisements itself",
			others: map[string]string{"eth0/accept_ra": "0"},
			during: map[string]string{"eth0/accept_ra": "0", "eth1/accept_ra": "2"},
		},
		{
			name:   "an interface is a router already",
			others: map[string]string{"eth0/forwarding": "1"},
			during: map[string]string{"eth0/accept_ra": "1", "eth0/forwarding": "1", "eth1/accept_ra": "2"},
		},
		{
			name:   "interfaces to come are routers",
			others: map[string]string{"default/forwarding": "1"},
			during: map[string]string{"default/accept_ra": "1", "eth0/accept_ra": "2"},
		},
		{
			name:   "the host is a router already",
			others: map[string]string{"all/forwarding": "1"},
			during: map[string]string{"eth0/accept_ra": "1", "default/accept_ra": "1", "all/forwarding": "1"},
		},
		{
			name: "an interface came that takes them as a host",
			meanwhile: func(t *testing.T, s *Sysctls) {
				ip(t, "link add new0 type veth peer name new1")
				writeSysctl(t, conf+"new0/accept_ra", "1")
				if changed, err := s.EnableForwarding6(); !changed || err != nil {
					t.Errorf("enable again: %t, %v", changed, err)
				}
			},
			during: map[string]string{"new0/accept_ra": "2", "new1/accept_ra": "2", "new0/forwarding": "1"},
		},
		{
			name:      "somebody stops taking them",
			meanwhile: func(t *testing.T, _ *Sysctls) { writeSysctl(t, conf+"eth0/accept_ra", "0") },
			after:     map[string]string{"eth0/accept_ra": "0\n"},
		},
		{
			name:      "somebody turned forwarding off",
			meanwhile: func(t *testing.T, _ *Sysctls) { writeSysctl(t, conf+"all/forwarding", "0") },
		},
		{
			name:   "somebody turned forwarding off, and natd on again",
			others: map[string]string{"eth0/forwarding": "1"},
			meanwhile: func(t *testing.T, s *Sysctls) {
				writeSysctl(t, conf+"all/forwarding", "0")
				if changed, err := s.EnableForwarding6(); !changed || err != nil {
					t.Errorf("enable again: %t, %v", changed, err)
				}
			},
			during: map[string]string{"eth0/accept_ra": "1", "eth1/accept_ra": "2", "all/forwarding": "1"},
		},
	}
}

// run turns forwarding on and everything back.
func (test *forwarding6Test) run(t *testing.T) {
	t.Helper()
	ip(t, "link add eth0 type veth peer name eth1")
	for path, value := range test.others {
		writeSysctl(t, ipv6Conf+path, value)
	}
	want := settingsBelow(t, "/proc/sys/net/ipv6/conf")
	maps.Copy(want, test.after)
	s := openReal(t)
	if _, err := s.EnableForwarding6(); err != nil {
		t.Fatal(err)
	}
	if test.meanwhile != nil {
		test.meanwhile(t, s)
	}
	for path, value := range test.during {
		if got := readSysctl(t, ipv6Conf+path); got != value {
			t.Errorf("while natd forwards, %s is %s, want %s", path, got, value)
		}
	}
	if _, err := s.Restore(); err != nil {
		t.Fatal(err)
	}
	if diff := differences(want, settingsBelow(t, "/proc/sys/net/ipv6/conf")); len(diff) > 0 {
		t.Errorf("after the restore:\n%q", diff)
	}
}

// TestRestoreForwarding6Fails goes on to take advertisements while forwarding cannot be turned off.
func TestRestoreForwarding6Fails(t *testing.T) {
	t.Parallel()
	const accept = ipv6Conf + "a0/accept_ra" // "a0" comes before "all"
	root := fakeRoot(t, map[string]string{
		ipv6Conf + "all/forwarding": "0", ipv6Conf + "default/forwarding": "0", ipv6Conf + "default/accept_ra": "1",
		ipv6Conf + "a0/forwarding": "0", accept: "1",
	})
	s := reopen(t, root, filepath.Join(t.TempDir(), "sysctl.json"))
	if _, err := s.EnableForwarding6(); err != nil {
		t.Fatal(err)
	}
	// A setting that even root cannot write, and a ledger that says that natd did.
	all := filepath.Join(root, ipv6Conf, "all/forwarding")
	if err := errors.Join(os.Remove(all), os.Symlink("/proc/sys/kernel/ngroups_max", all)); err != nil {
		t.Fatal(err)
	}
	own := s.ledger.changes[ipForward6]
	own.New = mustGet(t, s, ipForward6)
	s.ledger.changes[ipForward6] = own
	if back, err := s.Restore(); err == nil || len(back) != 0 {
		t.Errorf("restored %s, %v", list(back), err)
	}
	if got := mustGet(t, s, accept); got != "2" || len(s.ledger.changes) != 5 {
		t.Errorf("accept_ra is %s, and in the ledger is %s", got, list(s.ledger.sorted()))
	}
	writable := errors.Join(os.Remove(all), os.WriteFile(all, []byte(own.New), 0o644))
	if _, err := s.Restore(); writable != nil || err != nil {
		t.Fatal(writable, err)
	}
	if got := mustGet(t, s, accept); got != "1" || len(s.ledger.changes) != 0 {
		t.Errorf("at last accept_ra is %s, and in the ledger is %s", got, list(s.ledger.sorted()))
	}
}

// TestIPv6 checks that whoever has no IPv6 hears why, and what to do.
func TestIPv6(t *testing.T) {
	t.Parallel()
	newNamespace(t)
	s := openReal(t)
	for _, step := range []struct {
		set, link, says string // a setting of an interface, and what the error says then; "" for no error
	}{
		{"default/disable_ipv6=0", "", ""},
		{"default/disable_ipv6=1", "", "on every interface"},
		{"default/disable_ipv6=0", "eth0", "it is not there"},
		{"link add eth0 type veth peer name eth1", "", ""},
		{"link set eth0 mtu 1279", "eth0", "MTU is below 1280"},
		{"link set eth0 mtu 1500", "eth0", ""},
		{"eth0/disable_ipv6=1", "eth0", "sysctl -w net/ipv6/conf/eth0/disable_ipv6=0"},
		{"eth0/disable_ipv6=1", "", ""}, // eth1 has it
		{"all/disable_ipv6=1", "", "sysctl -w net.ipv6.conf.all.disable_ipv6=0"},
		{"eth0/disable_ipv6=0", "", ""}, // whatever that of all says
		{"eth0/disable_ipv6=0", "eth0", ""},
		{"eth0/disable_ipv6=0", "eth1", "IPv6 is off on eth1"},
	} {
		if path, value, ok := strings.Cut(step.set, "="); ok {
			writeSysctl(t, "net/ipv6/conf/"+path, value)
		} else {
			ip(t, step.set)
		}
		err := s.IPv6(step.link)
		if step.says == "" && err != nil || step.says != "" && (!errors.Is(err, ErrNoIPv6) || !strings.Contains(err.Error(), step.says)) {
			t.Errorf("after %s, of %q: %v, want %q", step.set, step.link, err, step.says)
		}
	}
	none, _ := fakeSysctls(t)
	if err := none.IPv6(""); !errors.Is(err, ErrNoIPv6) || !strings.Contains(err.Error(), "ipv6.disable=1") {
		t.Errorf("without IPv6 in the kernel: %v", err)
	}
	if on, err := none.Forwarding6(); on || err != nil {
		t.Errorf("without IPv6 in the kernel, forwarding: %t, %v", on, err)
	}
}
