package netconf

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

// twoLinks gives the namespace of the test two interfaces that are up, a default route and the routes that lead nowhere.
func twoLinks(t *testing.T) {
	t.Helper()
	for _, line := range []string{
		"link add eth0 type veth peer name peer0",
		"link add eth1 type veth peer name peer1",
		"link add eth2 type veth peer name peer2",
		"link set eth0 up", "link set peer0 up", "link set eth1 up", "link set peer1 up",
		"addr add 10.2.0.100/24 dev eth0",
		"addr add 10.2.0.200/24 dev eth0",
		"addr add 10.5.0.1/24 dev eth1",
		"addr add 10.9.9.9/32 dev lo",
		"route add default via 10.2.0.1",
		"route add 10.3.0.0/24 via 10.2.0.1 src 10.2.0.200",
		"route add 10.4.0.0/24 via 10.5.0.2",
		"route add 10.4.0.0/24 via 10.2.0.1 metric 500",
		"route add unreachable 10.20.0.0/24",
		"route add blackhole 10.21.0.0/24",
		"route add prohibit 10.22.0.0/24",
		"-6 addr add 2001:db8:2::100/64 dev eth0 nodad",
		"-6 addr add 2001:db8:2::200/64 dev eth0 nodad", // the kernel prefers the newest
		"-6 addr add 2001:db8:5::1/64 dev eth1 nodad",
		"-6 addr add 2001:db8:5::2/64 dev eth1 nodad preferred_lft 0",
		"-6 addr add 2001:db8:6::1/64 dev eth1 nodad preferred_lft 0",
		"-6 addr add 2001:db8::9/128 dev lo nodad",
		"-6 route add 2001:db8:3::/64 via 2001:db8:2::1 src 2001:db8:2::100",
		"-6 route add 2001:db8:4::/64 via 2001:db8:5::3",
		"-6 route add 2001:db8:4::/64 via 2001:db8:2::1 metric 2000",
		"-6 route add 2001:db8:7::/64 via fe80::1 dev eth1",
		"-6 route add blackhole 2001:db8:21::/48",
		"-6 route add prohibit 2001:db8:22::/48",
		"-6 route add default via 2001:db8:2::1",
		"-6 route add unreachable 2001:db8:20::/48",
		"route add 10.6.0.0/24 via inet6 2001:db8:2::1 dev eth0",
	} {
		ip(t, line)
	}
}

func TestRouteTo(t *testing.T) {
	t.Parallel()
	newNamespace(t)
	twoLinks(t)
	h := openHost(t)
	for _, test := range []struct{ name, dst, link, want string }{
		{"by the default route", "8.8.8.8", "", "eth0 10.2.0.100 10.2.0.1"},
		{"on the link", "10.5.0.7", "", "eth1 10.5.0.1 -"},
		{"with the source that the route names", "10.3.0.100", "", "eth0 10.2.0.200 10.2.0.1"},
		{"by the better of two routes", "10.4.0.1", "", "eth1 10.5.0.1 10.5.0.2"},
		{"by the worse of two when asked for", "10.4.0.1", "eth0", "eth0 10.2.0.100 10.2.0.1"},
		{"to an own address", "10.2.0.100", "", "lo 10.2.0.100 - local"},
		{"to an own address, by another interface", "10.2.0.100", "eth1", "lo 10.2.0.100 - local"},
		{"to an own address on lo", "10.9.9.9", "", "lo 10.9.9.9 - local"},
		{"to loopback", "127.0.0.1", "", "lo 127.0.0.1 - local"},
		{"over a gateway of the other family", "10.6.0.1", "", "eth0 10.2.0.100 2001:db8:2::1"},
		{"IPv6 by the default route", "2001:db8:9::1", "", "eth0 2001:db8:2::200 2001:db8:2::1"},
		{"IPv6 on the link", "2001:db8:5::7", "", "eth1 2001:db8:5::1 -"},
		{"IPv6 on the link of a deprecated address", "2001:db8:6::7", "", "eth1 2001:db8:5::1 -"},
		{"IPv6 with the source that the route names", "2001:db8:3::100", "", "eth0 2001:db8:2::100 2001:db8:2::1"},
		{"IPv6 by the better of two routes", "2001:db8:4::1", "", "eth1 2001:db8:5::1 2001:db8:5::3"},
		{"IPv6 by the worse of two when asked for", "2001:db8:4::1", "eth0", "eth0 2001:db8:2::200 2001:db8:2::1"},
		{"IPv6 via a router's link-local address", "2001:db8:7::1", "", "eth1 2001:db8:5::1 fe80::1"},
		{"IPv6 to an own address", "2001:db8:2::100", "", "lo 2001:db8:2::100 - local"},
		{"IPv6 to an own address, by another interface", "2001:db8:2::100", "eth1", "lo 2001:db8:2::100 - local"},
		{"IPv6 to an own address on lo", "2001:db8::9", "", "lo 2001:db8::9 - local"},
		{"IPv6 to loopback", "::1", "", "lo ::1 - local"},
		{"IPv4 in IPv6 notation", "::ffff:10.3.0.100", "", "eth0 10.2.0.200 10.2.0.1"},
	} {
		got, err := h.RouteTo(netip.MustParseAddr(test.dst), test.link)
		if err != nil || describe(got) != test.want {
			t.Errorf("%s: got %q, %v, want %q", test.name, describe(got), err, test.want)
		}
	}
}

// describe is LINK SOURCE GATEWAY, with "-" for what is absent, and "local".
func describe(r Route) string {
	words := []string{r.Link}
	for _, addr := range []netip.Addr{r.Source, r.Gateway} {
		if addr.IsValid() {
			words = append(words, addr.String())
		} else {
			words = append(words, "-")
		}
	}
	if r.Local {
		words = append(words, "local")
	}
	return strings.Join(words, " ")
}

func TestRouteToNowhere(t *testing.T) {
	t.Parallel()
	newNamespace(t)
	twoLinks(t)
	h := openHost(t)
	for _, test := range []struct {
		dst, link string
		want      error
		says      string
	}{
		{"10.20.0.1", "", ErrNoRoute, "unreachable"},
		{"10.21.0.1", "", ErrNoRoute, "blackhole"},
		{"10.22.0.1", "", ErrNoRoute, "prohibit"},
		{"2001:db8:20::1", "", ErrNoRoute, "unreachable"},
		{"2001:db8:21::1", "", ErrNoRoute, "blackhole"},
		{"2001:db8:22::1", "", ErrNoRoute, "prohibit"},
		{"2001:db8:22::1", "eth1", ErrNoRoute, "prohibit"},
		{"2001:db8:3::100", "eth1", ErrNoRoute, "leave by eth0"},
		{"2001:db8:9::1", "lo", ErrNoRoute, "leave by eth0"},
		{"ff02::1", "", ErrNoRoute, "multicast"},
		{"ff05::1", "eth0", ErrNoRoute, "multicast"},
		{"fe80::7", "", ErrNoRoute, "link-local"},
		{"fe80::7", "eth0", ErrNoRoute, "link-local"},
		{"2001:db8:3::100", "eth2", ErrLinkDown, "ip link set eth2 up"},
		{"::", "", nil, "no address"},
		{"10.3.0.100", "eth1", ErrNoRoute, "leave by eth0"},
		{"8.8.8.8", "lo", ErrNoRoute, "leave by eth0"},
		{"10.2.0.255", "", ErrNoRoute, "broadcast"},
		{"224.0.0.1", "", ErrNoRoute, "multicast"},
		{"10.3.0.100", "eth7", ErrNoLink, "ip link"},
		{"10.3.0.100", "a-name-that-is-longer-than-any", ErrNoLink, "ip link"},
		{"10.3.0.100", "eth2", ErrLinkDown, "ip link set eth2 up"},
		{"0.0.0.0", "", nil, "no address"},
	} {
		_, err := h.RouteTo(netip.MustParseAddr(test.dst), test.link)
		if err == nil || test.want != nil && !errors.Is(err, test.want) {
			t.Errorf("%s by %q: got %v, want %v", test.dst, test.link, err, test.want)
			continue
		}
		if !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), test.dst) {
			t.Errorf("%s by %q: %q does not say %q", test.dst, test.link, err, test.says)
		}
	}
	if _, err := h.RouteTo(netip.Addr{}, ""); err == nil {
		t.Error("the invalid address has a route")
	}
	ip(t, "route del default")
	if _, err := h.RouteTo(netip.MustParseAddr("8.8.8.8"), ""); !errors.Is(err, ErrNoRoute) {
		t.Errorf("without a default route: got %v, want %v", err, ErrNoRoute)
	}
}

// TestRouteToFollows checks that answers are about the host as it is, not as it was when opened.
func TestRouteToFollows(t *testing.T) {
	t.Parallel()
	newNamespace(t)
	twoLinks(t)
	h := openHost(t)
	dst := netip.MustParseAddr("10.5.0.7")
	for _, step := range []struct{ change, link, want string }{
		{"link show eth1", "eth1", "eth1 10.5.0.1 -"},
		{"link set eth1 name ens6", "", "ens6 10.5.0.1 -"}, // works on an interface that is up
		{"link property add dev ens6 altname the-name-of-the-second-card", "the-name-of-the-second-card", "ens6 10.5.0.1 -"},
		{"addr del 10.5.0.1/24 dev ens6", "", "eth0 10.2.0.100 10.2.0.1"},
		{"addr add 10.5.0.2/24 dev ens6", "", "ens6 10.5.0.2 -"},
		{"link del ens6", "", "eth0 10.2.0.100 10.2.0.1"},
	} {
		ip(t, step.change)
		got, err := h.RouteTo(dst, step.link)
		if err != nil || describe(got) != step.want {
			t.Errorf("after %q: got %q, %v, want %q", step.change, describe(got), err, step.want)
		}
	}
	if _, err := h.RouteTo(dst, "ens6"); !errors.Is(err, ErrNoLink) {
		t.Errorf("by the deleted interface: got %v, want %v", err, ErrNoLink)
	}
}

// TestRouteToSourceless covers a host whose interfaces have no address to give.
func TestRouteToSourceless(t *testing.T) {
	t.Parallel()
	newNamespace(t)
	ip(t, "link add eth0 type veth peer name peer0")
	ip(t, "link set eth0 up")
	ip(t, "route add 10.3.0.0/24 dev eth0")
	got, err := openHost(t).RouteTo(netip.MustParseAddr("10.3.0.1"), "")
	if err != nil || got.Link != "eth0" || got.Source.IsValid() {
		t.Errorf("got %+v, %v, want a route by eth0 without a source", got, err)
	}
	// A link-local address is none for packets that are to come back from somewhere else.
	ip(t, "-6 addr add fe80::1234/64 dev eth0 nodad")
	ip(t, "-6 route add default via fe80::1 dev eth0")
	got, err = openHost(t).RouteTo(netip.MustParseAddr("2001:db8::1"), "")
	if err != nil || describe(got) != "eth0 - fe80::1" {
		t.Errorf("got %q, %v, want a route by eth0 without a source", describe(got), err)
	}
}
