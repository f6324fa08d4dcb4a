package netconf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strconv"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Values of rp_filter: Documentation/networking/ip-sysctl.rst. RFC 3704 calls them strict and loose.
const (
	reversePathStrict = 1
	reversePathLoose  = 2
)

// Ingress is a way in: packets of these clients arrive by this interface.
type Ingress struct {
	Clients netip.Prefix // the zero Prefix stands for everybody
	Link    string
}

// StrictDrops returns the interfaces, in order, whose reverse path filter would drop packets of these clients, and should
// be loosened: it is strict, and the host's route back to the clients leaves by another interface. The kernel
// filters after DNAT (ip_rcv_finish comes after the prerouting hook), so that rules that route by the address
// which clients dial do not count.
//
// The route is asked for the first and the last address of the clients' network. Clients to whom no route leads are not
// counted: a loose filter drops them as well. IPv6 has no such filter.
func StrictDrops(h *Host, s *Sysctls, ways []Ingress) ([]string, error) {
	var paths []reversePath
	for _, way := range ways {
		filter, err := s.ReversePathFilter(way.Link)
		if errors.Is(err, fs.ErrNotExist) || err == nil && filter != reversePathStrict {
			continue // an interface that is not there drops nothing
		}
		if err != nil {
			return nil, err
		}
		for _, client := range outermost(way.Clients) {
			back, err := h.linksTo(client)
			if err != nil {
				return nil, fmt.Errorf("find the way back to %s: %w", client, err)
			}
			paths = append(paths, reversePath{link: way.Link, filter: filter, back: back})
		}
	}
	return dropping(paths), nil
}

// reversePath is what the kernel looks at for a packet: the interface it came by and the effective filter there, and the
// interfaces that lead back to its sender.
type reversePath struct {
	link   string
	filter int
	back   []string
}

// dropping picks the interfaces whose filter drops what a loose one would let pass: __fib_validate_source
// in net/ipv4/fib_frontend.c.
func dropping(paths []reversePath) []string {
	var links []string
	for _, p := range paths {
		if p.filter == reversePathStrict && len(p.back) > 0 && !slices.Contains(p.back, p.link) {
			links = append(links, p.link)
		}
	}
	slices.Sort(links)
	return slices.Compact(links)
}

// outermost is the first and the last address of an IPv4 network that a host can have.
func outermost(clients netip.Prefix) []netip.Addr {
	if !clients.IsValid() {
		clients = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	if !clients.Addr().Is4() {
		return nil
	}
	network := clients.Masked().Addr()
	if clients.Bits() >= 31 { // no network and broadcast address: RFC 3021
		return []netip.Addr{network}
	}
	first := network.As4()
	n := binary.BigEndian.Uint32(first[:])
	return []netip.Addr{ipv4(n + 1), ipv4(n + 1<<(32-clients.Bits()) - 2)}
}

func ipv4(n uint32) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], n)
	return netip.AddrFrom4(b)
}

// linksTo lists the interfaces by which packets to dst may leave: one, or several when the route has several next hops.
// There are none when no route leads there, and when dst is the host itself.
func (h *Host) linksTo(dst netip.Addr) ([]string, error) {
	answer, err := h.lookup(dst, netlink.RouteGetOptions{FIBMatch: true})
	if errors.Is(err, ErrNoRoute) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if answer.Type == unix.RTN_LOCAL {
		return nil, nil
	}
	indexes := []int{answer.LinkIndex}
	if len(answer.MultiPath) > 0 {
		indexes = indexes[:0]
		for _, hop := range answer.MultiPath {
			indexes = append(indexes, hop.LinkIndex)
		}
	}
	var links []string
	for _, index := range indexes {
		name, err := h.linkName(index)
		if errors.Is(err, unix.ENODEV) {
			continue // it went away just now
		}
		if err != nil {
			return nil, err
		}
		links = append(links, name)
	}
	return links, nil
}

// ReversePathFilter is the reverse path filter in effect on an interface: the greater of its own and that of all
// (IN_DEV_RPFILTER in linux/inetdevice.h). 0 is off, 1 strict, 2 loose.
func (s *Sysctls) ReversePathFilter(link string) (int, error) {
	filter := 0
	for _, name := range []string{"all", link} {
		value, err := s.Get(ipv4Conf + name + "/rp_filter")
		if err != nil {
			return 0, err
		}
		n, err := strconv.Atoi(value)
		if err != nil {
			return 0, fmt.Errorf("read the reverse path filter of %s: %w", name, err)
		}
		filter = max(filter, n)
	}
	return filter, nil
}

// LoosenReversePath makes the interface take packets from every source that the host has a route to, by whichever
// interface that route leaves.
func (s *Sysctls) LoosenReversePath(link string) (changed bool, err error) {
	return s.Set(ipv4Conf+link+"/rp_filter", strconv.Itoa(reversePathLoose))
}
