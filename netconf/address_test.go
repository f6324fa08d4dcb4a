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
		"-6 addr add 2001:db8::1/64 dev eth0",
	} {
		ip(t, line)
	}
	h := openHost(t)
	want := "10.2.0.20/24 eth0, 10.2.0.100/24 eth0, 10.2.0.100/32 peer0, 10.9.9.9/32 lo, 169.254.1.1/32 peer0"
	if got := listAddresses(t, h); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	ip(t, "link set eth0 name ens5")
	ip(t, "addr del 10.9.9.9/32 dev lo")
	want = "10.2.0.20/24 ens5, 10.2.0.100/24 ens5, 10.2.0.100/32 peer0, 169.254.1.1/32 peer0"
	if got := listAddresses(t, h); got != want {
		t.Errorf("after the changes: got  %s\nwant %s", got, want)
	}
	ip(t, "link del ens5")
	if got := listAddresses(t, h); got != "" {
		t.Errorf("without interfaces: got %s", got)
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
