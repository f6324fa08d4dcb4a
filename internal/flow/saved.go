package flow

import (
	"encoding/binary"
	"errors"
	"slices"
	"time"
)

// Saved is a Meter's memory in the form of a file. The connections that live are in it with what is counted of each: a natd that takes
// over goes on counting where the one before was when it saved. One that has ended since stays counted with that.
type Saved struct {
	Since   time.Time
	Lost    uint64
	Tallies []Tally
	Live    []byte // see appendLive
}

// maxSavedLive bounds the connections that are saved: beyond it they are counted twice when natd is started anew. They take some 30
// bytes each.
const maxSavedLive = 1 << 22

// Save is the memory of everything that was counted.
func (m *Meter) Save() *Saved {
	s := &Saved{Since: m.since, Lost: m.lost, Tallies: slices.Clone(m.tallies)}
	s.Live = make([]byte, 0, 32*min(len(m.live), maxSavedLive))
	left := maxSavedLive
	for id, k := range m.live {
		if left--; left < 0 {
			break
		}
		s.Live = appendLive(s.Live, id, k)
	}
	return s
}

// appendLive appends one connection: its key, and then numbers as binary.AppendUvarint writes them.
func appendLive(b []byte, id key, k *known) []byte {
	b = binary.BigEndian.AppendUint64(b, id.began)
	b = binary.BigEndian.AppendUint32(b, id.id)
	b = binary.BigEndian.AppendUint32(b, id.tuple)
	shown := uint64(0)
	if k.shown {
		shown = 1
	}
	b = binary.AppendUvarint(b, uint64(k.tally)<<1|shown)
	for _, c := range []carried{k.counted, k.counted.since(k.sampled)} {
		for _, v := range []Volume{c.toTarget, c.toClient} {
			b = binary.AppendUvarint(binary.AppendUvarint(b, v.Packets), v.Bytes)
		}
	}
	return b
}

// errDamaged says that what was saved cannot be understood.
var errDamaged = errors.New("the connections in it cannot be understood")

// Resume makes a Meter that goes on from what was saved, with the owners that keep says are still there.
func (m *Meter) Resume(s *Saved, keep func(Owner) bool) error {
	places := make(map[uint32]uint32) // where the tallies are now
	for i := range s.Tallies {
		t := s.Tallies[i]
		if !keep(t.Owner) {
			continue
		}
		at := uint32(len(m.tallies))
		places[uint32(i)] = at
		m.places[tallied{t.Owner, t.Target}] = at
		m.tallies = append(m.tallies, t)
	}
	m.since, m.lost = s.Since, s.Lost
	for rest := s.Live; len(rest) > 0; {
		id, k, n := readLive(rest)
		if n <= 0 {
			return errDamaged
		}
		rest = rest[n:]
		if at, ok := places[k.tally]; ok {
			k.tally = at
			m.live[id] = k
		}
	}
	return nil
}

// readLive reads what appendLive wrote, and how many bytes it took; 0 when it is not that.
func readLive(b []byte) (id key, k *known, n int) {
	const fixed = 16
	if len(b) < fixed {
		return id, nil, 0
	}
	id = key{binary.BigEndian.Uint64(b), binary.BigEndian.Uint32(b[8:]), binary.BigEndian.Uint32(b[12:])}
	n = fixed
	var numbers [9]uint64
	for i := range numbers {
		value, size := binary.Uvarint(b[n:])
		if size <= 0 {
			return id, nil, 0
		}
		numbers[i] = value
		n += size
	}
	volumes := func(n []uint64) carried { return carried{Volume{n[0], n[1]}, Volume{n[2], n[3]}} }
	k = &known{tally: uint32(numbers[0] >> 1), shown: numbers[0]&1 == 1, counted: volumes(numbers[1:5])}
	k.sampled = k.counted.since(volumes(numbers[5:9]))
	return id, k, n
}
