package flow

import (
	"iter"
	"net/netip"
	"slices"

	"natd/nat"
)

// Box is the connections that a gateway or static makes, by the addresses that their first packet carries. The kernel does
// not tell which rule translated a connection, but with what is wanted, what lies in a box and is translated in its way is
// known.
type Box nat.Passage

// Boxes is what the enabled gateways and statics of the spec make.
func Boxes(spec *nat.Spec) []Box { return slices.Collect(boxes(spec)) }

// Removed is the boxes of those that the kernel has which the spec does not make: a Judge's Gone when the spec takes their place.
func Removed(was []nat.Passage, is *nat.Spec) (gone []Box) {
	kept := make(map[Box]bool)
	for b := range boxes(is) {
		kept[b] = true
	}
	for _, p := range was {
		if b := Box(p); !kept[b] {
			gone = append(gone, b)
		}
	}
	return gone
}

// boxes is Boxes one by one.
func boxes(spec *nat.Spec) iter.Seq[Box] {
	return func(yield func(Box) bool) {
		for i := range spec.Gateways {
			if g := &spec.Gateways[i]; g.Enabled && !gatewayBoxes(g, yield) {
				return
			}
		}
		for i := range spec.Statics {
			if s := &spec.Statics[i]; s.Enabled && !staticBoxes(s, yield) {
				return
			}
		}
	}
}

func gatewayBoxes(g *nat.Gateway, yield func(Box) bool) bool {
	for _, src := range g.From {
		for _, dst := range g.To {
			if src.Addr().Is4() == dst.Addr().Is4() && !yield(Box{Src: src, Dst: dst}) {
				return false
			}
		}
	}
	return true
}

// staticBoxes is both directions: what clients dial, and what the hosts inside dial.
func staticBoxes(s *nat.Static, yield func(Box) bool) bool {
	clients := s.From
	if len(clients) == 0 {
		everyone := netip.IPv6Unspecified()
		if s.External.Addr().Is4() {
			everyone = netip.IPv4Unspecified()
		}
		clients = []netip.Prefix{netip.PrefixFrom(everyone, 0)}
	}
	for _, c := range clients {
		if !yield(Box{Src: c, Dst: s.External, To: s.Internal}) || !yield(Box{Src: s.Internal, Dst: c}) {
			return false
		}
	}
	return true
}

// covers tells whether the connection lies in the box and was translated at the same end.
func (b Box) covers(e *Entry) bool {
	inward := b.To.IsValid()
	return (inward && e.Translated() || !inward && e.Masqueraded()) &&
		b.Src.Contains(e.Orig.Src.Addr()) && b.Dst.Contains(e.Orig.Dst.Addr())
}

// made tells whether the box makes such a connection.
func (b Box) made(e *Entry) bool {
	return b.covers(e) && (!b.To.IsValid() || b.To.Contains(e.Reply.Src.Addr()))
}

// gone returns why a connection of a gateway or static has to go, "" for one that does not, or that none made.
func (j *Judge) gone(e *Entry) string {
	if was, _ := j.boxes().gone.makes(e); !was {
		return ""
	}
	static, covered := j.boxes().statics.makes(e)
	gateway, coveredToo := j.boxes().gateways.makes(e)
	elsewhere := covered || coveredToo
	if static || gateway {
		return ""
	}
	switch {
	case !elsewhere:
		return WhyGone
	case sticks(e):
		return WhyMoved
	}
	return ""
}

// boxes is the boxes of what is and of what is gone, which are looked up once for each connection.
func (j *Judge) boxes() *boxIndexes {
	j.once.Do(func() { j.indexed = indexBoxes(j.Spec, j.Gone) })
	return j.indexed
}

// Gateway is the gateway that makes the connection; nil when none does. A static comes before it.
func (j *Judge) Gateway(e *Entry) *nat.Gateway {
	if i := j.boxes().gateways.first(e); i >= 0 {
		return &j.Spec.Gateways[i]
	}
	return nil
}

// Static is the static that makes the connection; nil when none does.
func (j *Judge) Static(e *Entry) *nat.Static {
	if i := j.boxes().statics.first(e); i >= 0 {
		return &j.Spec.Statics[i]
	}
	return nil
}
