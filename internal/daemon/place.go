package daemon

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"natd/internal/control"
	"natd/nat"
	"natd/netconf"
)

// place is what this host makes of one relay. There may be a hundred thousand: what is amiss with few stands apart.
type place struct {
	*nat.Placement
	backends []backend
	amiss    *amiss // nil for nothing
	fixed    bool   // it follows from the facts and the relay alone, but for what changes by itself and for other relays
}

// amiss is what is not as configured of a relay.
type amiss struct {
	down    bool     // no backend is up
	reasons []string // of what the host's network is to blame for
	unwell  []string // the same, of backends that are down or drained and of names without an answer

	unreached string   // why none of its backends can be reached; "" when one can, or this host is to blame for it
	faults    []string // those of the reasons, and of undelivered, because of which no connection passes this host

	undelivered []string // why AWS does not deliver its packets, though all is as configured here
}

// noted is what is amiss.
func (p *place) noted() amiss {
	if p.amiss == nil {
		return amiss{}
	}
	return *p.amiss
}

// note is where to note what is amiss.
func (p *place) note() *amiss {
	if p.amiss == nil {
		p.amiss = new(amiss)
	}
	return p.amiss
}

// placing is what the places of relays share.
type placing struct {
	*facts
	local        []netip.Addr
	left, spread room
	refused      map[string]string // the reasons why relays, by name, may not take their port
}

// place decides about a relay. It is a function of the facts and of what went to the relays before.
func (f *placing) place(r *nat.Relay, p *place) {
	if !r.Enabled {
		p.Held, p.fixed = true, true
		return
	}
	n := endpoints(r, len(f.local))
	f.placeBackends(r, p, f.left.addresses(r, n))
	f.left.take(r, n, len(p.backends))
	f.placeListen(r, p, f.local)
	if !f.spread.spread(r, p) {
		p.hold("its %d ports on each of the host's %d addresses are more than the kernel can hold: name an address in listen, or fewer ports",
			r.Listen.Ports.Width(), len(p.Addrs))
	}
	f.placeInVPC(r, p)
	reason, refused := f.refused[r.Name]
	if refused {
		p.hold("%s", reason)
	}
	p.fixed = !refused && !named(r) && !r.Listen.Any() && !r.Health.Checks() && !p.drained()
}

// drained tells whether a backend is.
func (p *place) drained() bool {
	return slices.ContainsFunc(p.backends, func(b backend) bool { return b.state == control.BackendDraining })
}

func (f *facts) placeListen(r *nat.Relay, p *place, local []netip.Addr) {
	if !r.Listen.Any() {
		p.Addrs = f.only(r.Listen.Addr)
		if f.linkOf(r.Listen.Addr) == "" && !f.lacks(r.Listen.Addr) {
			// Packets for it may be routed here all the same, so the relay stays in the kernel.
			p.notef("listen address %s %s", r.Listen.Addr, f.absent(r.Listen.Addr, "listen on", ": add it to one, or correct listen"))
		}
		return
	}
	for _, addr := range local {
		if slices.ContainsFunc(p.Targets, func(t nat.Target) bool { return t.Addr.Is4() == addr.Is4() }) {
			p.Addrs = append(p.Addrs, addr)
		}
	}
	if len(p.Addrs) == 0 && len(p.Targets) > 0 {
		p.hold("the host has no address yet to listen on")
	}
}

// placeInVPC finds addresses of the relay that AWS does not deliver to this host, or from it. Its rules stand all the same: the address
// may be on its way, and what AWS says may be older than what it does.
func (f *facts) placeInVPC(r *nat.Relay, p *place) {
	if f.instance == nil {
		return
	}
	note := func(why string) {
		if why != "" {
			p.note().undelivered, p.note().faults = add(p.noted().undelivered, why), add(p.noted().faults, why)
		}
	}
	if !r.Listen.Any() {
		note(f.undelivered(r.Listen.Addr))
	}
	for i := range p.backends {
		b := &p.backends[i]
		if !b.fit || b.route.Local {
			continue
		}
		for _, source := range b.sources {
			note(f.unsent(source, b.addr, b.route.Link))
		}
	}
}

// hold keeps the relay out of the kernel.
func (p *place) hold(format string, args ...any) {
	p.Held = true
	p.notef(format, args...)
}

func (p *place) notef(format string, args ...any) {
	why := fmt.Sprintf(format, args...)
	p.note().reasons, p.note().faults = append(p.noted().reasons, why), append(p.noted().faults, why)
}

// ail notes a reason that the network is not to blame for.
func (p *place) ail(format string, args ...any) {
	p.note().unwell = add(p.noted().unwell, fmt.Sprintf(format, args...))
}

// reason is why the relay is not as configured, in one line; "" when it is.
func (p *place) reason() string {
	if p.amiss == nil {
		return ""
	}
	return strings.Join(slices.Concat(p.amiss.reasons, p.amiss.unwell, p.amiss.undelivered), "; ")
}

// here tells whether nothing is forwarded, because every backend is the host itself.
func (p *place) here() bool {
	return !slices.ContainsFunc(p.backends, func(b backend) bool { return b.fit && !b.route.Local })
}

// links is the interfaces that the relay sends by, each once.
func (p *place) links() (links []string) {
	for i := range p.backends {
		if b := &p.backends[i]; b.route.Link != "" {
			links = add(links, b.route.Link)
		}
	}
	return links
}

// sources is the addresses that the backends see, each once.
func (p *place) sources() (sources []netip.Addr) {
	for i := range p.backends {
		for _, a := range p.backends[i].sources {
			if !slices.Contains(sources, a) {
				sources = append(sources, a)
			}
		}
	}
	return sources
}

// way is how packets reach the backends, for people: that of the first one.
func (p *place) way() string {
	for i := range p.backends {
		if b := &p.backends[i]; b.fit {
			return wayText(b.route, b.sources)
		}
	}
	return "none"
}

func wayText(route *netconf.Route, sources []netip.Addr) string {
	text := "by " + route.Link
	if route.Gateway.IsValid() {
		text += " via " + route.Gateway.String()
	}
	switch len(sources) {
	case 0:
	case 1:
		text += " from " + sources[0].String()
	default:
		text += fmt.Sprintf(" from %s and %d more", sources[0], len(sources)-1)
	}
	return text
}

// same tells whether two decisions agree in all that is told of them or done about them.
func (p *place) same(o *place) bool {
	if p.shares(o) {
		return true
	}
	a, b := p.noted(), o.noted()
	return p.sameWay(o) && a.down == b.down && slices.EqualFunc(p.Targets, o.Targets, nat.Target.Same) &&
		slices.Equal(a.unwell, b.unwell) && slices.Equal(a.undelivered, b.undelivered)
}

// shares tells whether one decision was taken over from the other.
func (p *place) shares(o *place) bool {
	return len(p.backends) > 0 && len(o.backends) > 0 && &p.backends[0] == &o.backends[0]
}

// sameWay tells whether two decisions agree in what the host's network decides: whatever AWS, names and the backends'
// health make of it.
func (p *place) sameWay(o *place) bool {
	return p.Held == o.Held && slices.Equal(p.Addrs, o.Addrs) && slices.Equal(p.noted().reasons, o.noted().reasons) && p.sameRoutes(o)
}

// sameBackends tells whether the names of the backends have the same answers.
func (p *place) sameBackends(o *place) bool {
	return slices.EqualFunc(p.backends, o.backends, func(a, b backend) bool { return a.addr == b.addr })
}

// sameRoutes looks at the backends that both have: one that came or went is no change of the network.
func (p *place) sameRoutes(o *place) bool {
	for i := range p.backends {
		b := &p.backends[i]
		j := slices.IndexFunc(o.backends, func(c backend) bool { return c.addr == b.addr })
		if j >= 0 && !b.sameWay(&o.backends[j]) {
			return false
		}
	}
	return true
}
