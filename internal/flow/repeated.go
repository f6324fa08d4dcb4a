package flow

import (
	"net/netip"
	"time"

	"natd/internal/nfnl"
	"natd/nat"
)

// repeatedSize is the room that the kernel takes for a report at once, in bytes; it takes more where that is not enough.
const repeatedSize = 512

// maxRepeated bounds the connections whose repeated packets wait for them to be read.
const maxRepeated = 1 << 16

// Repeated is a packet that the kernel has let through and may not have counted, see nat.Spec.ReportRepeated.
type Repeated struct {
	ends   ends
	volume carried

	// The kernel counts the SYN-ACK that comes first behind a SYN it has not counted, because that was answered before.
	answeredSYN, synACK bool
}

// ends is how a connection looks between the two translations: its client, and its target. A client that dials one target through two
// relays at the same time from the same port has two that look the same; what the one repeats may then count for the other.
type ends struct {
	proto          nat.Protocol
	client, target netip.AddrPort
}

// decodeRepeated reads a report.
func decodeRepeated(attrs []byte, r *Repeated) bool {
	var p Refused
	p.decode(nfnl.Attr(attrs, logPayload))
	sent := Volume{Packets: 1, Bytes: p.Bytes}
	const synACK = 0x12 // RFC 9293, section 3.1: of all packets that are reported only the target sends it
	if p.Flags&synACK == synACK {
		*r = Repeated{ends: ends{p.Proto, p.Target, p.From}, volume: carried{toClient: sent}, synACK: true}
	} else {
		answered := nfnl.String(nfnl.Attr(attrs, logPrefix)) == nat.AnsweredPrefix
		*r = Repeated{ends: ends{p.Proto, p.From, p.Target}, volume: carried{toTarget: sent}, answeredSYN: answered}
	}
	return p.From.Addr().IsValid()
}

// repeats is what was repeated, until its connection is read.
type repeats struct {
	waiting map[ends]*repeat

	pace pace
	full bool // some had no room, since the last dump
}

// pace counts what happens in a second.
type pace struct {
	began    time.Time // the second
	inSecond int
}

// reaches counts one more, and tells whether it is the one that makes them so many in its second.
func (p *pace) reaches(most int, now time.Time) bool {
	if now.Sub(p.began) >= time.Second {
		p.began, p.inSecond = now, 0
	}
	p.inSecond++
	return p.inSecond == most
}

type repeat struct {
	volume carried
	last   int64  // packet, in ns since 1970
	dumps  uint64 // that there were before it

	answeredSYN bool // and no SYN-ACK since then
}

func newRepeats() repeats { return repeats{waiting: make(map[ends]*repeat)} }

// add keeps what was repeated; false when something is missing, which is told once. What the rules do not report because it is too much
// nobody tells, but it takes half a burst in some second.
func (w *repeats) add(r *Repeated, dumps uint64, now time.Time) bool {
	all := !w.pace.reaches(nat.RepeatedBurst/2, now)
	one := w.waiting[r.ends]
	if one == nil {
		if len(w.waiting) >= maxRepeated {
			told := w.full
			w.full = true
			return told && all
		}
		one = &repeat{}
		w.waiting[r.ends] = one
	}
	one.last, one.dumps = now.UnixNano(), dumps
	counted := r.synACK && one.answeredSYN
	one.answeredSYN = r.answeredSYN
	if !counted {
		one.volume.toTarget.add(r.volume.toTarget)
		one.volume.toClient.add(r.volume.toClient)
	}
	return all
}

// take is what the connection has repeated since it was read last, and when it did so last. One that the kernel does not count at all is
// not counted here either.
func (w *repeats) take(e *Entry) (volume carried, last int64) {
	if len(w.waiting) == 0 {
		return carried{}, 0
	}
	id := ends{e.Proto, e.Orig.Src, e.Reply.Src}
	r := w.waiting[id]
	if r == nil {
		return carried{}, 0
	}
	if r.answeredSYN {
		w.waiting[id] = &repeat{last: r.last, dumps: r.dumps, answeredSYN: true}
	} else {
		delete(w.waiting, id)
	}
	if carriedBy(e) == (carried{}) {
		return carried{}, 0
	}
	return r.volume, r.last
}

// forget lets go of what two dumps have found no connection for: it is none of natd's, or its end was not heard of.
func (w *repeats) forget(dumps uint64) {
	w.full = false
	for id, r := range w.waiting {
		if r.dumps+1 < dumps {
			delete(w.waiting, id)
		}
	}
}
