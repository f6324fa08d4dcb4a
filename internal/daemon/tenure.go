package daemon

import (
	"net/netip"
	"slices"
	"time"

	"natd/nat"
)

// tenure is what the relays and statics of a configuration have had of the host so far, by their positions.
type tenure struct {
	spec    *nat.Spec
	had     []bool      // by relay: it has been in the kernel with its ports
	since   []time.Time // by relay: it has been in the kernel; zero for one that is not
	statics []bool      // had, of statics
}

func newTenure(spec *nat.Spec) *tenure {
	return &tenure{
		spec: spec, had: make([]bool, len(spec.Relays)), since: make([]time.Time, len(spec.Relays)), statics: make([]bool, len(spec.Statics)),
	}
}

// relay tells whether the relay had its ports before.
func (t *tenure) relay(i int) bool { return t != nil && t.had[i] }

// static tells whether the static had its addresses before.
func (t *tenure) static(i int) bool { return t != nil && t.statics[i] }

// of is the tenure of another configuration. Who has a claim that was had before has had it, whatever its name. The ports of relays that
// the configuration does not have any more are forgotten: a service that took one since then has it now.
func (t *tenure) of(spec *nat.Spec) *tenure {
	next := newTenure(spec)
	if t == nil {
		return next
	}
	former := counterparts(t.spec, spec)
	var claims map[claim]bool // made for relays that are new or have changed
	for i := range spec.Relays {
		r, j := &spec.Relays[i], former(i)
		if j >= 0 {
			next.since[i] = t.since[j]
		}
		switch {
		case !r.Enabled:
		case j >= 0 && claimOf(r) == claimOf(&t.spec.Relays[j]):
			next.had[i] = t.had[j]
		default:
			if claims == nil {
				claims = t.claims()
			}
			next.had[i] = claims[claimOf(r)]
		}
	}
	had := make(map[staticClaim]bool) // there may be thousands
	for i := range t.spec.Statics {
		if t.statics[i] {
			had[staticClaimOf(&t.spec.Statics[i])] = true
		}
	}
	for i := range spec.Statics {
		next.statics[i] = had[staticClaimOf(&spec.Statics[i])]
	}
	return next
}

// clone is a copy.
func (t *tenure) clone() *tenure {
	return &tenure{spec: t.spec, had: slices.Clone(t.had), since: slices.Clone(t.since), statics: slices.Clone(t.statics)}
}

// forfeit forgets all that was had.
func (t *tenure) forfeit() {
	clear(t.had)
	clear(t.statics)
}

func (t *tenure) claims() map[claim]bool {
	claims := make(map[claim]bool)
	for i := range t.spec.Relays {
		if t.had[i] {
			claims[claimOf(&t.spec.Relays[i])] = true
		}
	}
	return claims
}

// standing is the tenure of the relays and statics that the kernel has already.
func standing(spec *nat.Spec, have *nat.Table, local []netip.Addr) *tenure {
	listens := make(map[nat.Endpoint]bool)
	for _, e := range have.Listens() {
		listens[e] = true
	}
	t := newTenure(spec)
	for i := range spec.Relays {
		r := &spec.Relays[i]
		t.had[i] = r.Enabled && standsWhole(r, local, listens)
	}
	passages := have.Passages()
	for i := range spec.Statics {
		st := &spec.Statics[i]
		t.statics[i] = slices.ContainsFunc(passages, func(p nat.Passage) bool { return p.Dst == st.External && p.To.IsValid() })
	}
	return t
}

// standsWhole tells whether the kernel has every port of the relay already. A relay that has grown, or that may not
// override local services any more, has yet to show that its ports are free.
func standsWhole(r *nat.Relay, local []netip.Addr, listens map[nat.Endpoint]bool) bool {
	addrs := []netip.Addr{r.Listen.Addr}
	if r.Listen.Any() {
		addrs = local
	}
	for _, addr := range addrs {
		for _, proto := range r.Protocols {
			for offset := range r.Listen.Ports.Width() {
				if !listens[nat.Endpoint{Addr: addr, Proto: proto, Port: r.Listen.Ports.First + uint16(offset)}] {
					return false
				}
			}
		}
	}
	return len(addrs) > 0
}
