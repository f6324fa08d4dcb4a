package daemon

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"natd/internal/imds"
	"natd/netconf"
)

// holders is the links that hold the address.
func (f *facts) holders(a netip.Addr) (links []netconf.Link) {
	for _, held := range f.addresses {
		if held.Addr.Addr() != a {
			continue
		}
		if i := slices.IndexFunc(f.instance.links, func(l netconf.Link) bool { return l.Name == held.Link }); i >= 0 {
			links = append(links, f.instance.links[i])
		}
	}
	return links
}

// undelivered is why AWS does not deliver packets for an address of this host; "" when it does, or when that is not AWS's
// business: an address outside of the VPC is routed by its route tables, one of a tunnel or a container bridge not at all.
func (f *facts) undelivered(a netip.Addr) string {
	in := f.instance
	if in.young[a] || a.IsLinkLocalUnicast() {
		return ""
	}
	owner := in.owner(a)
	var wrong *netconf.Link // where the address is, and AWS does not look
	for _, link := range f.holders(a) {
		switch eni := in.of(link); {
		case eni == nil && !link.Own, owner != nil && (eni == nil || eni == owner):
			return ""
		case wrong == nil && (eni != nil || in.inVPC(a)):
			wrong = &link
		}
	}
	switch {
	case wrong == nil:
		return ""
	case owner != nil:
		return in.misplaced(a, wrong, owner)
	}
	return in.unowned(a, wrong)
}

// misplaced is the reason for an address that belongs to another network interface of the instance.
func (in *instance) misplaced(a netip.Addr, on *netconf.Link, owner *imds.Interface) string {
	return fmt.Sprintf("%s is set on %s (%s), but belongs to %s: AWS drops what %s sends from it; set it there",
		a, on.Name, in.of(*on).ID, in.named(owner), on.Name)
}

// unsent is why AWS drops what leaves by the link for the backend with this source; "" when it does not, or when the link is
// none of AWS's. What counts is the network interface that a packet leaves by, and its source/destination check (Amazon EC2 User
// Guide, "Elastic network interfaces"), wherever the host has the address.
func (f *facts) unsent(a, backend netip.Addr, link string) string {
	in := f.instance
	out, owner := in.behind(link), in.owner(a)
	switch {
	case out == nil || owner == out || in.young[a]:
		return ""
	case owner == nil:
		return f.undelivered(a)
	}
	text := fmt.Sprintf("%s belongs to %s, but packets to %s leave by %s (%s), whose source/destination check drops them: "+
		"snat to an address of %s", a, in.named(owner), backend, link, out.ID, out.ID)
	own := slices.IndexFunc(f.addresses, func(h netconf.Address) bool { return out.Owns(h.Addr.Addr()) && h.Addr.Addr().Is4() == a.Is4() })
	if own >= 0 {
		text += fmt.Sprintf(", as %s", f.addresses[own].Addr.Addr())
	}
	if device := in.device(owner); device != "" {
		text += fmt.Sprintf(", or route %s by %s", backend, device)
	}
	return text
}

// unowned is the reason for an address that no network interface of the instance has.
func (in *instance) unowned(a netip.Addr, on *netconf.Link) string {
	eni := in.of(*on)
	if eni == nil {
		candidate := in.find(func(i *imds.Interface) bool { return anyContains(i.SubnetBlocks, a) })
		if candidate == nil {
			return fmt.Sprintf("%s is set on %s, but no network interface of %s owns it, and none is in its subnet: AWS delivers "+
				"nothing to it; use an address of the instance", a, on.Name, in.ID)
		}
		return fmt.Sprintf("%s is set on %s, but no network interface of %s owns it: AWS delivers nothing to it; run: %s",
			a, on.Name, in.ID, assign(candidate, a))
	}
	if known := sameFamily(eni.VPCBlocks, a); len(known) > 0 && !anyContains(known, a) {
		return "" // an overlay address
	}
	finding := fmt.Sprintf("%s is set on %s, but %s owns only %s: AWS drops its packets", a, on.Name, eni.ID, owned(eni, a))
	switch subnet := sameFamily(eni.SubnetBlocks, a); {
	case len(subnet) > 0 && !anyContains(subnet, a):
		return fmt.Sprintf("%s; use an address of its subnet %s: this one cannot be assigned to it", finding, subnet[0])
	case len(subnet) == 0 && a.Is6(): // the blocks of IPv4 are of every subnet, those of IPv6 only of one that has it
		return fmt.Sprintf("%s; its subnet %s has no IPv6", finding, eni.Subnet)
	}
	return finding + "; run: " + assign(eni, a)
}

// absent says what to do about an address that is on no link of the host: what AWS knows about it, or else the hint.
func (f *facts) absent(a netip.Addr, use, hint string) string {
	if f.instance == nil {
		return "is on no interface" + hint
	}
	for i := range f.instance.Interfaces {
		for _, p := range f.instance.Interfaces[i].Public {
			if p.Public == a {
				return fmt.Sprintf("is the public address of %s: %s %s", p.Private, use, p.Private)
			}
		}
	}
	owner := f.instance.owner(a)
	if owner == nil {
		return "is on no interface" + hint
	}
	text := fmt.Sprintf("is on no interface: %s owns it, but the host has not set it", owner.ID)
	if device := f.instance.device(owner); device != "" {
		text += fmt.Sprintf(": ip address add %s dev %s (or let amazon-ec2-net-utils or cloud-init do it)", inSubnet(owner, a), device)
	}
	return text
}

// ownedShown is how many addresses of a network interface a reason names.
const ownedShown = 4

// owned is the addresses and prefixes that the network interface has, of the family of a.
func owned(i *imds.Interface, a netip.Addr) string {
	var list []string
	for _, addr := range i.Addrs {
		if addr.Is4() == a.Is4() {
			list = append(list, addr.String())
		}
	}
	list = append(list, texts(sameFamily(i.Prefixes, a))...)
	switch more := len(list) - ownedShown; {
	case len(list) == 0:
		return "addresses of the other family"
	case more > 0:
		return fmt.Sprintf("%s and %d more", strings.Join(list[:ownedShown], ", "), more)
	}
	return strings.Join(list, ", ")
}

// assign is the command that gives the address to the network interface.
func assign(i *imds.Interface, a netip.Addr) string {
	if a.Is4() {
		return fmt.Sprintf("aws ec2 assign-private-ip-addresses --network-interface-id %s --private-ip-addresses %s", i.ID, a)
	}
	return fmt.Sprintf("aws ec2 assign-ipv6-addresses --network-interface-id %s --ipv6-addresses %s", i.ID, a)
}

// inSubnet is the address with the length of its subnet, or its own where that is not known.
func inSubnet(i *imds.Interface, a netip.Addr) netip.Prefix {
	for _, block := range i.SubnetBlocks {
		if block.Contains(a) {
			return netip.PrefixFrom(a, block.Bits())
		}
	}
	return netip.PrefixFrom(a, a.BitLen())
}

// inVPC tells whether the address is one that only AWS can give away.
func (in *instance) inVPC(a netip.Addr) bool {
	return in.find(func(i *imds.Interface) bool { return anyContains(i.VPCBlocks, a) }) != nil
}

func anyContains(blocks []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(blocks, func(p netip.Prefix) bool { return p.Contains(a) })
}

func sameFamily(blocks []netip.Prefix, a netip.Addr) (same []netip.Prefix) {
	for _, p := range blocks {
		if p.Addr().Is4() == a.Is4() {
			same = append(same, p)
		}
	}
	return same
}
