package flow

import (
	"time"

	"golang.org/x/sys/unix"

	"natd/nat"
)

// Timeouts is how long the kernel remembers a connection after its last packet, by the part of the sysctl's name behind
// net.netfilter.nf_conntrack_.
type Timeouts map[string]time.Duration

// TimeoutKeys is the keys of Timeouts that connections can have.
func TimeoutKeys() []string {
	keys := []string{
		unacknowledged, "udp_timeout", "udp_timeout_stream", "icmp_timeout", "icmpv6_timeout", "gre_timeout", "gre_timeout_stream",
		"generic_timeout",
	}
	for _, states := range [][]string{tcpTimeouts(), sctpTimeouts()} {
		keys = append(keys, states...)
	}
	return keys
}

// unacknowledged is that of an established TCP connection in which data wait to be acknowledged.
const unacknowledged = "tcp_timeout_unacknowledged"

// tcpTimeouts is the keys of TCP's states, in the order of enum tcp_conntrack.
func tcpTimeouts() []string {
	return []string{
		"tcp_timeout_syn_sent", "tcp_timeout_syn_sent", "tcp_timeout_syn_recv", "tcp_timeout_established", "tcp_timeout_fin_wait",
		"tcp_timeout_close_wait", "tcp_timeout_last_ack", "tcp_timeout_time_wait", "tcp_timeout_close", "tcp_timeout_syn_sent",
	}
}

// sctpTimeouts is the keys of SCTP's states, in the order of enum sctp_conntrack.
func sctpTimeouts() []string {
	return []string{
		"sctp_timeout_closed", "sctp_timeout_closed", "sctp_timeout_cookie_wait", "sctp_timeout_cookie_echoed",
		"sctp_timeout_established", "sctp_timeout_shutdown_sent", "sctp_timeout_shutdown_recd", "sctp_timeout_shutdown_ack_sent",
		"sctp_timeout_heartbeat_sent", "sctp_timeout_heartbeat_sent",
	}
}

// of is how long the connection is remembered after a packet in its state; 0 when that is not known.
func (t Timeouts) of(e *Entry) time.Duration {
	state := func(keys []string) time.Duration {
		if int(e.state) < len(keys) {
			return t[keys[e.state]]
		}
		return 0
	}
	streaming := func(plain, stream string) time.Duration {
		if e.Assured() {
			return t[stream]
		}
		return t[plain]
	}
	switch e.Proto {
	case nat.TCP:
		return state(tcpTimeouts())
	case nat.SCTP:
		return state(sctpTimeouts())
	case nat.UDP, unix.IPPROTO_UDPLITE:
		return streaming("udp_timeout", "udp_timeout_stream")
	case unix.IPPROTO_ICMP:
		return t["icmp_timeout"]
	case unix.IPPROTO_ICMPV6:
		return t["icmpv6_timeout"]
	case unix.IPPROTO_GRE:
		return streaming("gre_timeout", "gre_timeout_stream")
	default:
		return t["generic_timeout"]
	}
}

// lastPacket is when the connection carried its last packet, not before first, as well as it is known now: each packet starts the
// time anew after which the kernel forgets the connection.
func (t Timeouts) lastPacket(e *Entry, first, now time.Time) time.Time {
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
	if short := t[unacknowledged]; e.ended == 0 && e.Proto == nat.TCP && left <= short && short < whole {
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
