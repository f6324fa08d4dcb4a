package rival

import (
	"context"
	"net/netip"

	"natd/bench/arena"
)

// routed is what forwards without NAT: its clients dial the target.
type routed struct{ Ruleset }

// Dial is the target itself.
func (routed) Dial(j arena.Job) netip.AddrPort { return j.Target(j.Hit()) }

// Start loads the rules.
func (r routed) Start(ctx context.Context, a *arena.Arena, j arena.Job) (arena.Running, error) {
	return r.start(ctx, a, j, r.Dial(j))
}

// Routed is plain routing, with no rules and no connection tracking.
func Routed() arena.Candidate {
	return routed{Ruleset{name: "routed", script: func(arena.Job) string { return "" }}}
}

// RoutedTracked is plain routing with connection tracking, which a rule that asks for it brings.
func RoutedTracked() arena.Candidate {
	return routed{Ruleset{name: "routed+ct", script: func(arena.Job) string {
		return `table ip ` + table + ` {
	chain forward {
		type filter hook forward priority filter; policy accept;
		ct state established,related accept
	}
}
`
	}}}
}
