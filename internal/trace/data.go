package trace

// maxUnacknowledged bounds the segments of one direction that are remembered: the oldest matter.
const maxUnacknowledged = 256

// Data is what one side of a TCP connection says to the other, on one leg.
type Data struct {
	Bytes   int64 // of payload that was seen, again and again included
	Largest int   // of the payloads, in bytes
	Missing int   // bytes that never came, although later ones did: they were lost on the way here

	pending []segment // what has left and was not acknowledged, in the order in which it left
	next    uint32    // what should arrive next
	gap     uint32    // where it goes on behind what is missing
	high    uint32    // and where that ends
	began   bool      // next is known
}

// segment is a piece of data that left.
type segment struct {
	seq           uint32
	length, index int
	times         int
}

// Stuck is the oldest segment that was sent more than once and is not acknowledged, and how often it was; zero times when there is none.
// When small ones get through and this is a large one, the path ahead is too narrow for it.
func (d *Data) Stuck() (length, times int) {
	for _, s := range d.pending {
		if s.times > 1 {
			return s.length, s.times
		}
	}
	return 0, 0
}

// leave is for a packet that leaves this host.
func (d *Data) leave(p Packet) {
	if p.Length == 0 {
		return
	}
	d.count(p)
	for i := range d.pending {
		if s := &d.pending[i]; s.seq == p.Seq {
			if s.index == p.Index {
				s.times++
				s.length = min(s.length, p.Length)
			}
			return
		}
	}
	if len(d.pending) < maxUnacknowledged {
		d.pending = append(d.pending, segment{seq: p.Seq, length: p.Length, index: p.Index, times: 1})
	}
}

// acknowledged is for what the other side says of it.
func (d *Data) acknowledged(p Packet) {
	if p.Flags&ACK == 0 {
		return
	}
	kept := d.pending[:0]
	for _, s := range d.pending {
		if !before(s.seq, p.Ack) {
			kept = append(kept, s)
		}
	}
	d.pending = kept
}

// arrive is for a packet that arrives: it looks for gaps (RFC 9293, 3.4).
func (d *Data) arrive(p Packet) {
	end := p.Seq + uint32(p.Length)
	if p.Flags&FIN != 0 {
		end++
	}
	d.count(p)
	switch {
	case !d.began:
	case before(d.next, p.Seq):
		if d.Missing == 0 || before(p.Seq, d.gap) {
			d.gap = p.Seq
		}
		if d.Missing == 0 || before(d.high, end) {
			d.high = end
		}
		d.Missing = int(d.gap - d.next)
	case before(d.next, end):
		d.next = end
		if d.Missing > 0 && before(d.next, d.gap) {
			d.Missing = int(d.gap - d.next)
			return
		}
		if d.Missing > 0 && before(d.next, d.high) { // what follows a gap counts as whole until it shows another one
			d.next = d.high
		}
		d.Missing = 0
	}
}

// expect tells with which sequence number the data begins.
func (d *Data) expect(seq uint32) { d.next, d.began = seq, true }

func (d *Data) count(p Packet) {
	d.Bytes += int64(p.Length)
	d.Largest = max(d.Largest, p.Length)
}

// before compares sequence numbers, which go round.
func before(a, b uint32) bool { return int32(a-b) < 0 }
