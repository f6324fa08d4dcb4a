package netconf

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestLinks(t *testing.T) {
	t.Parallel()
	newNamespace(t)
	ip(t, "link add ens5 address 02:00:00:00:00:0A type veth peer name peer0 address 02:00:00:00:00:0b")
	links, err := openHost(t).Links()
	if err != nil {
		t.Fatal(err)
	}
	// The machine's modules may have put interfaces of their own into every namespace (net.core.fb_tunnels_only_for_init_net).
	var got []string
	for _, l := range links {
		if l.Index <= 0 {
			t.Errorf("%s has number %d", l.Name, l.Index)
		}
		if slices.Contains([]string{"lo", "ens5", "peer0"}, l.Name) {
			got = append(got, fmt.Sprintf("%s %s %v", l.Name, l.MAC, l.Own))
		}
	}
	want := "lo  true, peer0 02:00:00:00:00:0b false, ens5 02:00:00:00:00:0a false"
	if strings.Join(got, ", ") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, ", "), want)
	}
}
