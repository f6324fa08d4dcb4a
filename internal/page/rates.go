package page

import (
	"fmt"
	"time"

	"natd/internal/control"
	"natd/internal/words"
)

// sample is the counts of a status, in its order: 24 bytes for each relay, where a status has a thousand.
type sample struct {
	at     time.Time
	config string // two samples of one configuration have the same order
	loaded time.Time
	counts map[string][]counts // by kind
}

type counts struct {
	connections        uint64
	toTarget, toClient uint64 // bytes
}

func newSample(s *control.Status, at time.Time) *sample {
	n := &sample{at: at, config: s.Config.SHA256, loaded: s.Config.LoadedAt, counts: map[string][]counts{}}
	add := func(kind string, c control.Connections, v control.Volume) {
		n.counts[kind] = append(n.counts[kind], counts{c.Total, v.ToTarget, v.ToClient})
	}
	for i := range s.Relays {
		add(control.KindRelay, s.Relays[i].Connections, s.Relays[i].Bytes)
	}
	for i := range s.Gateways {
		add(control.KindGateway, s.Gateways[i].Connections, s.Gateways[i].Bytes)
	}
	for i := range s.Statics {
		add(control.KindStatic, s.Statics[i].Connections, s.Statics[i].Bytes)
	}
	return n
}

// comparableTo tells whether the rates between the two samples say something.
func (s *sample) comparableTo(later *sample) bool {
	return s.config == later.config && s.loaded.Equal(later.loaded) && later.at.Sub(s.at) <= comparable
}

// rates are what went on between two statuses, for a person; "–" for what is not known.
type rates struct {
	Connections, ToTarget, ToClient string
}

// rates of the i-th of a kind, which now has these counts.
func (a *answer) rates(kind string, i int, c control.Connections, v control.Volume) rates {
	unknown := rates{"–", "–", "–"}
	if a.before == nil || i >= len(a.before.counts[kind]) {
		return unknown
	}
	was, seconds := a.before.counts[kind][i], a.at.Sub(a.before.at).Seconds()
	r := unknown
	if n, ok := perSecond(was.connections, c.Total, seconds); ok {
		r.Connections = number(n)
	}
	if n, ok := perSecond(was.toTarget, v.ToTarget, seconds); ok {
		r.ToTarget = words.Size(uint64(n))
	}
	if n, ok := perSecond(was.toClient, v.ToClient, seconds); ok {
		r.ToClient = words.Size(uint64(n))
	}
	return r
}

// perSecond is not known of a count that went down: the table was made anew, or connections ended that were not accounted for.
func perSecond(was, is uint64, seconds float64) (float64, bool) {
	if is < was || seconds <= 0 {
		return 0, false
	}
	return float64(is-was) / seconds, true
}

// number has one decimal while it is small.
func number(n float64) string {
	if n == 0 || n >= 9.95 {
		return fmt.Sprintf("%.0f", n)
	}
	return fmt.Sprintf("%.1f", n)
}
