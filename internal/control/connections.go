package control

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// What a connection can belong to.
const (
	KindRelay   = "relay"
	KindGateway = "gateway"
	KindStatic  = "static"
)

// Connection is one tracked connection, with the addresses of both of its legs.
type Connection struct {
	Relay    string `json:"relay"` // the name of what it belongs to: a relay, gateway or static
	Kind     string `json:"kind"`  // of that
	Protocol string `json:"protocol"`
	State    string `json:"state"`  // TCP or SCTP state, else REPLIED | UNREPLIED
	Client   string `json:"client"` // ADDR:PORT, or ADDR where the protocol has no ports
	Listen   string `json:"listen"`
	SNAT     string `json:"snat"`
	Target   string `json:"target"`
	Timeout  int    `json:"timeout_seconds"` // 0 on the fast path: the kernel does not forget it there
	Fast     bool   `json:"fast_path"`
	Bytes    Volume `json:"bytes"`
	Packets  Volume `json:"packets"`
}

// ConnectionList is the answer to "connections".
type ConnectionList struct {
	SchemaVersion int          `json:"schema_version"`
	Connections   []Connection `json:"connections"`
	Truncated     bool         `json:"truncated"` // there are more than the answer holds
	Matched       int          `json:"matched"`   // how many there are of those that were asked for
	Active        int          `json:"active"`    // of these, those that both sides have spoken on and that have not ended
	Conntrack     Conntrack    `json:"conntrack"` // of the whole host
}

// ConnectionsArgs are the arguments of [OpConnections]: which connections, in which order, and how many. What is "" or 0 asks for
// nothing in particular.
type ConnectionsArgs struct {
	Relay    string `json:"relay,omitempty"`    // the name of a relay, gateway or static
	Client   string `json:"client,omitempty"`   // ADDR, or a network as ADDR/BITS
	Target   string `json:"target,omitempty"`   // ADDR or ADDR:PORT
	SNAT     string `json:"snat,omitempty"`     // likewise
	State    string `json:"state,omitempty"`    // as in [Connection], in upper or lower case
	Protocol string `json:"protocol,omitempty"` // as in [Connection], or its number
	Sort     string `json:"sort,omitempty"`     // one of the SortBy words; "" = as the kernel has them
	Limit    int    `json:"limit,omitempty"`    // at most this many; 0 = as many as an answer holds
}

// The orders of connections.
const (
	SortByBytes   = "bytes"   // of both directions together, the most first
	SortByPackets = "packets" // likewise
	SortByTimeout = "timeout" // what the kernel forgets first comes first
	SortByClient  = "client"  // by address and port
)

// MaxConnections bounds the answer to [OpConnections].
const MaxConnections = 100_000

// ConnectionFilter is what [ConnectionsArgs] ask for, understood and checked.
type ConnectionFilter struct {
	Relay    string
	Client   netip.Prefix // the zero value = any
	Target   Place
	SNAT     Place
	State    string // in upper case; whether there is such a state is for others to know
	Protocol int    // its number, see https://www.iana.org/assignments/protocol-numbers; -1 = any
	Sort     string
	Limit    int // from 1 to [MaxConnections]
}

// Place is an address with a port or without. The zero Place is anywhere.
type Place struct {
	Addr netip.Addr
	Port uint16 // 0 = any
}

// Has tells whether the place is, or holds, an address and port.
func (p Place) Has(a netip.AddrPort) bool {
	return !p.Addr.IsValid() || p.Addr == a.Addr() && (p.Port == 0 || p.Port == a.Port())
}

// Filter understands the arguments. The error names the argument, its value and what it may be.
func (a ConnectionsArgs) Filter() (*ConnectionFilter, error) {
	f := &ConnectionFilter{Relay: a.Relay, State: strings.ToUpper(a.State), Sort: a.Sort, Limit: a.Limit}
	var errs [5]error
	f.Client, errs[0] = ParseClients(a.Client)
	f.Target, errs[1] = ParsePlace("target", a.Target)
	f.SNAT, errs[2] = ParsePlace("snat", a.SNAT)
	f.Protocol, errs[3] = protocolNumber(a.Protocol)
	if orders := []string{"", SortByBytes, SortByPackets, SortByTimeout, SortByClient}; !slices.Contains(orders, a.Sort) {
		errs[4] = fmt.Errorf("sort %q must be one of %s", a.Sort, strings.Join(orders[1:], ", "))
	}
	if err := errors.Join(errs[:]...); err != nil {
		return nil, Errorf(CodeUsage, "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	switch {
	case a.Limit < 0 || a.Limit > MaxConnections:
		return nil, Errorf(CodeUsage, "limit %d must be from 1 to %d, or 0 for no other limit", a.Limit, MaxConnections)
	case a.Limit == 0:
		f.Limit = MaxConnections
	}
	return f, nil
}

// ParseClients reads an address, or a network as ADDR/BITS; "" is the zero Prefix, for any.
func ParseClients(s string) (netip.Prefix, error) {
	if s == "" {
		return netip.Prefix{}, nil
	}
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf(`client %q must be an address such as "10.1.0.100" or a network such as "10.1.0.0/16"`, s)
	}
	return p.Masked(), nil
}

// ParsePlace reads ADDR or ADDR:PORT, of IPv6 V6 or [V6]:PORT; "" is the zero Place, for anywhere. The key is for the error.
func ParsePlace(key, s string) (Place, error) {
	if s == "" {
		return Place{}, nil
	}
	if a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")); err == nil && a.Zone() == "" {
		return Place{Addr: a.Unmap()}, nil
	}
	a, err := netip.ParseAddrPort(s)
	if err != nil || a.Addr().Zone() != "" || a.Port() == 0 {
		return Place{}, fmt.Errorf(`%s %q must be an address such as "10.3.0.100" or "fd00::1", or one with its port such as "10.3.0.100:80" or "[fd00::1]:80"`, key, s)
	}
	return Place{Addr: a.Addr().Unmap(), Port: a.Port()}, nil
}

// protocolNumber is the number of a protocol that natd has a name for, or that is given as a number; -1 for "".
func protocolNumber(s string) (int, error) {
	switch strings.ToLower(s) {
	case "":
		return -1, nil
	case "icmp":
		return 1, nil
	case "tcp":
		return 6, nil
	case "udp":
		return 17, nil
	case "icmpv6", "ipv6-icmp":
		return 58, nil
	case "sctp":
		return 132, nil
	}
	n, err := strconv.ParseUint(s, 10, 8)
	if err != nil {
		return 0, fmt.Errorf("protocol %q must be one of tcp, udp, sctp, icmp, ipv6-icmp, or a number up to 255", s)
	}
	return int(n), nil
}
