// Package icmp has the names of ICMP errors: what probes get and what the packet watch sees is called the same.
package icmp

import "fmt"

// The types of the errors: RFC 792 for IPv4, RFC 4443 for IPv6.
const (
	Unreachable  = 3
	TimeExceeded = 11
	BadParameter = 12

	Unreachable6  = 1
	TooBig6       = 2
	TimeExceeded6 = 3
	BadParameter6 = 4
)

// FragNeeded is the code of Unreachable for a packet that is too big and must not be fragmented (RFC 1191). TooBig6 is that of IPv6.
const FragNeeded = 4

// The types of echo messages, of the same RFCs.
const (
	EchoReply  = 0
	Echo       = 8
	Echo6      = 128
	EchoReply6 = 129
)

// The codes that say that no one is behind the port.
const (
	PortUnreachable  = 3
	PortUnreachable6 = 4
)

// The codes that say that the last router, or the sender itself, got no answer from the next host.
const (
	HostUnreachable     = 1
	AddressUnreachable6 = 3
)

// Message is the type and code of a message.
type Message struct {
	V6         bool // ICMPv6
	Type, Code uint8
}

// IsError tells whether the message reports what became of a packet, and quotes it.
func (m Message) IsError() bool {
	if m.V6 {
		return m.Type >= Unreachable6 && m.Type <= BadParameter6
	}
	return m.Type == Unreachable || m.Type == TimeExceeded || m.Type == BadParameter
}

// IsTooBig tells whether the message says that a packet was too big for a link.
func (m Message) IsTooBig() bool {
	if m.V6 {
		return m.Type == TooBig6
	}
	return m.Type == Unreachable && m.Code == FragNeeded
}

// IsPortUnreachable tells whether the message says that nobody is behind a port. A host says so of UDP; of TCP only its packet filter does.
func (m Message) IsPortUnreachable() bool {
	return m == Message{Type: Unreachable, Code: PortUnreachable} || m == Message{V6: true, Type: Unreachable6, Code: PortUnreachable6}
}

// IsHostUnreachable tells whether the message says that a neighbour did not answer.
func (m Message) IsHostUnreachable() bool {
	return m == Message{Type: Unreachable, Code: HostUnreachable} || m == Message{V6: true, Type: Unreachable6, Code: AddressUnreachable6}
}

// IsProhibited tells whether the message says that a packet filter or a route forbids it.
func (m Message) IsProhibited() bool {
	const net, host, admin = 9, 10, 13
	const admin6, policy6, reject6 = 1, 5, 6
	if m.V6 {
		return m.Type == Unreachable6 && (m.Code == admin6 || m.Code == policy6 || m.Code == reject6)
	}
	return m.Type == Unreachable && (m.Code == net || m.Code == host || m.Code == admin)
}

// String is the name of an error, such as "admin-prohibited": the word of nft's reject with icmp, where it has one.
func (m Message) String() string {
	kinds := map[uint8][]string{
		Unreachable: {
			"net-unreachable", "host-unreachable", "prot-unreachable", "port-unreachable", "frag-needed", "source-route-failed",
			"net-unknown", "host-unknown", "host-isolated", "net-prohibited", "host-prohibited", "net-unreachable-for-tos",
			"host-unreachable-for-tos", "admin-prohibited", "host-precedence-violation", "precedence-cutoff",
		},
		TimeExceeded: {"ttl-exceeded", "reassembly-timeout"},
		BadParameter: {"parameter-problem"},
	}
	family := "icmp"
	if m.V6 {
		family = "icmpv6"
		kinds = map[uint8][]string{
			Unreachable6:  {"no-route", "admin-prohibited", "beyond-scope", "addr-unreachable", "port-unreachable", "policy-fail", "reject-route"},
			TooBig6:       {"packet-too-big"},
			TimeExceeded6: {"hop-limit-exceeded", "reassembly-timeout"},
			BadParameter6: {"bad-header-field", "unknown-next-header", "unknown-option"},
		}
	}
	if names := kinds[m.Type]; int(m.Code) < len(names) {
		return names[m.Code]
	}
	return fmt.Sprintf("%s type %d code %d", family, m.Type, m.Code)
}
