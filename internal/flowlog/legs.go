package flowlog

import (
	"net/netip"

	"natd/internal/flow"
	"natd/internal/record"
	"natd/nat"
)

// leg is one of the four that a relayed connection has: each side of the host, each direction.
type leg struct {
	src, dst  netip.AddrPort // on the wire
	from, to  netip.Addr     // in truth
	direction record.Direction
	volume    flow.Volume
	flags     uint8
}

// legs is the four legs of the sample, the first of them the client's. They all come from the two tuples of the connection: what the
// client sent, and what the target answers.
func legs(s *flow.Sample) [4]leg {
	e := s.Entry
	client, listen, snat, target := e.Orig.Src, e.Orig.Dst, e.Reply.Dst, e.Reply.Src
	asks, answers := flags(s)
	return [4]leg{
		{client, listen, client.Addr(), target.Addr(), record.Ingress, s.ToTarget, asks},
		{snat, target, client.Addr(), target.Addr(), record.Egress, s.ToTarget, asks},
		{target, snat, target.Addr(), client.Addr(), record.Ingress, s.ToClient, answers},
		{listen, client, target.Addr(), client.Addr(), record.Egress, s.ToClient, answers},
	}
}

// here is the address of the leg that is this host's, and other that of whoever is at its far end.
func (l *leg) ends() (here, other netip.Addr) {
	if l.direction == record.Ingress {
		return l.dst.Addr(), l.src.Addr()
	}
	return l.src.Addr(), l.dst.Addr()
}

// flags is the TCP flags of what the client and the target have sent, as far as the state of the connection tells: connection tracking
// does not keep the flags of packets. Who closed or reset a connection that was established it does not say, so both directions get
// the flag.
func flags(s *flow.Sample) (asks, answers uint8) {
	e := s.Entry
	if e.Proto != nat.TCP {
		return 0, 0
	}
	if s.Began {
		asks |= record.SYN
		if e.Replied() {
			answers |= record.SYNACK
		}
	}
	switch e.State() {
	case "FIN_WAIT", "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT":
		asks |= record.FIN
		answers |= record.FIN
	case "CLOSE":
		answers |= record.RST
		if e.Replied() {
			asks |= record.RST
		}
	}
	if e.Refused() { // not every kernel tells the state of its end
		answers |= record.RST
	}
	return asks, answers
}
