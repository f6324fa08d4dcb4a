package probe

import (
	"fmt"
	"net/netip"
	"time"

	"natd/internal/icmp"
)

// Kind is what became of a probe.
type Kind string

// What can become of a probe.
const (
	Answered    Kind = "answered"    // the target took it
	Refused     Kind = "refused"     // the target's kernel says that nobody is there: a reset, or for UDP port unreachable
	NoReply     Kind = "no reply"    // silence. For UDP that is no failure: nobody need answer an empty datagram
	Unreachable Kind = "unreachable" // an ICMP error says so, or the next hop does not answer to ARP or neighbour discovery
	NoRoute     Kind = "no route"    // this host has no route, or one that says unreachable, blackhole or prohibit
	LocalError  Kind = "local error" // this host did not send it: the address is not here, a packet filter of its own, no memory
)

// Sender is who sent an ICMP error.
type Sender string

// The senders of ICMP errors.
const (
	ByTarget Sender = "target"
	ByRouter Sender = "router" // anybody between
	ByHost   Sender = "host"   // this host
)

// ICMP is an ICMP error that a probe met with. Its zero value is none.
type ICMP struct {
	icmp.Message
	From   netip.Addr // who sent it
	Sender Sender
	MTU    int // of one that says that the packet was too big, in bytes; 0 where it does not tell
}

// IsValid tells whether there was an error.
func (i ICMP) IsValid() bool { return i.From.IsValid() }

// String is "admin-prohibited from 10.3.0.100 (target)".
func (i ICMP) String() string {
	if !i.IsValid() {
		return "none"
	}
	return fmt.Sprintf("%v from %v (%s)", i.Message, i.From, i.Sender)
}

// Outcome is what a probe found.
type Outcome struct {
	Kind      Kind
	RTT       time.Duration // to the answer, the refusal or the ICMP error
	ICMP      ICMP          // the ICMP error, if one came
	Neighbour netip.Addr    // the next hop, when it is known not to answer to ARP or neighbour discovery
	MSS       int           // the largest TCP payload that the target's SYN-ACK allows; 0 when there was none
	Err       error         // why it is not Answered; nil when it is
}

// Dial says what to probe, and as whom.
type Dial struct {
	From    netip.Addr     // the source address; the zero Addr leaves the choice to the kernel
	To      netip.AddrPort // the target
	Device  string         // the interface to leave by; "" for what the routes say
	UDP     bool           // an empty datagram in place of a TCP handshake
	Timeout time.Duration  // when silence counts as such; 0 for DefaultTimeout
}

// DefaultTimeout is a moment longer than a router that gets no answer to ARP takes to say so: three questions, a second apart (arp(7),
// mcast_solicit and retrans_time_ms). By then a SYN was sent again twice, or three times by kernels since 6.5, which do so each second
// (tcp_syn_linear_timeouts in ip-sysctl.rst).
const DefaultTimeout = 3300 * time.Millisecond
