package config

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"natd/nat"
)

// The functions of this file read what the file says about addresses and ports. Their errors are rules, for table.fail.

// errIPv6 refuses IPv6 in whatever place.
var errIPv6 = errors.New("IPv6 is " + later)

// parseListen reads ADDR:PORTS or :PORTS.
func parseListen(s string) (nat.Listen, error) {
	if isIPv6(s) {
		return nat.Listen{}, errIPv6
	}
	host, portText, ok := strings.Cut(s, ":")
	if !ok {
		return nat.Listen{}, errors.New(`has no port: write ADDR:PORT, ADDR:FIRST-LAST or :PORT`)
	}
	ports, err := parsePorts(portText)
	if err != nil || host == "" {
		return nat.Listen{Ports: ports}, err
	}
	addr, err := parseAddr(host)
	if addr.IsUnspecified() {
		err = fmt.Errorf("leave the address out to listen on every local address: write \":%s\"", portText)
	}
	return nat.Listen{Addr: addr, Ports: ports}, err
}

// parseBackend reads ADDR, ADDR:PORT or ADDR:FIRST-LAST, where the ports of the listen are the default.
func parseBackend(s string, listen nat.PortRange) (nat.Backend, error) {
	if isIPv6(s) {
		return nat.Backend{}, errIPv6
	}
	host, portText, withPorts := strings.Cut(s, ":")
	addr, err := parseAddr(host)
	if err != nil {
		if isHostname(host) {
			err = errors.New("a backend by name is " + later + ": write its address")
		}
		return nat.Backend{}, err
	}
	if !withPorts {
		return nat.Backend{Addr: addr, Ports: listen}, nil
	}
	ports, err := parsePorts(portText)
	if err == nil {
		err = checkWidth(ports, listen)
	}
	return nat.Backend{Addr: addr, Ports: ports}, err
}

// checkWidth holds the backend's ports against those that clients dial. A listen that is wrong itself is no measure.
func checkWidth(ports, listen nat.PortRange) error {
	switch {
	case listen.First == 0:
		return nil
	case ports.Width() != listen.Width():
		return fmt.Errorf("%s, but listen has %s: both must have the same number", portCount(ports), portCount(listen))
	case ports.Width() > 1 && ports != listen:
		return fmt.Errorf("a range other than that of listen (%s) is %s", listen, later)
	}
	return nil
}

func portCount(r nat.PortRange) string {
	if r.Width() == 1 {
		return "1 port"
	}
	return fmt.Sprintf("%d ports", r.Width())
}

// parsePorts reads PORT or FIRST-LAST.
func parsePorts(s string) (nat.PortRange, error) {
	firstText, lastText, isRange := strings.Cut(s, "-")
	first, err := parsePort(firstText)
	if err != nil || !isRange {
		return nat.PortRange{First: first, Last: first}, err
	}
	last, err := parsePort(lastText)
	if err != nil {
		return nat.PortRange{}, err
	}
	if first > last {
		return nat.PortRange{}, fmt.Errorf("the first port of %d-%d is above the last; did you mean %d-%d?", first, last, last, first)
	}
	return nat.PortRange{First: first, Last: last}, nil
}

func parsePort(s string) (uint16, error) {
	if s == "" {
		return 0, errors.New("a port is missing")
	}
	if strings.Trim(s, "0123456789") != "" {
		return 0, fmt.Errorf("port %s is not a number in 1-65535", show(s))
	}
	port, err := strconv.ParseUint(s, 10, 16)
	if err != nil || port == 0 {
		return 0, fmt.Errorf("port %s is not in 1-65535", shorten(head(s), ""))
	}
	return uint16(port), nil
}

// parseAddr reads the IPv4 address of one host that packets can be relayed from or to.
func parseAddr(s string) (netip.Addr, error) {
	if isIPv6(s) {
		return netip.Addr{}, errIPv6
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("%s is not an IPv4 address", show(s))
	}
	switch {
	case a.IsUnspecified():
		err = fmt.Errorf("%s is not the address of a host", a)
	case a.IsLoopback():
		err = fmt.Errorf("%s is a loopback address: nothing can be relayed from or to it", a)
	case a.IsMulticast():
		err = fmt.Errorf("%s is a multicast address: only unicast can be relayed", a)
	case a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		err = fmt.Errorf("%s is the broadcast address: only unicast can be relayed", a)
	case a.IsLinkLocalUnicast():
		err = fmt.Errorf("%s is a link-local address: it is never routed, and the metadata services of clouds live there", a)
	}
	return a, err
}

// parseSource reads a network, or an address as a network of one.
func parseSource(s string) (netip.Prefix, error) {
	if isIPv6(s) {
		return netip.Prefix{}, fmt.Errorf("%s: %w", show(s), errIPv6)
	}
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%s is not an IPv4 network such as \"10.1.0.0/16\"", show(s))
	}
	if p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("%s: host bits set; did you mean %s?", show(s), p.Masked())
	}
	return p, nil
}

// isIPv6 tells whether the text is meant as an IPv6 address, with or without a port.
func isIPv6(s string) bool {
	return strings.HasPrefix(s, "[") || strings.Count(s, ":") > 1
}

// isHostname tells whether the text is meant as a DNS name: letters, digits, dots and hyphens (RFC 1123, 2.1), with
// a letter to tell it from an address.
func isHostname(s string) bool {
	letter := false
	for _, c := range []byte(s) {
		isLetter := 'a' <= c|0x20 && c|0x20 <= 'z'
		if !isLetter && c != '.' && !isBare(c) {
			return false
		}
		letter = letter || isLetter
	}
	return letter
}
