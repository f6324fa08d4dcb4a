package daemon

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"natd/internal/imds"
	"natd/nat"
	"natd/netconf"
)

// vpcFacts is hostFacts on an instance: ens5 is eni-0abc with 10.2.0.100, ens6 is eni-0def with 10.2.9.1; there are docker0 and lo.
func vpcFacts(set ...netconf.Address) *facts {
	f := hostFacts()
	f.addresses = append(f.addresses, set...)
	vpc := nets("10.2.0.0/16", "2001:db8:2::/56")
	f.instance = &instance{
		Identity: &imds.Identity{ID: "i-0123", Interfaces: []imds.Interface{{
			MAC: "02:00:00:00:00:05", ID: "eni-0abc", VPC: "vpc-0b", Subnet: "subnet-0b", VPCBlocks: vpc,
			SubnetBlocks: nets("10.2.0.0/24", "2001:db8:2::/64"), Prefixes: nets("10.2.0.16/28"),
			Addrs:  []netip.Addr{address("10.2.0.100"), address("10.2.0.102"), address("2001:db8:2::100")},
			Public: []imds.Association{{Public: address("203.0.113.5"), Private: address("10.2.0.100")}},
		}, {
			MAC: "02:00:00:00:00:06", ID: "eni-0def", Device: 1, VPC: "vpc-0b", Subnet: "subnet-0c", VPCBlocks: vpc,
			SubnetBlocks: nets("10.2.9.0/24"), Addrs: []netip.Addr{address("10.2.9.1"), address("10.2.9.2")},
		}}},
		links: []netconf.Link{
			{Name: "lo", Index: 1, Own: true},
			{Name: "ens5", Index: 2, MAC: "02:00:00:00:00:05"},
			{Name: "ens6", Index: 3, MAC: "02:00:00:00:00:06"},
			{Name: "docker0", Index: 4, MAC: "02:42:00:00:00:01"},
		},
		young: make(map[netip.Addr]bool),
	}
	return f
}

func nets(texts ...string) (list []netip.Prefix) {
	for _, text := range texts {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}

// set is an address that the host has.
func set(prefix, link string) netconf.Address {
	return netconf.Address{Addr: netip.MustParsePrefix(prefix), Link: link}
}

// delivery is an address, where the host has it, and what there is to say about that.
type delivery struct {
	name   string
	set    []netconf.Address
	addr   string
	change func(*instance)
	want   string
}

// noVPC is an answer without the networks of the VPC, but for those of the other family.
func noVPC(in *instance) {
	in.Interfaces[0].VPCBlocks, in.Interfaces[0].SubnetBlocks = nets("2001:db8:2::/56"), nil
}

// noIPv6 is an answer of a VPC for IPv4 alone.
func noIPv6(in *instance) {
	for i := range in.Interfaces {
		eni := &in.Interfaces[i]
		eni.VPCBlocks, eni.SubnetBlocks = sameFamily(eni.VPCBlocks, netip.IPv4Unspecified()), sameFamily(eni.SubnetBlocks, netip.IPv4Unspecified())
		eni.Addrs = slices.DeleteFunc(eni.Addrs, netip.Addr.Is6)
	}
}

// delivered is what nothing can be said against.
func delivered() []delivery {
	at := func(prefix string, links ...string) (all []netconf.Address) {
		for _, link := range links {
			all = append(all, set(prefix, link))
		}
		return all
	}
	young := func(in *instance) { in.young[address("10.2.0.101")] = true }
	return []delivery{
		{"primary", nil, "10.2.0.100", nil, ""},
		{"secondary", at("10.2.0.102/32", "ens5"), "10.2.0.102", nil, ""},
		{"of a delegated prefix", at("10.2.0.17/32", "ens5"), "10.2.0.17", nil, ""},
		{"IPv6", at("2001:db8:2::100/64", "ens5"), "2001:db8:2::100", nil, ""},
		{"not on the host", nil, "10.2.0.101", nil, ""},
		{"owned, on lo", at("10.2.0.102/32", "lo"), "10.2.0.102", nil, ""},
		{"on its owner and on another", at("10.2.9.2/32", "ens5", "ens6"), "10.2.9.2", nil, ""},
		{"of a container bridge", at("10.2.77.1/24", "docker0"), "10.2.77.1", nil, ""},
		{"overlay", at("192.168.1.1/32", "ens5"), "192.168.1.1", nil, ""},
		{"overlay on lo", at("192.168.1.1/32", "lo"), "192.168.1.1", nil, ""},
		{"link-local", at("169.254.9.9/32", "ens5"), "169.254.9.9", noVPC, ""},
		{"just set", at("10.2.0.101/24", "ens5"), "10.2.0.101", young, ""},
	}
}

// dropped is what AWS does not deliver.
func dropped() []delivery {
	const owns = "eni-0abc owns only 10.2.0.100, 10.2.0.102, 10.2.0.16/28: AWS drops its packets; "
	const assign4 = "run: aws ec2 assign-private-ip-addresses --network-interface-id eni-0abc --private-ip-addresses "
	at := func(prefix, link string) []netconf.Address { return []netconf.Address{set(prefix, link)} }
	return []delivery{
		{"unowned", at("10.2.0.101/24", "ens5"), "10.2.0.101", nil, "10.2.0.101 is set on ens5, but " + owns + assign4 + "10.2.0.101"},
		{
			"unowned IPv6", at("2001:db8:2::7/64", "ens5"), "2001:db8:2::7", nil,
			"2001:db8:2::7 is set on ens5, but eni-0abc owns only 2001:db8:2::100: AWS drops its packets; run: " +
				"aws ec2 assign-ipv6-addresses --network-interface-id eni-0abc --ipv6-addresses 2001:db8:2::7",
		},
		{
			"unowned, of another subnet", at("10.2.5.5/24", "ens5"), "10.2.5.5", nil,
			"10.2.5.5 is set on ens5, but " + owns + "use an address of its subnet 10.2.0.0/24: this one cannot be assigned to it",
		},
		{
			"IPv6 in a subnet without", at("2001:db8:2::7/64", "ens6"), "2001:db8:2::7", nil,
			"2001:db8:2::7 is set on ens6, but eni-0def owns only addresses of the other family: AWS drops its packets; " +
				"its subnet subnet-0c has no IPv6",
		},
		{
			"IPv6 in a VPC without", at("2001:db8:2::7/64", "ens5"), "2001:db8:2::7", noIPv6,
			"2001:db8:2::7 is set on ens5, but eni-0abc owns only addresses of the other family: AWS drops its packets; " +
				"its subnet subnet-0b has no IPv6",
		},
		{
			"outside of a VPC that is not known", at("192.168.1.1/32", "ens5"), "192.168.1.1", noVPC,
			"192.168.1.1 is set on ens5, but " + owns + assign4 + "192.168.1.1",
		},
		{
			"of another interface", at("10.2.9.2/32", "ens5"), "10.2.9.2", nil,
			"10.2.9.2 is set on ens5 (eni-0abc), but belongs to ens6 (eni-0def): AWS drops what ens5 sends from it; set it there",
		},
		{
			"unowned, on lo", at("10.2.0.101/32", "lo"), "10.2.0.101", nil,
			"10.2.0.101 is set on lo, but no network interface of i-0123 owns it: AWS delivers nothing to it; " + assign4 + "10.2.0.101",
		},
		{
			"unowned, on lo, of no subnet here", at("10.2.5.5/32", "lo"), "10.2.5.5", nil,
			"10.2.5.5 is set on lo, but no network interface of i-0123 owns it, and none is in its subnet: AWS delivers " +
				"nothing to it; use an address of the instance",
		},
	}
}

func TestUndelivered(t *testing.T) {
	t.Parallel()
	for _, tt := range slices.Concat(delivered(), dropped()) {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := vpcFacts(tt.set...)
			if tt.change != nil {
				tt.change(f.instance)
			}
			if got := f.undelivered(address(tt.addr)); got != tt.want {
				t.Errorf("\n got %q\nwant %q", got, tt.want)
			}
		})
	}
}

// TestPlaceInVPC wants relays whose packets AWS drops to stay in the kernel, and to say why they are degraded.
func TestPlaceInVPC(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		relay nat.Relay
		held  bool
		want  string // "" = ready
	}{
		{"as it should be", relay("a", "10.2.0.100:80"), false, ""},
		{"every address", relay("a", ":80"), false, ""},
		{"listen", relay("a", "10.2.0.101:80"), false, "10.2.0.101 is set on ens5, but eni-0abc owns only"},
		{"snat", relay("a", "10.2.0.100:80", from(nat.SNATFixed, "10.2.0.101")), false, "10.2.0.101 is set on ens5, but eni-0abc owns only"},
		{"snat by no interface of AWS", relay("a", "10.2.0.100:80", to("10.2.77.9"), from(nat.SNATFixed, "10.2.0.101")), false, ""},
		{"public", relay("a", "203.0.113.5:80"), false, "listen address 203.0.113.5 is the public address of 10.2.0.100: listen on 10.2.0.100"},
		{
			"not set", relay("a", "10.2.0.102:80"), false, "listen address 10.2.0.102 is on no interface: eni-0abc owns it, but the host " +
				"has not set it: ip address add 10.2.0.102/24 dev ens5 (or let amazon-ec2-net-utils or cloud-init do it)",
		},
		{
			"snat not set", relay("a", "10.2.0.100:80", from(nat.SNATFixed, "10.2.9.2")), true, "snat address 10.2.9.2 is on no interface: eni-0def owns it, " +
				"but the host has not set it: ip address add 10.2.9.2/24 dev ens6 (or let amazon-ec2-net-utils or cloud-init do it)",
		},
		{"unknown to AWS, too", relay("a", "10.2.0.77:80"), false, "listen address 10.2.0.77 is on no interface: add it to one, or correct listen"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := vpcFacts(set("10.2.0.101/24", "ens5"))
			f.ways[address("10.2.77.9")] = &way{route: netconf.Route{Link: "docker0", Source: address("10.2.77.1")}}
			got := placeOn(f, &nat.Spec{Relays: []nat.Relay{tt.relay}}, nil).relays[0]
			if got.Held != tt.held || !strings.HasPrefix(got.reason(), tt.want) || (got.reason() == "") != (tt.want == "") {
				t.Errorf("held %v for %q, want %v for %q", got.Held, got.reason(), tt.held, tt.want)
			}
			if strings.Count(got.reason(), "10.2.0.101 is set") > 1 {
				t.Errorf("it repeats itself: %q", got.reason())
			}
		})
	}
}

// TestLeavesByAnother wants packets that AWS drops, because they leave by another network interface than their source belongs
// to, to be told from those that it delivers. 10.3.0.9 is routed by ens6, with a source that depends.
func TestLeavesByAnother(t *testing.T) {
	t.Parallel()
	const fixed, auto = nat.SNATFixed, nat.SNATAuto
	const dropped = "10.2.0.100 belongs to ens5 (eni-0abc), but packets to 10.3.0.9 leave by ens6 (eni-0def), whose source/destination " +
		"check drops them: snat to an address of eni-0def, "
	none := func(*facts) {}
	tests := []struct {
		name   string
		mode   nat.SNATMode
		snat   string // fixed, or that of the route
		change func(*facts)
		want   string
	}{
		{"of the other", fixed, "10.2.0.100", none, dropped + "as 10.2.9.1, or route 10.3.0.9 by ens5"},
		{"of the other, by the route", auto, "10.2.0.100", none, dropped + "as 10.2.9.1, or route 10.3.0.9 by ens5"},
		{"its own", fixed, "10.2.9.1", none, ""},
		{"its own, by the route", auto, "10.2.9.1", none, ""},
		{"its own, set on the other", fixed, "10.2.9.2", func(f *facts) { f.addresses = append(f.addresses, set("10.2.9.2/32", "ens5")) }, ""},
		{"of none", fixed, "10.2.9.9", func(f *facts) { f.addresses = append(f.addresses, set("10.2.9.9/32", "ens6")) }, "10.2.9.9 is set on ens6, but eni-0def owns only "},
		{"nothing else to send from", fixed, "10.2.0.100", func(f *facts) {
			f.addresses = slices.DeleteFunc(f.addresses, func(a netconf.Address) bool { return a.Link == "ens6" })
		}, dropped + "or route 10.3.0.9 by ens5"},
		{"owner without a link", fixed, "10.2.0.100", func(f *facts) {
			f.instance.links = slices.DeleteFunc(f.instance.links, func(l netconf.Link) bool { return l.Name == "ens5" })
		}, "10.2.0.100 belongs to eni-0abc, but packets to 10.3.0.9 leave by ens6 (eni-0def), whose source/destination check drops them: " +
			"snat to an address of eni-0def, as 10.2.9.1"},
		{"just set", fixed, "10.2.0.100", func(f *facts) { f.instance.young[address("10.2.0.100")] = true }, ""},
		{"by an interface that AWS does not have yet", fixed, "10.2.0.100", func(f *facts) { f.instance.Interfaces = f.instance.Interfaces[:1] }, ""},
		{"of an instance that is not known", fixed, "10.2.0.100", func(f *facts) { f.instance = nil }, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := vpcFacts()
			f.ways[address("10.3.0.9")] = &way{route: netconf.Route{Link: "ens6", Source: address(tt.snat)}}
			tt.change(f)
			got := placeOn(f, &nat.Spec{Relays: []nat.Relay{relay("a", ":80", to("10.3.0.9"), from(tt.mode, tt.snat))}}, nil).relays[0]
			if got.Held || !strings.HasPrefix(got.reason(), tt.want) || (tt.want == "") != (got.reason() == "") {
				t.Errorf("held %v for\n got %q\nwant %q", got.Held, got.reason(), tt.want)
			}
		})
	}
}

// TestSameWay wants a change of what AWS says to be a change of the relay's state, and no repair of the host's network.
func TestSameWay(t *testing.T) {
	t.Parallel()
	spec := &nat.Spec{Relays: []nat.Relay{relay("a", "10.2.0.101:80")}}
	before := vpcFacts(set("10.2.0.101/24", "ens5"))
	after := vpcFacts(set("10.2.0.101/24", "ens5"))
	after.instance.Interfaces[0].Addrs = append(after.instance.Interfaces[0].Addrs, address("10.2.0.101"))
	a, b := placeOn(before, spec, nil).relays, placeOn(after, spec, nil).relays
	if a[0].same(&b[0]) || !a[0].sameWay(&b[0]) {
		t.Errorf("%+v and %+v: want the same way, and another state", a[0], b[0])
	}
	if !before.instance.hopeful(a) || after.instance.hopeful(b) {
		t.Error("hope is for what AWS may yet change")
	}
}

func TestOwnedIsShort(t *testing.T) {
	t.Parallel()
	eni := &imds.Interface{ID: "eni-0abc"}
	if got := owned(eni, address("10.2.0.1")); got != "addresses of the other family" {
		t.Errorf("without any: %q", got)
	}
	for range 10 {
		eni.Addrs = append(eni.Addrs, address("10.2.0.9"))
	}
	if got, want := owned(eni, address("10.2.0.1")), "10.2.0.9, 10.2.0.9, 10.2.0.9, 10.2.0.9 and 6 more"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
