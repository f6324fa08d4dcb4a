package flowlog

import (
	"maps"
	"sync"
	"time"

	"natd/internal/flow"
	"natd/internal/record"
)

// Bounds of the lines that wait for the disk, in bytes: a Segment's, after which the next one is begun, and that of all together, beyond
// which lines are left out. At 15,000 connections a second, four lines each, it is more than a second.
const (
	segmentSize = 64 << 10
	maxPending  = 16 << 20
	maxSpare    = 8 // segments that were written and whose memory is kept
)

// Segment is lines that belong into one file: the records of a flow are never in two.
type Segment struct {
	Text    []byte
	Records int
}

// Log makes records of samples. It is a flow.Sink, and does not wait for whoever takes the lines. Every method may be called from any
// goroutine.
type Log struct {
	format *record.Format
	host   func() *Host // as it is known now; never nil
	ready  func()       // there is something to take; it does not block

	mu      sync.Mutex
	pending []Segment
	waiting int // bytes in pending, and of what was taken and not written yet
	spare   [][]byte
	room    []record.Record // to work in
	dropped uint64
	skipped bool            // records are missing that no SKIPDATA stands for yet
	from    time.Time       // the beginning of the window
	busy    map[string]bool // interfaces with traffic in it
	unsure  bool            // there was traffic whose interface is not known
	refused refusals
}

// New makes a Log whose first window began at a time.
func New(format *record.Format, host func() *Host, ready func(), began time.Time) *Log {
	return &Log{format: format, host: host, ready: ready, from: began, busy: make(map[string]bool), refused: make(refusals)}
}

// Take hands over the lines that wait. They count as waiting until Wrote is told of them.
func (l *Log) Take() []Segment {
	l.mu.Lock()
	defer l.mu.Unlock()
	taken := l.pending
	l.pending = nil
	return taken
}

// Wrote is told of lines that were taken and wait no more. Their memory is used again.
func (l *Log) Wrote(s Segment) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting -= len(s.Text)
	if len(l.spare) < maxSpare {
		l.spare = append(l.spare, s.Text[:0])
	}
}

// begin is an empty Segment.
func (l *Log) begin() (s Segment) {
	if n := len(l.spare); n > 0 {
		s.Text, l.spare = l.spare[n-1], l.spare[:n-1]
	}
	return s
}

// GoOn makes the window of the log before, which has not ended yet, the window of this one.
func (l *Log) GoOn(before *Log) {
	before.mu.Lock()
	defer before.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.from, l.busy, l.unsure = before.from, maps.Clone(before.busy), before.unsure
}

// Dropped is how many records were left out because nobody took them in time.
func (l *Log) Dropped() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dropped
}

// Skip notes that records are missing: of the window that ends next, the log will say so.
func (l *Log) Skip() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.skipped = true
}

// Sample writes the records of what a connection has carried: one for each leg that saw packets.
func (l *Log) Sample(s *flow.Sample) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h, e := l.host(), s.Entry
	r := record.Record{
		Protocol: uint8(e.Proto), Action: record.Accept, Status: record.OK,
		Start: max(s.First.Unix(), l.from.Unix()), Relay: s.Owner.Name, Kind: s.Owner.Kind,
		Client: e.Orig.Src, Listen: e.Orig.Dst, SNAT: e.Reply.Dst, Target: e.Reply.Src,
	}
	r.End = max(s.Last.Unix(), r.Start)
	inside := h.owns(e.Reply.Src.Addr()) // the target is a program of this host: nothing crosses an interface there
	l.room = l.room[:0]
	for i, leg := range legs(s) {
		if leg.volume.Packets == 0 || inside && (i == 1 || i == 2) {
			continue
		}
		r.Leg = uint8(i + 1)
		leg.tell(&r)
		l.place(&r, h, h.between(leg.ends()))
		l.room = append(l.room, r)
	}
	l.add(l.room...)
}

// tell puts into the record what it says of the leg.
func (l *leg) tell(r *record.Record) {
	r.Src, r.SrcPort, r.Dst, r.DstPort = l.src.Addr(), l.src.Port(), l.dst.Addr(), l.dst.Port()
	r.PktSrc, r.PktDst, r.Direction, r.TCPFlags = l.from, l.to, l.direction, l.flags
	r.Packets, r.Bytes = l.volume.Packets, l.volume.Bytes
}

// place puts into the record what it says of the interface, nil for one that is not known, and notes that it had traffic.
func (l *Log) place(r *record.Record, h *Host, i *Interface) {
	h.describe(r, i)
	r.TrafficPath = 0
	if r.Direction == record.Egress {
		r.TrafficPath = i.path(r.Dst)
	}
	if i == nil {
		l.unsure = true
		return
	}
	l.busy[i.ID] = true
}

// describe puts into the record what it says of the host and the interface.
func (h *Host) describe(r *record.Record, i *Interface) {
	r.AccountID, r.InstanceID, r.Region, r.AZID = h.Account, h.InstanceID, h.Region, h.ZoneID
	if i == nil {
		i = &Interface{}
	}
	r.InterfaceID, r.VPCID, r.SubnetID = i.ID, i.VPC, i.Subnet
}

// Refused counts a packet that the rules refused. The owner is what it wanted to use, zero for nothing of natd's.
func (l *Log) Refused(p *flow.Refused, owner flow.Owner, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.refused.count(p, owner, now) {
		l.dropped++
		l.skipped = true
	}
}

// Window writes what a window ends with: the records of what was refused in it, and what there is to say of interfaces that have
// none, or not all of theirs.
func (l *Log) Window(from, until time.Time, lossy bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.host()
	l.skipped = l.skipped || lossy
	l.refusals(h)
	l.summarise(h, from, until)
	clear(l.busy)
	l.from, l.unsure = until, false
	l.ready()
}

// End writes what waits for the end of a window, without one. It tells whether records are missing that nothing stands for.
func (l *Log) End() (skipped bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refusals(l.host())
	return l.skipped
}

// refusals writes the records of what was refused.
func (l *Log) refusals(h *Host) {
	for id, t := range l.refused {
		r := refusal(id, t)
		l.place(&r, h, h.at(t.device))
		l.add(r)
	}
	clear(l.refused)
}

// summarise writes SKIPDATA or NODATA. Once records are missing, nobody knows which interfaces had none.
func (l *Log) summarise(h *Host, from, until time.Time) {
	r := record.Record{Start: from.Unix(), End: until.Unix(), Status: record.NoData}
	interfaces := h.Interfaces
	if l.skipped {
		r.Status = record.SkipData
		if len(interfaces) == 0 {
			interfaces = []Interface{{}}
		}
	}
	written := true
	for i := range interfaces {
		if r.Status == record.NoData && (l.unsure || interfaces[i].Minor || l.busy[interfaces[i].ID]) {
			continue
		}
		h.describe(&r, &interfaces[i])
		written = l.add(r) && written
	}
	l.skipped = l.skipped && !written
}

// add appends records that belong together, and tells whether there was room.
func (l *Log) add(records ...record.Record) bool {
	if len(records) == 0 {
		return true
	}
	if l.waiting >= maxPending {
		l.dropped += uint64(len(records))
		l.skipped = true
		return false
	}
	if n := len(l.pending); n == 0 || len(l.pending[n-1].Text) >= segmentSize {
		l.pending = append(l.pending, l.begin())
		if n > 0 {
			l.ready()
		}
	}
	s := &l.pending[len(l.pending)-1]
	before := len(s.Text)
	for i := range records {
		s.Text = l.format.Append(s.Text, &records[i])
	}
	s.Records += len(records)
	l.waiting += len(s.Text) - before
	return true
}

var _ flow.Sink = (*Log)(nil)
