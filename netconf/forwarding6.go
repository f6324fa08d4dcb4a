package netconf

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
)

const (
	ipForward6 = "net.ipv6.conf.all.forwarding"
	ipv6Conf   = "net/ipv6/conf/" // all, default, and one directory for each interface
)

// The values of accept_ra: Documentation/networking/ip-sysctl.rst.
const (
	acceptRAHost   = "1" // router advertisements are taken as long as the interface does not forward
	acceptRARouter = "2" // they are taken all the same
)

// ErrNoIPv6 is that the host, or an interface, does not do IPv6.
var ErrNoIPv6 = errors.New("IPv6 is off")

// IPv6 returns nil when the interface does IPv6, or with "" when any but the loopback interface does. Otherwise the error is
// ErrNoIPv6, with the reason and the remedy, or that the settings could not be read.
func (s *Sysctls) IPv6(link string) error {
	links, err := s.interfaces(ipv6Conf)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w in the kernel: boot it without ipv6.disable=1, or load its module ipv6", ErrNoIPv6)
	case err != nil:
		return err
	case link != "":
		return s.linkIPv6(link)
	}
	links = slices.DeleteFunc(links, func(name string) bool { return name == "lo" || name == "default" })
	if len(links) == 0 {
		links = []string{"default"} // which those get that come
	}
	for _, name := range links {
		if err := s.linkIPv6(name); !errors.Is(err, ErrNoIPv6) {
			return err
		}
	}
	return fmt.Errorf(`%w on every interface: "sysctl -w net.ipv6.conf.all.disable_ipv6=0" turns it on until the next boot; `+
		"what turns it off stands in /etc/sysctl.conf or /etc/sysctl.d", ErrNoIPv6)
}

// linkIPv6 is IPv6 for one interface. The kernel asks each interface's own setting; that of all only writes those.
func (s *Sysctls) linkIPv6(link string) error {
	off, err := s.Get(ipv6Conf + link + "/disable_ipv6")
	switch {
	case errors.Is(err, fs.ErrNotExist): // an interface with an MTU below 1280 (IPV6_MIN_MTU) has no settings at all
		return fmt.Errorf("%w on %s: it is not there, or its MTU is below 1280 bytes, which IPv6 needs", ErrNoIPv6, link)
	case err != nil:
		return err
	case off != "0":
		return fmt.Errorf(`%w on %s: "sysctl -w net/ipv6/conf/%s/disable_ipv6=0" turns it on until the next boot; `+
			"what turns it off stands in /etc/sysctl.conf or /etc/sysctl.d", ErrNoIPv6, link, link)
	}
	return nil
}

// Forwarding6 tells whether the host forwards IPv6. Where the kernel has no IPv6 it does not.
func (s *Sysctls) Forwarding6() (bool, error) {
	value, err := s.Get(ipForward6)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && value != "0", err
}

// EnableForwarding6 makes the host forward IPv6. Unlike with IPv4, the setting of all alone decides that (ip6_forward in
// net/ipv6/ip6_output.c); but writing it makes the kernel set forwarding of every interface, and of those to come, which
// makes each of them a router (addrconf_fixup_forwarding in net/ipv6/addrconf.c). A router takes no router
// advertisements, and the kernel removes the default routes that it learned from them, unless accept_ra is 2. So that goes
// first, where the interface took them until now. A program that handles them itself, such as systemd-networkd, has set 0,
// which stays.
//
// Restore turns forwarding off, puts back what the kernel changed, and accept_ra last: at each of the writes before it the kernel
// removes such default routes again.
//
// Where natd turned forwarding on, a later call does the same for interfaces that take router advertisements since. The error
// is fs.ErrNotExist where the kernel has no IPv6; IPv6 has the words for it.
func (s *Sysctls) EnableForwarding6() (changed bool, err error) {
	on, err := s.Forwarding6()
	if err != nil {
		return false, err
	}
	if _, own := s.ledger.changes[ipForward6]; on && !own {
		return false, nil // somebody else made the host a router, and decided about advertisements
	}
	kept, err := s.keepDefaultRoutes()
	if on || err != nil {
		return kept, err
	}
	along, err := s.forwardingMoves(ipv6Conf, ipForward6)
	if err != nil {
		return kept, err
	}
	changed, err = s.change(Change{Key: ipForward6, New: "1"}, along...)
	return changed || kept, err
}

// keepDefaultRoutes makes interfaces go on to take router advertisements as routers.
func (s *Sysctls) keepDefaultRoutes() (changed bool, err error) {
	// First those to come, so that none comes between.
	if changed, err = s.takeAdvertisements("default"); err != nil {
		return changed, err
	}
	names, err := s.interfaces(ipv6Conf)
	if err != nil {
		return changed, err
	}
	for _, name := range names {
		set, err := s.takeAdvertisements(name)
		changed = changed || set
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // the interface went away just now
			return changed, err
		}
	}
	return changed, nil
}

// takeAdvertisements makes an interface that takes router advertisements as a host take them as a router.
func (s *Sysctls) takeAdvertisements(name string) (changed bool, err error) {
	accept, err := s.Get(ipv6Conf + name + "/accept_ra")
	if err != nil || accept != acceptRAHost || name == "lo" {
		return false, err
	}
	router, err := s.wasRouter(name)
	if router || err != nil {
		return false, err
	}
	return s.change(Change{Key: ipv6Conf + name + "/accept_ra", New: acceptRARouter, Before: ipForward6})
}

// wasRouter tells whether somebody else had made the interface a router, or had decided so for interfaces to come.
func (s *Sysctls) wasRouter(name string) (bool, error) {
	for _, n := range []string{name, "default"} {
		if c, ok := s.ledger.changes[swapSeparators(ipv6Conf+n+"/forwarding")]; ok {
			return c.Old != "0", nil
		}
	}
	forwarding, err := s.Get(ipv6Conf + name + "/forwarding")
	return forwarding != "0", err
}
