package daemon

import (
	"maps"
	"net/netip"
	"time"

	"natd/internal/control"
	"natd/internal/flow"
	"natd/nat"
)

// lasting is the connections, those that limits refused included, that the counters in natd's table have counted, for as long as natd lives: a counter goes when its element
// does, such as when the last backend is drained, and begins anew with it.
type lasting struct {
	counts map[lastingKey]*lastingCount // nil before the table was seen
}

// lastingKey is what is counted: an owner, or one target of a relay, or what one limit of a relay refused.
type lastingKey struct {
	owner  flow.Owner
	target netip.AddrPort
	limit  string // its key in the configuration; "" = what was not refused
}

// The limits of a relay.
const (
	limitConnections = "max_connections"
	limitSources     = "max_per_source"
	limitRate        = "rate"
)

// lastingCount is what the table says, and what it said besides and does not any more.
type lastingCount struct {
	now, gone uint64
	grew      time.Time // when it was seen to be more than before; zero while it was not
	read      time.Time // when the table said so
}

// see takes note of the table: what it has lost since it was seen last is kept. Of what grew before natd started nobody knows when it did.
func (l *lasting) see(table *nat.Table, at time.Time) {
	l.take(tally(&table.Ruleset), at, at, func(flow.Owner) bool { return true })
}

// take is see of what the counters of the owners in question said while they were read. Who asked for the status may come with it late: what a newer
// reading has, the table has not lost.
func (l *lasting) take(now map[lastingKey]uint64, from, at time.Time, about func(flow.Owner) bool) {
	began := l.counts == nil
	if began {
		l.counts = make(map[lastingKey]*lastingCount)
	}
	for k, n := range now {
		if n > 0 && l.counts[k] == nil && about(k.owner) {
			l.counts[k] = new(lastingCount)
		}
	}
	for k, c := range l.counts {
		if !about(k.owner) || from.Before(c.read) {
			continue
		}
		c.read = at
		if now[k] > c.now && !began {
			c.grew = at
		}
		c.gone += c.now - min(now[k], c.now)
		c.now = now[k]
	}
}

// tally is what the counters of the ruleset say.
func tally(r *nat.Ruleset) map[lastingKey]uint64 {
	now := make(map[lastingKey]uint64)
	totals := r.Connections()
	for kind, names := range map[string]map[string]uint64{
		flow.KindRelay: totals.Relays, flow.KindGateway: totals.Gateways, flow.KindStatic: totals.Statics,
	} {
		for name, n := range names {
			now[lastingKey{owner: flow.Owner{Kind: kind, Name: name}}] = n
		}
	}
	r.EachTarget(func(relay string, to netip.AddrPort, n uint64) {
		if n > 0 {
			now[lastingKey{owner: flow.Owner{Kind: flow.KindRelay, Name: relay}, target: to}] += n
		}
	})
	for name, refused := range r.Refused() {
		owner := flow.Owner{Kind: flow.KindRelay, Name: name}
		now[lastingKey{owner: owner, limit: limitConnections}] = refused.Connections
		now[lastingKey{owner: owner, limit: limitSources}] = refused.Sources
		now[lastingKey{owner: owner, limit: limitRate}] = refused.Rate
	}
	maps.DeleteFunc(now, func(_ lastingKey, n uint64) bool { return n == 0 })
	return now
}

// lose takes note of what the table has lost by a plan. See has not seen the last of it where that was made without reading it; and else would
// not tell what is counted anew from what was counted before.
func (l *lasting) lose(plan *nat.Plan) {
	stays := tally(plan.Coming())
	for k, n := range tally(plan.Going()) {
		if n <= stays[k] {
			continue
		}
		lost := n - stays[k]
		c := l.counts[k]
		if c == nil {
			c = new(lastingCount)
			l.counts[k] = c
		}
		c.gone += lost
		c.now -= min(lost, c.now)
	}
}

// clone is a copy for reading.
func (l *lasting) clone() lasting {
	c := lasting{counts: make(map[lastingKey]*lastingCount, len(l.counts))}
	for k, one := range l.counts {
		copied := *one
		c.counts[k] = &copied
	}
	return c
}

// forget drops what belongs to owners that are there no more.
func (l *lasting) forget(keep func(flow.Owner) bool) {
	maps.DeleteFunc(l.counts, func(k lastingKey, _ *lastingCount) bool { return !keep(k.owner) })
}

// each calls do with every count; the target is not valid for that of an owner.
func (l *lasting) each(do func(owner flow.Owner, target netip.AddrPort, total uint64)) {
	for k, c := range l.counts {
		if k.limit == "" {
			do(k.owner, k.target, c.now+c.gone)
		}
	}
}

// lastRefused is when a limit of a relay was seen to have refused more; zero while none was.
func (l *lasting) lastRefused(relay string) (last time.Time) {
	for _, limit := range []string{limitConnections, limitSources, limitRate} {
		if c := l.counts[lastingKey{owner: flow.Owner{Kind: flow.KindRelay, Name: relay}, limit: limit}]; c != nil && c.grew.After(last) {
			last = c.grew
		}
	}
	return last
}

// refused is what the limits of a relay refused.
func (l *lasting) refused(relay string) control.Refused {
	of := func(limit string) uint64 {
		c := l.counts[lastingKey{owner: flow.Owner{Kind: flow.KindRelay, Name: relay}, limit: limit}]
		if c == nil {
			return 0
		}
		return c.now + c.gone
	}
	return control.Refused{Connections: of(limitConnections), PerSource: of(limitSources), Rate: of(limitRate)}
}
