package nat

import (
	"math/bits"
	"net/netip"
)

// Passage is what a gateway or static translates: what is sent from one network to another.
type Passage struct {
	Src, Dst netip.Prefix
	To       netip.Prefix // what the destination becomes; zero when only the source is translated
}

// Passages is what the gateways and statics of the table translate, whichever configuration they are of.
func (r *Ruleset) Passages() (passages []Passage) {
	for i := range r.Sets {
		s := &r.Sets[i]
		kind := kindOf(s.Name)
		if kind != setGateways && kind != setStatic && kind != setStaticFrom {
			continue
		}
		for j := range s.Elements {
			if p, ok := s.Elements[j].passage(kind == setStatic); ok {
				passages = append(passages, p)
			}
		}
	}
	return passages
}

// passage reads back what intervalKey wrote of two networks, and networkValue of one.
func (e *Element) passage(inward bool) (p Passage, ok bool) {
	size := len(e.Key) / 4 // the firsts of both, then the lasts of both
	if size != 4 && size != 16 || inward && len(e.Value) != 2*size {
		return Passage{}, false
	}
	p.Src = prefixOf(string(e.Key[:size]), string(e.Key[2*size:3*size]))
	p.Dst = prefixOf(string(e.Key[size:2*size]), string(e.Key[3*size:4*size]))
	if inward {
		p.To = prefixOf(string(e.Value[:size]), string(e.Value[size:]))
	}
	return p, true
}

// prefixOf is the smallest network that has both addresses.
func prefixOf(first, last string) netip.Prefix {
	same := 0
	for same < len(first) && first[same] == last[same] {
		same++
	}
	length := 8 * same
	if same < len(first) {
		length += bits.LeadingZeros8(first[same] ^ last[same])
	}
	a, _ := netip.AddrFromSlice([]byte(first))
	return netip.PrefixFrom(a, length).Masked()
}
