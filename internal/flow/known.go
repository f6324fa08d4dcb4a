package flow

import (
	"net/netip"
	"time"

	"natd/nat"
)

// key tells a connection from every other one: its number, its first packet's addresses and ports, and its beginning. The number alone
// does not: the kernel makes it of the place in memory, and may make the next connection of a client in the same place (nf_ct_get_id in
// net/netfilter/nf_conntrack_core.c).
type key struct {
	began uint64 // ns since 1970; 0 when the kernel does not tell
	id    uint32
	tuple uint32 // a hash
}

func keyOf(e *Entry) key {
	const offset, prime = 2166136261, 16777619 // FNV-1a: files keep keys, so the hash is the same in every natd
	k := key{began: e.began, tuple: offset}
	for _, b := range e.tuple {
		k.tuple = (k.tuple ^ uint32(b)) * prime
	}
	for _, b := range e.id {
		k.id = k.id<<8 | uint32(b)
	}
	return k
}

func (k key) beganAt() time.Time { return time.Unix(0, int64(k.began)) }

// carried is the volume of both directions.
type carried struct{ toTarget, toClient Volume }

func carriedBy(e *Entry) carried { return carried{e.ToTarget, e.ToClient} }

// since is what has been carried since it was that much.
func (c carried) since(was carried) carried {
	return carried{c.toTarget.since(was.toTarget), c.toClient.since(was.toClient)}
}

// below tells whether less was carried: then it was by another connection, or somebody has set the counters to zero.
func (c carried) below(was carried) bool {
	return c.toTarget.Packets < was.toTarget.Packets || c.toClient.Packets < was.toClient.Packets ||
		c.toTarget.Bytes < was.toTarget.Bytes || c.toClient.Bytes < was.toClient.Bytes
}

func (v Volume) since(was Volume) Volume { return Volume{v.Packets - was.Packets, v.Bytes - was.Bytes} }

func (v *Volume) add(more Volume) {
	v.Packets += more.Packets
	v.Bytes += more.Bytes
}

// known is what is kept of a connection while it lives, without a pointer, for there may be as many as nf_conntrack_max: with its place
// in the map some 230 bytes.
type known struct {
	counted carried // of what the kernel counts, in the totals
	sampled carried // handed to the sink, less what the kernel does not count: counted.since(sampled) is what it is still to get
	last    int64   // its last packet, in ns since 1970; 0 while that is not known
	seen    uint64  // the number of the last dump that it was in

	addrs  [4][16]byte // of both tuples
	ports  [4]uint16
	tally  uint32
	status uint32
	proto  nat.Protocol
	state  uint8
	is4    bool
	shown  bool // the sink knows it

	changed bool // since it was saved
}

// restart takes it that the kernel counts from zero again, as "conntrack -L -z" makes it. What the sink is still to get stays.
func (k *known) restart() {
	k.counted, k.sampled = carried{}, k.sampled.since(k.counted)
}

// note keeps how the connection was read.
func (k *known) note(e *Entry) {
	for i, end := range [...]netip.AddrPort{e.Orig.Src, e.Orig.Dst, e.Reply.Src, e.Reply.Dst} {
		k.addrs[i], k.ports[i] = end.Addr().As16(), end.Port()
	}
	k.is4 = e.Orig.Dst.Addr().Is4()
	k.proto, k.status, k.state = e.Proto, e.status, e.state
}

// met tells whether this natd has read it, not only one before.
func (k *known) met() bool { return k.proto != 0 }

// entry is the connection as it was read last, but for what only the kernel needs.
func (k *known) entry(id key) *Entry {
	var ends [len(k.addrs)]netip.AddrPort
	for i := range ends {
		addr := netip.AddrFrom16(k.addrs[i])
		if k.is4 {
			addr = addr.Unmap()
		}
		ends[i] = netip.AddrPortFrom(addr, k.ports[i])
	}
	return &Entry{
		Proto: k.proto, Orig: Tuple{ends[0], ends[1]}, Reply: Tuple{ends[2], ends[3]},
		ToTarget: k.counted.toTarget, ToClient: k.counted.toClient, status: k.status, state: k.state, began: id.began,
	}
}
