package flowlog

import (
	"net/netip"
	"time"

	"natd/internal/flow"
	"natd/internal/record"
	"natd/nat"
)

// maxRefused bounds how many different flows are refused in a window and still told apart. Who sends from ever new ports must not fill
// the memory.
const maxRefused = 1 << 15

// refusals is what was refused in a window, by what AWS calls a flow.
type refusals map[refusedFlow]*refusedTally

type refusedFlow struct {
	proto    nat.Protocol
	src, dst netip.AddrPort
}

type refusedTally struct {
	owner       flow.Owner
	target      netip.AddrPort
	device      int
	volume      flow.Volume
	flags       uint8
	first, last time.Time
}

// count adds a packet, and tells whether there was room.
func (f refusals) count(p *flow.Refused, owner flow.Owner, now time.Time) bool {
	id := refusedFlow{p.Proto, p.From, p.Dialled}
	t := f[id]
	if t == nil {
		if len(f) >= maxRefused {
			return false
		}
		t = &refusedTally{owner: owner, target: p.Target, device: p.Device, first: now}
		f[id] = t
	}
	t.last = now
	t.volume.Packets++
	t.volume.Bytes += p.Bytes
	t.flags |= sentFlags(p.Flags)
	return true
}

// sentFlags is the flags of a segment as records have them: of a SYN with an ACK both, otherwise no ACK (RFC 9293, section 3.1).
func sentFlags(flags uint8) uint8 {
	if flags&record.SYNACK == record.SYNACK {
		return record.SYNACK | flags&(record.FIN|record.RST)
	}
	return flags & (record.FIN | record.SYN | record.RST)
}

// refusal is the record of what was refused. Nothing of it left the host again, so there is one leg, and pkt-dstaddr is where it would
// have gone.
func refusal(id refusedFlow, t *refusedTally) record.Record {
	r := record.Record{
		Src: id.src.Addr(), SrcPort: id.src.Port(), Dst: id.dst.Addr(), DstPort: id.dst.Port(), Protocol: uint8(id.proto),
		Packets: t.volume.Packets, Bytes: t.volume.Bytes, Start: t.first.Unix(), End: t.last.Unix(), TCPFlags: t.flags,
		PktSrc: id.src.Addr(), PktDst: t.target.Addr(), Direction: record.Ingress, Action: record.Reject, Status: record.OK,
		Relay: t.owner.Name, Kind: t.owner.Kind, Leg: 1, Client: id.src, Listen: id.dst,
	}
	if t.target != id.dst {
		r.Target = t.target
	}
	return r
}
