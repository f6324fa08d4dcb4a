package daemon

import (
	"testing"

	"natd/netconf"
)

// TestReasonsToAsk wants AWS to be asked for what it may have had a hand in, and not for every event of the network.
func TestReasonsToAsk(t *testing.T) {
	t.Parallel()
	d := new(Daemon)
	first, second := set("10.2.0.100/24", "ens5"), set("10.2.0.101/24", "ens5")
	for _, step := range []struct {
		name string
		set  []netconf.Address
		want bool
	}{
		{"at first", []netconf.Address{first}, true},
		{"nothing", []netconf.Address{first}, false},
		{"one more", []netconf.Address{first, second}, true},
		{"twice", []netconf.Address{first, second, set("10.2.0.101/32", "ens5")}, false},
		{"elsewhere", []netconf.Address{set("10.2.0.100/24", "br0"), second}, false},
		{"another", []netconf.Address{first, set("10.2.0.102/24", "ens5")}, true},
		{"one less", []netconf.Address{first}, true},
	} {
		if got := d.noteAddresses(step.set); got != step.want {
			t.Errorf("addresses: %s: %v, want %v", step.name, got, step.want)
		}
	}
	lo, ens5 := netconf.Link{Name: "lo", Index: 1, Own: true}, netconf.Link{Name: "ens5", Index: 2, MAC: "02:00:00:00:00:05"}
	for _, step := range []struct {
		name string
		set  []netconf.Link
		want bool
	}{
		{"at first", []netconf.Link{lo, ens5}, false}, // AWS has just been asked
		{"nothing", []netconf.Link{lo, ens5}, false},
		{"renamed", []netconf.Link{lo, {Name: "eth0", Index: 2, MAC: ens5.MAC}}, false},
		{"a dummy, a tunnel, a VLAN", []netconf.Link{
			lo, ens5, {Name: "dummy0", MAC: "02:42:00:00:00:01", Own: true}, {Name: "tun0"}, {Name: "ens5.7", MAC: ens5.MAC},
		}, false},
		{"attached", []netconf.Link{lo, ens5, {Name: "ens6", Index: 3, MAC: "02:00:00:00:00:06"}}, true},
		{"detached", []netconf.Link{lo, ens5}, true},
	} {
		if got := d.noteLinks(step.set); got != step.want {
			t.Errorf("links: %s: %v, want %v", step.name, got, step.want)
		}
	}
}
