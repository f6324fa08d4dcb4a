package netconf

import (
	"strings"
	"testing"
)

func TestAddresses(t *testing.T) {
	t.Parallel()
	newNamespace(t)
	for _, line := range []string{
		"link add eth0 type veth peer name peer0",
		"addr add 10.2.0.100/24 dev eth0 label eth0:1",
		"addr add 10.2.0.20/24 dev eth0", // secondary, and first in order
		"addr add 10.2.0.100/32 dev peer0",
		"addr add 10.9.9.9/32 dev lo",
		"addr add 127.0.0.2/8 dev lo",
		"addr add 169.254.1.1 peer 169.254.1.2/30 dev peer0",
		"-6 addr add 2001:db8::1/64 dev eth0 nodad",
		"-6 addr add 2001:db8::3 peer 2001:db8::4/126 dev peer0 nodad",
		"-6 addr add 2001:db8::9/128 dev lo nodad",
		"-6 addr add fe80::1234/64 dev eth0 nodad",
		"-6 addr add 2001:db8::2/64 dev eth0 nodad preferred_lft 0", // deprecated: it takes connections
	} {
		ip(t, line)
	}
	h := openHost(t)
	want := "10.2.0.20/24 eth0, 10.2.0.100/24 eth0, 10.2.0.100/32 peer0, 10.9.9.9/32 lo, 169.254.1.1/32 peer0, " +
		"2001:db8::1/64 eth0, 2001:db8::2/64 eth0, 2001:db8::3/128 peer0, 2001:db8::9/128 lo"
	if got := listAddresses(t, h); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	ip(t, "link set eth0 name ens5")
	ip(t, "addr del 10.9.9.9/32 dev lo")
	want = "10.2.0.20/24 ens5, 10.2.0.100/24 ens5, 10.2.0.100/32 peer0, 169.254.1.1/32 peer0, " +
		"2001:db8::1/64 ens5, 2001:db8::2/64 ens5, 2001:db8::3/128 peer0, 2001:db8::9/128 lo"
	if got := listAddresses(t, h); got != want {
		t.Errorf("after the changes: got  %s\nwant %s", got, want)
	}
	ip(t, "link del ens5")
	ip(t, "-6 addr del 2001:db8::9/128 dev lo")
	if got := listAddresses(t, h); got != "" {
		t.Errorf("without interfaces: got %s", got)
	}
}

// TestAddressesUnproven checks that an IPv6 address is there once the kernel knows that no other host has it, that Watch
// tells, and that one that another host has never is.
func TestAddressesUnproven(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t)
	ip(t, "link add eth0 type veth peer name peer0")
	for _, name := range []string{"eth0", "peer0"} {
		writeSysctl(t, "net/ipv6/conf/"+name+"/addr_gen_mode", "1")
		writeSysctl(t, "net/ipv6/conf/"+name+"/dad_transmits", "2") // a second each
		ip(t, "link set "+name+" up")
	}
	h, calls := openHost(t), startWatch(t, ns)
	ip(t, "-6 addr add 2001:db8::5/64 dev peer0 nodad")
	before := settle(t, calls)
	ip(t, "-6 addr add 2001:db8::1/64 dev eth0")
	if got, want := listAddresses(t, h), "2001:db8::5/64 peer0"; got != want {
		t.Errorf("while it is checked: got %s, want %s", got, want)
	}
	eventually(t, "the address is there", func() bool {
		return listAddresses(t, h) == "2001:db8::1/64 eth0, 2001:db8::5/64 peer0"
	})
	eventually(t, "it is reported that the address came, and again that it is proven", func() bool { return calls.Load() > before+1 })
	ip(t, "-6 addr add 2001:db8::5/64 dev eth0")
	eventually(t, "the other host's address is refused", func() bool {
		return strings.Contains(ip(t, "-6 addr show dev eth0"), "dadfailed")
	})
	if got, want := listAddresses(t, h), "2001:db8::1/64 eth0, 2001:db8::5/64 peer0"; got != want {
		t.Errorf("with an address that another host has: got %s, want %s", got, want)
	}
}

func listAddresses(t *testing.T, h *Host) string {
	t.Helper()
	addresses, err := h.Addresses()
	if err != nil {
		t.Fatal(err)
	}
	words := make([]string, 0, len(addresses))
	for _, a := range addresses {
		words = append(words, a.Addr.String()+" "+a.Link)
	}
	return strings.Join(words, ", ")
}
