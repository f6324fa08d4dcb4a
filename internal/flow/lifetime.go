package flow

import (
	"time"

	"golang.org/x/sys/unix"

	"natd/nat"
)

// Timeouts is how long the kernel remembers a connection after its last packet. The zero value knows none.
type Timeouts struct {
	tcp, sctp               [10]time.Duration // by state
	unacknowledged          time.Duration     // of an established TCP connection in which data wait to be acknowledged
	udp, gre                streaming
	icmp, icmpv6, otherwise time.Duration
}

// streaming is the times of datagrams: until they have gone back and forth for a while, and from then on.
type streaming struct{ plain, stream time.Duration }

// ReadTimeouts asks for each of the kernel's times, by the part of the sysctl's name behind net.netfilter.nf_conntrack_.
func ReadTimeouts(of func(key string) time.Duration) *Timeouts {
	t := &Timeouts{
		unacknowledged: of("tcp_timeout_unacknowledged"),
		udp:            streaming{of("udp_timeout"), of("udp_timeout_stream")},
		gre:            streaming{of("gre_timeout"), of("gre_timeout_stream")},
		icmp:           of("icmp_timeout"), icmpv6: of("icmpv6_timeout"), otherwise: of("generic_timeout"),
	}
	// In the order of enum tcp_conntrack and enum sctp_conntrack.
	for state, name := range [len(t.tcp)]string{
		"syn_sent", "syn_sent", "syn_recv", "established", "fin_wait", "close_wait", "last_ack", "time_wait", "close", "syn_sent",
	} {
		t.tcp[state] = of("tcp_timeout_" + name)
	}
	for state, name := range [len(t.sctp)]string{
		"closed", "closed", "cookie_wait", "cookie_echoed", "established", "shutdown_sent", "shutdown_recd", "shutdown_ack_sent",
		"heartbeat_sent", "heartbeat_sent",
	} {
		t.sctp[state] = of("sctp_timeout_" + name)
	}
	return t
}

// of is how long the connection is remembered after a packet in its state; 0 when that is not known.
func (t *Timeouts) of(e *Entry) time.Duration {
	switch e.Proto {
	case nat.TCP:
		return ofState(&t.tcp, e.state)
	case nat.SCTP:
		return ofState(&t.sctp, e.state)
	case nat.UDP, unix.IPPROTO_UDPLITE:
		return t.udp.of(e)
	case unix.IPPROTO_ICMP:
		return t.icmp
	case unix.IPPROTO_ICMPV6:
		return t.icmpv6
	case unix.IPPROTO_GRE:
		return t.gre.of(e)
	default:
		return t.otherwise
	}
}

func ofState(times *[10]time.Duration, state uint8) time.Duration {
	if int(state) < len(times) {
		return times[state]
	}
	return 0
}

func (s streaming) of(e *Entry) time.Duration {
	if e.Assured() {
		return s.stream
	}
	return s.plain
}

// lastPacket is when the connection carried its last packet, not before first, as well as it is known now: each packet starts the
// time anew after which the kernel forgets the connection.
func (t *Timeouts) lastPacket(e *Entry, first, now time.Time) time.Time {
	left, at := time.Duration(e.Timeout)*time.Second, now
	if e.Fast() && e.ended == 0 {
		return within(at, first, now) // no packet of it starts a time anew
	}
	if e.ended != 0 {
		left, at = 0, time.Unix(0, int64(e.ended))
		if e.Refused() && e.Proto == nat.TCP {
			return within(at, first, now) // the reset itself ended it
		}
	}
	whole := t.of(e)
	// A packet that awaits its acknowledgement shortens the time (tcp_in_window's caller in nf_conntrack_proto_tcp.c).
	if short := t.unacknowledged; e.ended == 0 && e.Proto == nat.TCP && left <= short && short < whole {
		whole = short
	}
	last := at.Add(left - whole)
	if last.Before(first) {
		last = at // it did not time out: somebody removed it, or its time was another
	}
	return within(last, first, now)
}

// within is t, or the end of the time that it lies beyond.
func within(t, from, until time.Time) time.Time {
	switch {
	case t.After(until):
		t = until
	case t.Before(from):
		t = from
	}
	return t
}
