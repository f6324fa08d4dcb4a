package main

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"natd/internal/control"
	"natd/internal/record"
)

// owners name what a flow belongs to where its records do not, by what natd relays now. Without a status they name nothing.
type owners struct{ status *control.Status }

// name gives a flow the name and the kind of what it belongs to. It is natd's order: relays, then statics, then gateways.
func (o *owners) name(f *record.Flow) {
	if o.status == nil || f.Relay != "" || !f.Client.IsValid() {
		return
	}
	for i := range o.status.Relays {
		if r := &o.status.Relays[i]; listens(r, f.Listen, f.Protocol) {
			f.Relay, f.Kind = r.Name, control.KindRelay
			return
		}
	}
	for i := range o.status.Statics {
		st := &o.status.Statics[i]
		if within(st.External, f.Listen.Addr()) || within(st.Internal, f.Client.Addr()) {
			f.Relay, f.Kind = st.Name, control.KindStatic
			return
		}
	}
	for i := range o.status.Gateways {
		g := &o.status.Gateways[i]
		if slices.ContainsFunc(g.From, func(network string) bool { return within(network, f.Client.Addr()) }) {
			f.Relay, f.Kind = g.Name, control.KindGateway
			return
		}
	}
}

// listens tells whether a relay listens on an address and port. Protocol 0 is not known.
func listens(r *control.Relay, at netip.AddrPort, protocol uint8) bool {
	if protocol != 0 && !slices.Contains(r.Protocol, protocolName(protocol)) {
		return false
	}
	return slices.ContainsFunc(r.Listen, func(listen string) bool {
		i := strings.LastIndexByte(listen, ':')
		if i < 0 {
			return false
		}
		host := strings.Trim(listen[:i], "[]")
		if addr, err := netip.ParseAddr(host); host != "" && (err != nil || addr != at.Addr()) {
			return false
		}
		first, last, isRange := strings.Cut(listen[i+1:], "-")
		if !isRange {
			last = first
		}
		low, err := strconv.ParseUint(first, 10, 16)
		high, err2 := strconv.ParseUint(last, 10, 16)
		return err == nil && err2 == nil && uint64(at.Port()) >= low && uint64(at.Port()) <= high
	})
}

// within tells whether a network, or a single address, has an address.
func within(network string, addr netip.Addr) bool {
	p, err := control.ParseClients(network)
	return err == nil && p.IsValid() && p.Contains(addr)
}

// protocolOf is the number of a protocol that natd named; 0 for one that it did not.
func protocolOf(name string) uint8 {
	for number := range 256 {
		if protocolName(uint8(number)) == name {
			return uint8(number)
		}
	}
	return 0
}

// placeText is a place as it is given on the command line.
func placeText(p control.Place) string { return endText(netip.AddrPortFrom(p.Addr, p.Port)) }

// protocolName is the name of a protocol as natd writes it.
func protocolName(number uint8) string {
	switch number {
	case 1:
		return "icmp"
	case 6:
		return "tcp"
	case 17:
		return "udp"
	case 58:
		return "ipv6-icmp"
	case 132:
		return "sctp"
	}
	return strconv.Itoa(int(number))
}
