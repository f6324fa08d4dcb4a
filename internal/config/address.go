package config

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"natd/nat"
)

// The functions of this file read what the file says about addresses. Their errors are rules, for table.fail.

// parseListen reads ADDR:PORTS, [V6]:PORTS or :PORTS.
func parseListen(s string) (nat.Listen, error) {
	host, portText, withPorts, err := splitPorts(s)
	switch {
	case err != nil:
		return nat.Listen{}, err
	case !withPorts && strings.Contains(s, ":"):
		return nat.Listen{}, errors.New(`has no port: write an IPv6 address in brackets and the port behind, as in "[fd00:2::100]:80"`)
	case !withPorts:
		return nat.Listen{}, errors.New(`has no port: write ADDR:PORT, ADDR:FIRST-LAST, [V6]:PORT or :PORT`)
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

// parseBackend reads an address or a name, with or without ports; those of the listen are the default.
func parseBackend(s string, listen nat.PortRange) (nat.Backend, error) {
	host, portText, withPorts, err := splitPorts(s)
	switch {
	case err != nil:
		return nat.Backend{}, err
	case host == "":
		return nat.Backend{}, errors.New("names no host: write ADDR:PORT or NAME:PORT")
	}
	b := nat.Backend{Ports: listen, Weight: 1}
	if _, notAddr := netip.ParseAddr(host); notAddr == nil || strings.Contains(host, ":") {
		b.Addr, err = parseAddr(host)
	} else {
		b.Name, err = parseName(host)
	}
	if err == nil && withPorts {
		b.Ports, err = parsePorts(portText)
	}
	if err == nil {
		err = checkWidth(b.Ports, listen)
	}
	return b, err
}

// splitPorts cuts HOST:PORTS in two; an IPv6 address with ports is in brackets.
func splitPorts(s string) (host, ports string, withPorts bool, err error) {
	if scheme, _, is := strings.Cut(s, "://"); is {
		return "", "", false, fmt.Errorf("is a URL: leave %s out, and all that comes behind the port", show(scheme+"://"))
	}
	inner, bracketed := strings.CutPrefix(s, "[")
	if !bracketed {
		if strings.Count(s, ":") > 1 {
			return s, "", false, nil
		}
		host, ports, withPorts = strings.Cut(s, ":")
		return host, ports, withPorts, nil
	}
	host, rest, closed := strings.Cut(inner, "]")
	switch {
	case !closed:
		return "", "", false, errors.New(`has "[" without "]": write [V6]:PORT`)
	case !strings.Contains(host, ":"):
		return "", "", false, errors.New("brackets are for IPv6 addresses: leave them out")
	case rest == "":
		return host, "", false, nil
	case rest[0] != ':':
		return "", "", false, errors.New(`only ":" and a port can come after "]": write [V6]:PORT`)
	}
	return host, rest[1:], true, nil
}

// parseAddr reads the address of one host that packets can be relayed from or to.
func parseAddr(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("%s is not an IP address", show(s))
	}
	if err := checkNotation(a); err != nil {
		return netip.Addr{}, err
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
	case a.IsLinkLocalUnicast() && a.Is4():
		err = fmt.Errorf("%s is a link-local address: it is never routed, and the metadata services of clouds live there", a)
	case a.IsLinkLocalUnicast():
		err = fmt.Errorf("%s is a link-local address: it is never routed", a)
	}
	return a, err
}

// checkNotation refuses IPv6 addresses that are more, or other, than an address.
func checkNotation(a netip.Addr) error {
	switch {
	case a.Zone() != "":
		return fmt.Errorf("%s has a zone: only link-local addresses need one, and they are never routed", show(a.String()))
	case a.Is4In6():
		return fmt.Errorf("%s is an IPv4 address in the notation of IPv6: write %s", a, a.Unmap())
	}
	return nil
}

// parseNetwork reads a network, or an address as a network of one.
func parseNetwork(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), checkNotation(a)
	}
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return netip.Prefix{}, fmt.Errorf(`%s is not a network such as "10.1.0.0/16" or "fd00:1::/64"`, show(s))
	case p.Addr().Is4In6():
		return netip.Prefix{}, fmt.Errorf("%s is IPv4 in the notation of IPv6: write the IPv4 network", show(s))
	case p != p.Masked():
		return netip.Prefix{}, fmt.Errorf("%s: host bits set; did you mean %s?", show(s), p.Masked())
	}
	return p, nil
}

// parseTranslated reads a network or an address whose hosts are translated one by one.
func parseTranslated(s string) (netip.Prefix, error) {
	p, err := parseNetwork(s)
	switch {
	case err != nil:
		return netip.Prefix{}, err
	case p.Bits() == 0:
		return netip.Prefix{}, fmt.Errorf("%s is every address there is: name the network that is translated", show(s))
	case p.IsSingleIP():
		_, err = parseAddr(p.Addr().String())
		return p, err
	}
	// Loopback, link-local and multicast: RFC 6890, RFC 5771, RFC 4291.
	for _, special := range []string{"127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "::1/128", "fe80::/10", "ff00::/8"} {
		if p.Overlaps(netip.MustParsePrefix(special)) {
			return netip.Prefix{}, fmt.Errorf("%s overlaps %s, which is not unicast that can be routed", show(s), special)
		}
	}
	return p, nil
}

// parseResolver reads ADDR:PORT or [V6]:PORT of a DNS server. Unlike a relay's, it may be on this host, or be
// the one that EC2 has at a link-local address.
func parseResolver(s string) (netip.AddrPort, error) {
	host, portText, withPorts, err := splitPorts(s)
	if err != nil {
		return netip.AddrPort{}, err
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%s is not an IP address", show(host))
	}
	if err := checkNotation(a); err != nil {
		return netip.AddrPort{}, err
	}
	switch {
	case !withPorts:
		return netip.AddrPort{}, fmt.Errorf("has no port: write %q", netip.AddrPortFrom(a, 53))
	case a.IsUnspecified(), a.IsMulticast(), a.Is6() && a.IsLinkLocalUnicast():
		return netip.AddrPort{}, fmt.Errorf("%s is not the address of a DNS server", a)
	}
	port, err := parsePort(portText)
	return netip.AddrPortFrom(a, port), err
}
