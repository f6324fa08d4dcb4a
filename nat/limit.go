package nat

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Kinds of the sets that hold limits, and of what they are about.
const (
	setSlow    = "slow"    // what clients dial whose connections stay off the fast path
	setLimits  = "limits"  // what clients dial that has one certain limit
	setCounts  = "counts"  // what counts towards it
	setRefused = "refused" // what clients dial, with the connections that a kind of limit refused

	limitConnections = "connections"
	limitSources     = "sources"
	limitRate        = "rate"
)

// limit is a limit that some relays have.
type limit struct {
	kind  string
	count int
	per   time.Duration // of limitRate
}

// which is what tells the sets of the limit from those of others.
func (l limit) which() string {
	if l.kind == limitRate {
		return fmt.Sprintf("%s_%d%c", l.kind, l.count, Rate{l.count, l.per}.String()[len(fmt.Sprint(l.count))+1])
	}
	return fmt.Sprintf("%s_%d", l.kind, l.count)
}

// limitsOf is the relay's limits.
func limitsOf(r *Relay) (limits []limit) {
	if r.MaxConnections > 0 {
		limits = append(limits, limit{limitConnections, r.MaxConnections, 0})
	}
	if r.MaxPerSource > 0 {
		limits = append(limits, limit{limitSources, r.MaxPerSource, 0})
	}
	if r.Rate.Count > 0 {
		limits = append(limits, limit{limitRate, r.Rate.Count, r.Rate.Per})
	}
	return limits
}

// limit adds what clients dial to the sets of the relay's limits.
func (w *relayWork) limit(key Key, proto Protocol) {
	if w.fastPath && (w.relay.MaxConnections > 0 || w.relay.MaxPerSource > 0) {
		w.set(w.f.name(setSlow), w.f.endpoint, nil).add(key, "", w.relay.Name)
	}
	for _, l := range limitsOf(w.relay) {
		if w.f.limits[l] == nil {
			w.f.limits[l] = make(map[Protocol]bool)
			w.counts(l)
		}
		w.f.limits[l][proto] = true
		w.set(w.f.nameOf(setLimits, l.which()), w.f.endpoint, nil).add(key, "", w.relay.Name)
		refused := w.set(w.f.nameOf(setRefused, l.kind), w.f.endpoint, nil)
		refused.Counter = true
		refused.add(key, "", w.relay.Name)
	}
}

// countsSize bounds the memory that clients can make the kernel use: who finds the set full is not limited.
const countsSize = 65536

// counts makes the set that the rules of a limit fill.
func (w *relayWork) counts(l limit) {
	key := w.f.endpoint
	if l.kind != limitConnections {
		key = append(key, w.f.source)
	}
	s := w.set(w.f.nameOf(setCounts, l.which()), key, nil)
	s.State, s.Size = true, countsSize
	if l.kind == limitRate {
		// An element that was forgotten begins with everything saved up, as one does that was unused for a unit.
		s.Timeout = max(time.Minute, l.per)
	}
}

// limitRules refuse what is over a limit. Only first packets count: they are the ones that open connections.
func (b *builder) limitRules(f *familyUse) (rules []Rule) {
	limits := slices.SortedFunc(maps.Keys(f.limits), func(a, b limit) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.per, b.per), cmp.Compare(a.count, b.count))
	})
	for _, l := range limits {
		for _, proto := range slices.Sorted(maps.Keys(f.limits[l])) {
			rules = append(rules, rule("limit of "+l.text(), l.family(f), ctFirstDNAT(), l4protoIs(proto),
				join(key(f.tracked()...), in(f.nameOf(setLimits, l.which()))),
				l.over(f),
				join(key(f.tracked()...), in(f.nameOf(setRefused, l.kind))),
				b.refuseProto(f, proto)))
		}
	}
	return rules
}

// family matches the family, where it does not follow from the source address in the key.
func (l limit) family(f *familyUse) part {
	if l.kind == limitConnections {
		return f.named()
	}
	return part{}
}

// over matches connections that are beyond the limit.
func (l limit) over(f *familyUse) part {
	counts := f.nameOf(setCounts, l.which())
	perSource := key(append(f.tracked(), f.ipSaddr())...)
	switch l.kind {
	case limitConnections:
		return tally("add", counts, key(f.tracked()...), ctCountOver(l.count))
	case limitSources:
		return join(f.is(), tally("add", counts, perSource, ctCountOver(l.count)))
	}
	return join(f.is(), tally("update", counts, perSource, rateOver(Rate{l.count, l.per})))
}

// text is the limit as the configuration has it.
func (l limit) text() string {
	switch l.kind {
	case limitConnections:
		return fmt.Sprintf("%d connections", l.count)
	case limitSources:
		return fmt.Sprintf("%d connections per source", l.count)
	}
	return Rate{l.count, l.per}.String() + " per source"
}

// Kinds of the sets about the maximum segment size.
const (
	setMSS       = "mss"       // what clients dial -> size
	setUnclamped = "unclamped" // what clients dial whose size does not follow the routes
)

func mssValue(size uint16) Value { return Value(binary.BigEndian.AppendUint16(nil, size)) }
