package firewall

import (
	"fmt"
	"net/netip"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
)

// host is what rules ask about besides the packet.
type host struct {
	links     map[string]link
	addrs     map[netip.Addr]map[string]bool // the host's own, and the devices that have them
	broadcast map[netip.Addr]bool
	bridges   bool // there is one
}

// link is a device.
type link struct {
	index, group uint32
	kind         uint16 // ARPHRD_*
}

// readHost reads the devices and addresses of the host.
func readHost() (host, error) {
	h := host{links: make(map[string]link), addrs: make(map[netip.Addr]map[string]bool), broadcast: make(map[netip.Addr]bool)}
	nl, err := netlink.NewHandle()
	if err != nil {
		return h, fmt.Errorf("open a netlink socket: %w", err)
	}
	defer nl.Close()
	links, err := nl.LinkList()
	if err != nil {
		return h, fmt.Errorf("list the network devices: %w", err)
	}
	names := make(map[int]string)
	for _, l := range links {
		a := l.Attrs()
		names[a.Index] = a.Name
		h.links[a.Name] = link{uint32(a.Index), a.Group, arphrd(a.EncapType)}
		h.bridges = h.bridges || l.Type() == "bridge"
	}
	addrs, err := nl.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return h, fmt.Errorf("list the addresses of the host: %w", err)
	}
	for _, a := range addrs {
		h.add(a, names[a.LinkIndex])
	}
	return h, nil
}

func (h *host) add(a netlink.Addr, device string) {
	ip, ok := netip.AddrFromSlice(a.IP)
	if !ok {
		return
	}
	ip = ip.Unmap()
	if h.addrs[ip] == nil {
		h.addrs[ip] = make(map[string]bool)
	}
	h.addrs[ip][device] = true
	ones, size := a.Mask.Size()
	const pointToPoint = 31 // from here on there is no broadcast address (RFC 3021)
	if b, ok := netip.AddrFromSlice(a.Broadcast); ok {
		h.broadcast[b.Unmap()] = true
	}
	if ip.Is4() && size == 32 && ones < pointToPoint && ones > 0 {
		last := ip.As4()
		for i, m := range a.Mask {
			last[i] |= ^m
		}
		h.broadcast[netip.AddrFrom4(last)] = true
	}
}

// arphrd is the number of a link layer (ARPHRD_* of linux/if_arp.h) for the name that the netlink library has for it; 0 = some
// other.
func arphrd(name string) uint16 {
	return map[string]uint16{"ether": 1, "loopback": 772, "ppp": 512, "ipip": 768, "tunnel6": 769, "sit": 776, "gre": 778, "none": 0xfffe}[name]
}

// LegacyTables names the tables of iptables-legacy, as "ip filter": their rules are not those of nf_tables, and cannot be
// seen here. Iptables-legacy makes a table when it first looks at it.
func LegacyTables() []string {
	var all []string
	for _, f := range [][2]string{{"ip", "/proc/thread-self/net/ip_tables_names"}, {"ip6", "/proc/thread-self/net/ip6_tables_names"}} {
		b, err := os.ReadFile(f[1])
		if err != nil {
			continue // a kernel without them
		}
		for name := range strings.FieldsSeq(string(b)) {
			all = append(all, f[0]+" "+name)
		}
	}
	return all
}
