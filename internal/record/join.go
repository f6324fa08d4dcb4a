package record

import "net/netip"

// Flow is what a connection carried in a window, put together from the records of its legs. What the format of the records does
// not tell has its zero value.
type Flow struct {
	Relay, Kind    string
	Protocol       uint8
	Client, Listen netip.AddrPort // of the first leg
	SNAT, Target   netip.AddrPort // of the second; the zero values for what was refused
	Start, End     int64          // Unix seconds of the first and the last packet
	Action         Action
	Status         Status

	ToTarget, ToClient Volume
	Records            int // that it was put together from
}

// Volume is what went in one direction.
type Volume struct {
	Packets, Bytes uint64
	TCPFlags       uint8
}

// Joiner puts flows together. The writer's law: the records of a flow and window follow one another in the order of the legs, and a
// direction without packets has none. The zero value is ready.
type Joiner struct {
	pending []Record // of one flow
	memory  memory
}

// Add takes the next record, and returns the flow that it completes, if it does: the one before it, or its own. At most one flow is
// ever complete, since one record waits at most for three others.
func (j *Joiner) Add(r *Record) (f Flow, ok bool) {
	if len(j.pending) > 0 && !continues(j.pending, r) {
		f, ok = j.Flush()
	}
	j.pending = append(j.pending, *r)
	if !ok && complete(j.pending) {
		return j.Flush()
	}
	return f, ok
}

// Flush returns the flow that waits for more records, when none come.
func (j *Joiner) Flush() (Flow, bool) {
	if len(j.pending) == 0 {
		return Flow{}, false
	}
	f := j.flow()
	j.pending = j.pending[:0]
	return f, true
}

// complete tells whether no other record can belong to the flow.
func complete(legs []Record) bool {
	last := &legs[len(legs)-1]
	return len(legs) == 4 || last.Leg == 4 || last.Action == Reject || !traffic(last)
}

// traffic tells whether a record is of packets: not NODATA, not SKIPDATA.
func traffic(r *Record) bool { return r.Status != NoData && r.Status != SkipData }

// continues tells whether a record is the next leg of the flow that the others are of.
func continues(legs []Record, r *Record) bool {
	first, last := &legs[0], &legs[len(legs)-1]
	if complete(legs) || !traffic(r) || r.Action == Reject || r.Protocol != first.Protocol {
		return false
	}
	if named(first) || named(r) {
		return r.Client == first.Client && r.Listen == first.Listen && r.SNAT == first.SNAT && r.Target == first.Target && follows(last, r)
	}
	switch len(legs) {
	case 1:
		return forwards(first, r)
	case 2:
		return reverses(last, r)
	case 3:
		return reverses(first, r) && forwards(last, r)
	}
	return false
}

// named tells whether a record says by itself which flow it is of. What was refused went nowhere.
func named(r *Record) bool {
	return r.Client.IsValid() && r.Listen.IsValid() && (r.SNAT.IsValid() && r.Target.IsValid() || r.Action == Reject)
}

// follows tells whether a record of the same flow is one of its later legs.
func follows(last, r *Record) bool {
	if last.Leg > 0 && r.Leg > 0 {
		return r.Leg > last.Leg
	}
	return true
}

// forwards tells whether two records can be the two legs of one direction: the same packets. One leg of the host comes in by it and the
// other goes out, and one end is the host's own on each.
func forwards(in, out *Record) bool {
	if in.Packets != out.Packets || in.Bytes != out.Bytes || in.Start != out.Start || in.End != out.End ||
		in.PktSrc != out.PktSrc || in.PktDst != out.PktDst {
		return false
	}
	if in.Direction != "" && (in.Direction != Ingress || out.Direction != Egress) {
		return false
	}
	return (!in.PktSrc.IsValid() || in.Src == in.PktSrc) && (!in.PktDst.IsValid() || out.Dst == out.PktDst)
}

// reverses tells whether a record has the ends of another, the other way round.
func reverses(a, b *Record) bool {
	return a.Src == b.Dst && a.Dst == b.Src && a.SrcPort == b.DstPort && a.DstPort == b.SrcPort &&
		a.PktSrc == b.PktDst && a.PktDst == b.PktSrc
}

// flow puts the pending records together.
func (j *Joiner) flow() Flow {
	first := &j.pending[0]
	f := Flow{
		Relay: first.Relay, Kind: first.Kind, Protocol: first.Protocol, Client: first.Client, Listen: first.Listen, SNAT: first.SNAT,
		Target: first.Target, Start: first.Start, End: first.End, Action: first.Action, Status: first.Status, Records: len(j.pending),
	}
	for i := range j.pending {
		r := &j.pending[i]
		f.Start, f.End = min(f.Start, r.Start), max(f.End, r.End)
	}
	if named(first) {
		f.countNamed(j.pending)
		return f
	}
	f.countBare(j.pending, &j.memory)
	return f
}

// countNamed takes the figures of each direction from records that say which leg they are of, or whose ends do.
func (f *Flow) countNamed(legs []Record) {
	for i := range legs {
		r := &legs[i]
		leg := r.Leg
		if leg == 0 {
			leg = f.legOf(r)
		}
		switch leg {
		case 1, 2:
			f.ToTarget = r.volume()
		case 3, 4:
			f.ToClient = r.volume()
		}
	}
}

// legOf finds out the leg of a record by its ends; 0 where it does not have them.
func (f *Flow) legOf(r *Record) uint8 {
	src, dst := netip.AddrPortFrom(r.Src, r.SrcPort), netip.AddrPortFrom(r.Dst, r.DstPort)
	switch {
	case src == f.Client && dst == f.Listen:
		return 1
	case src == f.SNAT && dst == f.Target:
		return 2
	case src == f.Target && dst == f.SNAT:
		return 3
	case src == f.Listen && dst == f.Client:
		return 4
	}
	return 0
}

// countBare finds the ends of a flow in records that have only those of the wire.
func (f *Flow) countBare(legs []Record, m *memory) {
	first, last := &legs[0], &legs[min(len(legs), 2)-1]
	in := ends{netip.AddrPortFrom(first.Src, first.SrcPort), netip.AddrPortFrom(first.Dst, first.DstPort)}
	out := ends{netip.AddrPortFrom(last.Src, last.SrcPort), netip.AddrPortFrom(last.Dst, last.DstPort)}
	if len(legs) == 1 {
		out = ends{}
	}
	if len(legs) == 2 && m.answers(in, out) {
		f.Client, f.Listen, f.SNAT, f.Target = out.to, out.from, in.to, in.from
		f.ToClient = first.volume()
		return
	}
	f.Client, f.Listen, f.SNAT, f.Target = in.from, in.to, out.from, out.to
	f.ToTarget = first.volume()
	if len(legs) > 2 {
		f.ToClient = legs[2].volume()
	}
	m.learn(in.to)
}

func (r *Record) volume() Volume {
	return Volume{Packets: r.Packets, Bytes: r.Bytes, TCPFlags: r.TCPFlags}
}

// ends are where packets come from and go to on one leg.
type ends struct{ from, to netip.AddrPort }

// memory is what was dialled before. Two records without a name are those of requests, or those of answers, in a window that had no
// packets the other way; whatever was dialled once tells which. There are at most as many as there are ports of relays.
type memory struct {
	listens map[netip.AddrPort]bool
}

// remembered bounds the memory, which a log that is none of natd's could fill.
const remembered = 1 << 16

func (m *memory) learn(listen netip.AddrPort) {
	if m.listens == nil {
		m.listens = make(map[netip.AddrPort]bool)
	}
	if len(m.listens) < remembered {
		m.listens[listen] = true
	}
}

// answers tells whether two legs are those of answers. Where nothing was learnt, servers are where the port is low.
func (m *memory) answers(in, out ends) bool {
	if m.listens[in.to] != m.listens[out.from] {
		return m.listens[out.from]
	}
	return in.from.Port() < in.to.Port() && out.from.Port() < out.to.Port() && in.from.Port() != 0
}
