package trace

import (
	"net/netip"
	"slices"
	"time"
)

// Relay is what is known of a relay: what clients dial, and where it sends them.
type Relay struct {
	Listen  []End
	Targets []End
}

// Filter is what the relay's connections need, and what is sent elsewhere in their place.
func (r Relay) Filter() Filter {
	return Filter{Ends: slices.Concat(r.Listen, r.Targets), Elsewhere: true}
}

// Stage is how far a connection got.
type Stage uint8

// The stages, in order. Whoever did not answer a datagram of UDP need not be broken.
const (
	Arrived    Stage = iota // the client's first packet came
	SentOn                  // it left this host, translated or not
	Answered                // the target, or somebody on the way to it, answered
	AnswerSent              // that answer left for the client
	Completed               // the client acknowledged it: of TCP alone
)

// String is the stage in a few words.
func (s Stage) String() string {
	return [...]string{"arrived", "sent on", "answered", "answer sent", "completed"}[s]
}

// Sight is a kind of packet of a connection, as it was seen.
type Sight struct {
	Packet     // the first one
	Times  int // how often it was seen there: more than once is the work of a sender that got no answer
	Last   time.Time
}

// Seen tells whether there was such a packet.
func (s Sight) Seen() bool { return s.Times > 0 }

// note counts a packet. One that passes several interfaces, as with a bridge or a VLAN, is one.
func (s *Sight) note(p Packet) {
	if !s.Seen() {
		s.Packet = p
	}
	if p.Index == s.Index {
		s.Times++
		s.Last = p.Time
	}
}

// Attempt is a connection that a client opens, or tries to. Its addresses are those of the packets that were seen.
type Attempt struct {
	Client, Listen netip.AddrPort // what the client sends from and to
	Source, Target netip.AddrPort // what is sent on, from and to; the zero value before SentOn
	Proto          Protocol

	Opening   Sight // the client's first packet: SYN, INIT or datagram
	Forwarded Sight // the same, as it left
	Answer    Sight // SYN-ACK, RST, datagram or ICMP error, as it arrived
	Returned  Sight // the answer, as it left for the client
	Completes Sight // what the client sent behind the answer, as it arrived
	TooBig    Sight // an ICMP error that a packet of the connection was too big, arriving or leaving

	// What this host said to the client that the target did not: RST, ICMP error, or a local service's SYN-ACK.
	Own Sight
	// What the client says to the answer when it is RST, as programs do that only look whether a port is open; or an ICMP error that
	// the answer met with on its way to the client.
	Refused Sight
	// What this host says to the target of its answer: RST or ICMP error.
	Rejects Sight

	// What they say once connected, of TCP alone.
	FromClient, ToTarget, FromTarget, ToClient Data

	relay Relay
}

// Begin begins with a client's first packet. It is false for any other packet.
func (r Relay) Begin(p Packet) (*Attempt, bool) {
	if p.Outgoing || !p.Opens() || !slices.ContainsFunc(r.Listen, func(e End) bool { return e.holds(p.Proto, p.Dst) }) {
		return nil, false
	}
	a := &Attempt{Client: p.Src, Listen: p.Dst, Proto: p.Proto, relay: r}
	a.Opening.note(p)
	a.FromClient.expect(p.Seq + 1)
	return a, true
}

// Stage is how far it got.
func (a *Attempt) Stage() Stage {
	for _, s := range []struct {
		sight Sight
		stage Stage
	}{{a.Completes, Completed}, {a.Returned, AnswerSent}, {a.Answer, Answered}, {a.Forwarded, SentOn}} {
		if s.sight.Seen() {
			return s.stage
		}
	}
	return Arrived
}

// Whole tells whether the connection came about: with TCP the client has completed it, otherwise the client was sent an answer.
func (a *Attempt) Whole() bool {
	if a.Proto == TCP {
		return a.Stage() == Completed && a.Answer.Flags&(SYN|RST) == SYN && !a.Answer.isError()
	}
	return a.Stage() == AnswerSent && !a.Answer.isError()
}

// isError tells whether it is an ICMP error.
func (s Sight) isError() bool { return s.Proto == ICMP || s.Proto == ICMPv6 }

// Elsewhere tells whether the connection was sent on to no target of the relay: another rule translated it, or none did.
func (a *Attempt) Elsewhere() bool {
	return a.Forwarded.Seen() && !slices.ContainsFunc(a.relay.Targets, func(e End) bool { return e.holds(a.Proto, a.Target) })
}

// SourceKept tells whether the connection was sent on with the client's own address, which nothing but this host brings back.
func (a *Attempt) SourceKept() bool { return a.Forwarded.Seen() && a.Source.Addr() == a.Client.Addr() }

// Filter is what this connection alone needs, when it is known.
func (a *Attempt) Filter() Filter {
	side := func(at netip.AddrPort) End {
		return End{Addr: at.Addr(), Proto: a.Proto, First: at.Port(), Last: at.Port()}
	}
	f := Filter{Ends: []End{side(a.Client)}, Elsewhere: !a.Forwarded.Seen()}
	if a.Forwarded.Seen() {
		f.Ends = append(f.Ends, side(a.Source))
	}
	return f
}

// See takes the next packet, and tells whether it is one of this connection.
func (a *Attempt) See(p Packet) bool {
	switch {
	case p.Fragment || p.Truncated:
		return false
	case p.Quoted.Proto == a.Proto:
		return a.seeError(p)
	case p.Proto != a.Proto:
		return false
	case a.seeForwarded(p):
		return true
	case p.Src == a.Client && p.Dst == a.Listen && !p.Outgoing:
		return a.seeClient(p)
	case p.Src == a.Listen && p.Dst == a.Client && p.Outgoing:
		return a.seeReturned(p)
	case !a.Forwarded.Seen():
		return false
	case p.Src == a.Target && p.Dst == a.Source && !p.Outgoing:
		return a.seeTarget(p)
	case p.Src == a.Source && p.Dst == a.Target && p.Outgoing:
		return a.seeSent(p)
	}
	return false
}

// again is how long after a datagram one with the same content is that datagram, sent on: longer than a host takes.
const again = time.Second

// seeForwarded is for the opening packet as it leaves. Its ports and addresses have changed, but its sequence number has not, which
// the client chose at random (RFC 9293, 3.4.1); of UDP and SCTP its content. An empty datagram is too little to be recognised at any
// address.
func (a *Attempt) seeForwarded(p Packet) bool {
	if !p.Outgoing || !p.Opens() {
		return false
	}
	known := p.Src == a.Source && p.Dst == a.Target
	same := p.Seq == a.Opening.Seq
	if a.Proto != TCP {
		fits := p.Length > 0 || slices.ContainsFunc(a.relay.Targets, func(e End) bool { return e.holds(p.Proto, p.Dst) })
		same = known || !a.Forwarded.Seen() && fits && p.Digest == a.Opening.Digest && p.Length == a.Opening.Length && p.Time.Sub(a.Opening.Last) < again
	}
	if !same {
		return false
	}
	if !known && a.Forwarded.Seen() && p.Index == a.Forwarded.Index { // sent anew, and elsewhere: that is where it goes now
		a.Forwarded = Sight{}
	}
	if !a.Forwarded.Seen() {
		a.Source, a.Target = p.Src, p.Dst
	}
	a.Forwarded.note(p)
	return true
}

// seeClient is for what the client sends. A SYN with another sequence number is another connection.
func (a *Attempt) seeClient(p Packet) bool {
	switch {
	case p.Opens():
		if a.Proto == TCP && p.Seq != a.Opening.Seq {
			return false
		}
		a.Opening.note(p)
	case a.Proto != TCP:
	case p.Flags&RST != 0 && !a.Completes.Seen():
		a.Refused.note(p)
	default:
		a.Completes.note(p)
		a.FromClient.arrive(p)
		a.ToClient.acknowledged(p)
	}
	return true
}

// seeReturned is for what this host sends to the client.
func (a *Attempt) seeReturned(p Packet) bool {
	switch {
	case !a.Answer.Seen() || p.Flags&RST != 0 && a.Answer.Flags&RST == 0 && !a.Returned.Seen():
		a.Own.note(p)
	case a.Proto != TCP || p.Flags&SYN != 0 || a.Answer.Flags&RST != 0:
		a.Returned.note(p)
	default:
		a.ToClient.leave(p)
	}
	return true
}

// seeTarget is for what the target sends.
func (a *Attempt) seeTarget(p Packet) bool {
	switch {
	case a.Proto != TCP || p.Flags&SYN != 0 || !a.Answer.Seen():
		a.Answer.note(p)
		a.FromTarget.expect(p.Seq + 1)
	default:
		a.FromTarget.arrive(p)
		a.ToTarget.acknowledged(p)
	}
	return true
}

// seeSent is for what is sent to the target behind the opening. A reset before the client said anything is this host's own: its reply to
// an answer that it does not know.
func (a *Attempt) seeSent(p Packet) bool {
	switch {
	case a.Proto != TCP:
	case p.Flags&RST != 0 && !a.Completes.Seen() && !a.Refused.Seen():
		a.Rejects.note(p)
	default:
		a.ToTarget.leave(p)
	}
	return true
}

// seeError is for ICMP errors about packets of the connection. In each, the kernel has translated the quotation as it would the packet.
func (a *Attempt) seeError(p Packet) bool {
	var sight *Sight
	switch opening, answer := p.Quoted.is(a.Client, a.Listen), p.Quoted.is(a.Listen, a.Client); {
	case p.Outgoing && opening && a.Answer.Seen():
		sight = &a.Returned
	case p.Outgoing && opening:
		sight = &a.Own
	case !p.Outgoing && answer:
		sight = &a.Refused
	case !a.Forwarded.Seen():
		return false
	case !p.Outgoing && p.Quoted.is(a.Source, a.Target):
		sight = &a.Answer
	case p.Outgoing && p.Quoted.is(a.Target, a.Source):
		sight = &a.Rejects
	default:
		return false
	}
	if p.ICMP.IsTooBig() {
		sight = &a.TooBig
	}
	sight.note(p)
	return true
}

func (t Tuple) is(src, dst netip.AddrPort) bool { return t.Src == src && t.Dst == dst }
