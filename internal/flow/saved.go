package flow

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
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

	// Places makes it what has changed since what was saved before: it says where each of the tallies is among those. Of connections only
	// those are in it whose counts have changed.
	Places []uint32 `json:",omitempty"`
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
		if left--; left >= 0 {
			s.Live = appendLive(s.Live, id, k)
		}
		k.changed = false
	}
	m.saved()
	return s
}

// Changes is what is different from what was saved last, by Save or Changes. There is always a tally in it, if there is any at all.
func (m *Meter) Changes() *Saved {
	if len(m.changedTallies) == 0 && len(m.tallies) > 0 {
		m.changedTallies = append(m.changedTallies, 0)
	}
	s := &Saved{Since: m.since, Lost: m.lost, Places: slices.Clone(m.changedTallies)}
	for _, i := range s.Places {
		s.Tallies = append(s.Tallies, m.tallies[i])
	}
	for _, id := range m.changed {
		if k := m.live[id]; k != nil && k.changed {
			s.Live = appendLive(s.Live, id, k)
			k.changed = false
		}
	}
	m.saved()
	return s
}

// saved begins to note changes anew.
func (m *Meter) saved() {
	for _, i := range m.changedTallies {
		m.isChanged[i] = false
	}
	m.changedTallies, m.changed = m.changedTallies[:0], m.changed[:0]
}

// tally is a tally that is about to change.
func (m *Meter) tally(i uint32) *Tally {
	m.version++
	if !m.isChanged[i] {
		m.isChanged[i] = true
		m.changedTallies = append(m.changedTallies, i)
	}
	return &m.tallies[i]
}

// change notes that what is kept of a connection changes.
func (m *Meter) change(id key, k *known) {
	if k == &m.met || k.changed {
		return // it is not kept, or not yet
	}
	k.changed = true
	m.changed = append(m.changed, id)
}

// change takes in what has changed since.
func (s *Saved) change(c *Saved) error {
	if len(c.Places) != len(c.Tallies) {
		return errDamaged
	}
	s.Since, s.Lost = c.Since, c.Lost
	for i, at := range c.Places {
		switch {
		case int(at) < len(s.Tallies):
			s.Tallies[at] = c.Tallies[i]
		case int(at) == len(s.Tallies):
			s.Tallies = append(s.Tallies, c.Tallies[i])
		default:
			return errDamaged
		}
	}
	s.Live = append(s.Live, c.Live...) // what is said of a connection last is what counts
	return nil
}

// ReadSaved reads what Save has made, and behind it, in order, what Changes has. The end may be cut off: then it is as it was before.
func ReadSaved(r io.Reader) (*Saved, error) {
	from := json.NewDecoder(r)
	s := new(Saved)
	if err := from.Decode(s); err != nil {
		return nil, err
	}
	for {
		c := new(Saved)
		if from.Decode(c) != nil || s.change(c) != nil {
			return s, nil
		}
	}
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
		m.addTally(t)
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
