package netconf

import (
	"fmt"
	"strings"
	"testing"
)

func TestLinks(t *testing.T) {
	t.Parallel()
	newNamespace(t)
	ip(t, "link add ens5 address 02:00:00:00:00:0A type veth peer name peer0 address 02:00:00:00:00:0b")
	ip(t, "link add extra address 02:00:00:00:00:0c type dummy")
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
		if strings.Contains("lo ens5 peer0 extra", l.Name) {
			got = append(got, fmt.Sprintf("%s %s %v", l.Name, l.MAC, l.Own))
		}
	}
	want := "lo 00:00:00:00:00:00 true, peer0 02:00:00:00:00:0b false, ens5 02:00:00:00:00:0a false, extra 02:00:00:00:00:0c true"
	if strings.Join(got, ", ") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, ", "), want)
	}
}
