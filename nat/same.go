package nat

import "slices"

// same tells whether the relays agree in everything.
func (r *Relay) same(o *Relay) bool {
	return r.Name == o.Name && r.Listen == o.Listen && slices.Equal(r.Protocols, o.Protocols) && slices.Equal(r.From, o.From) &&
		slices.Equal(r.Backends, o.Backends) && r.SNAT.Mode == o.SNAT.Mode && slices.Equal(r.SNAT.Addrs, o.SNAT.Addrs) &&
		r.Egress == o.Egress && r.Balance == o.Balance && r.Health == o.Health && r.OnChange == o.OnChange && r.Fail == o.Fail &&
		r.MSS == o.MSS && r.Log == o.Log && r.Enabled == o.Enabled && r.OverrideLocal == o.OverrideLocal &&
		r.MaxConnections == o.MaxConnections && r.MaxPerSource == o.MaxPerSource && r.Rate == o.Rate
}

// same tells whether the placements agree in everything.
func (p *Placement) same(o *Placement) bool {
	return p.Held == o.Held && slices.Equal(p.Addrs, o.Addrs) && slices.EqualFunc(p.Targets, o.Targets, Target.Same)
}

// Same tells whether the targets agree in everything.
func (t Target) Same(o Target) bool {
	return t.Addr == o.Addr && t.Ports == o.Ports && t.Weight == o.Weight && t.Closing == o.Closing && slices.Equal(t.SNAT, o.SNAT)
}
