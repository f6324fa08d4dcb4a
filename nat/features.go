package nat

import "maps"

// feature is something that rules depend on, of a family or of none: a set that there is, a limit and its protocol, and so on.
type feature struct {
	family string
	what   any
}

// features is what the relays that were added need of the rules.
func (b *builder) features() map[feature]bool {
	all := make(map[feature]bool)
	for name := range b.sets {
		all[feature{"", name}] = true
	}
	for c := range b.chosen {
		all[feature{"", c}] = true
	}
	for _, f := range b.families {
		for bits := range f.lengths {
			all[feature{f.digit, bits}] = true
		}
		for proto := range f.protocols {
			all[feature{f.digit, proto}] = true
		}
		for l, protocols := range f.limits {
			for proto := range protocols {
				all[feature{f.digit, limitOf{l, proto}}] = true
			}
		}
	}
	return all
}

// limitOf is a limit of connections of one protocol.
type limitOf struct {
	limit
	Protocol
}

// learn adds the features of the relays of another builder, and tells whether one is new.
func (b *builder) learn(other *builder) (more bool) {
	before := len(b.features())
	for name, s := range other.sets {
		if b.sets[name] == nil {
			empty := *s
			empty.Elements = nil
			b.sets[name] = &empty
		}
	}
	maps.Copy(b.chosen, other.chosen)
	for i, f := range b.families {
		o := other.families[i]
		f.used = f.used || o.used
		maps.Copy(f.lengths, o.lengths)
		maps.Copy(f.protocols, o.protocols)
		for l, protocols := range o.limits {
			if f.limits[l] == nil {
				f.limits[l] = make(map[Protocol]bool)
			}
			maps.Copy(f.limits[l], protocols)
		}
	}
	return len(b.features()) > before
}

// emptied is the builder of a ruleset that is complete, without the elements: it is good for chains only.
func (b *builder) emptied() *builder {
	for _, s := range b.sets {
		s.Elements = nil
	}
	b.keys, b.work = arena{}, relayWork{}
	for _, f := range b.families {
		clear(f.hosts)
	}
	return b
}
