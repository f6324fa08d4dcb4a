package flow

import (
	"iter"
	"net/netip"
	"slices"

	"natd/nat"
)

// boxIndex finds the boxes that cover a connection without a look at each: there may be 100,000 of both. It takes a look-up for each
// pair of prefix lengths that there is.
type boxIndex struct {
	lengths []boxLengths
	boxes   map[Box][]boxOf // by Box without what To is
}

type boxLengths struct {
	inward   bool
	src, dst int
}

// boxOf is a box and the position of what it belongs to.
type boxOf struct {
	Box
	owner int
}

func (x *boxIndex) add(b Box, owner int) {
	if x.boxes == nil {
		x.boxes = make(map[Box][]boxOf)
	}
	l := boxLengths{b.To.IsValid(), b.Src.Bits(), b.Dst.Bits()}
	if !slices.Contains(x.lengths, l) {
		x.lengths = append(x.lengths, l)
	}
	key := boxKey(l.inward, b.Src.Masked(), b.Dst.Masked())
	x.boxes[key] = append(x.boxes[key], boxOf{b, owner})
}

// boxKey is what boxes have in common that cover the same connections.
func boxKey(inward bool, src, dst netip.Prefix) Box {
	key := Box{Src: src, Dst: dst}
	if inward {
		key.To = netip.PrefixFrom(dst.Addr(), 0)
	}
	return key
}

// covering yields the boxes that cover the connection.
func (x *boxIndex) covering(e *Entry) iter.Seq[boxOf] {
	return func(yield func(boxOf) bool) {
		for _, l := range x.lengths {
			src, errSrc := e.Orig.Src.Addr().Prefix(l.src)
			dst, errDst := e.Orig.Dst.Addr().Prefix(l.dst)
			if errSrc != nil || errDst != nil {
				continue // lengths of the other family
			}
			for _, b := range x.boxes[boxKey(l.inward, src, dst)] {
				if b.covers(e) && !yield(b) {
					return
				}
			}
		}
	}
}

// makes tells whether a box makes the connection, and if not whether one covers it.
func (x *boxIndex) makes(e *Entry) (makes, covers bool) {
	for b := range x.covering(e) {
		if b.made(e) {
			return true, true
		}
		covers = true
	}
	return false, covers
}

// first is the position of the first that covers the connection; -1 when none does.
func (x *boxIndex) first(e *Entry) int {
	first := -1
	for b := range x.covering(e) {
		if first < 0 || b.owner < first {
			first = b.owner
		}
	}
	return first
}

// boxIndexes is the boxes of a Judge.
type boxIndexes struct{ gateways, statics, gone boxIndex }

func indexBoxes(spec *nat.Spec, gone []Box) *boxIndexes {
	x := new(boxIndexes)
	for i := range spec.Gateways {
		if g := &spec.Gateways[i]; g.Enabled {
			gatewayBoxes(g, func(b Box) bool { x.gateways.add(b, i); return true })
		}
	}
	for i := range spec.Statics {
		if s := &spec.Statics[i]; s.Enabled {
			staticBoxes(s, func(b Box) bool { x.statics.add(b, i); return true })
		}
	}
	for _, b := range gone {
		x.gone.add(b, 0)
	}
	return x
}
