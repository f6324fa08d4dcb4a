package daemon

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"natd/nat"
	"natd/netconf"
)

// place is what this host makes of one relay.
type place struct {
	nat.Placement
	backends []backend
	down     bool     // no backend is up
	reasons  []string // why it is not as configured, of what the host's network is to blame for
	unwell   []string // the same, of backends that are down or drained and of names without an answer

	unreached string   // why none of its backends can be reached; "" when one can, or this host is to blame for it
	faults    []string // those of the reasons, and of undelivered, because of which no connection passes this host

	undelivered []string // why AWS does not deliver its packets, though all is as configured here
}

// place decides about every relay. It is a function of its arguments alone. refused holds the reasons why relays, by
// name, may not take their port.
func (f *facts) place(spec *nat.Spec, refused map[string]string) []place {
	local, left, spread := f.local(), room(maxAnswered), room(maxSpread)
	places := make([]place, len(spec.Relays))
	for i := range spec.Relays {
		r, p := &spec.Relays[i], &places[i]
		if !r.Enabled {
			p.Held = true
			continue
		}
		n := endpoints(r, len(local))
		f.placeBackends(r, p, left.addresses(r, n))
		left.take(r, n, len(p.backends))
		f.placeListen(r, p, local)
		if !spread.spread(r, p) {
			p.hold("its %d ports on each of the host's %d addresses are more than the kernel can hold: name an address in listen, or fewer ports",
				r.Listen.Ports.Width(), len(p.Addrs))
		}
		f.placeInVPC(r, p)
		if reason, ok := refused[r.Name]; ok {
			p.hold("%s", reason)
		}
	}
	return places
}

func (f *facts) placeListen(r *nat.Relay, p *place, local []netip.Addr) {
	if !r.Listen.Any() {
		p.Addrs = []netip.Addr{r.Listen.Addr}
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
			p.undelivered, p.faults = add(p.undelivered, why), add(p.faults, why)
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
	p.reasons, p.faults = append(p.reasons, why), append(p.faults, why)
}

// ail notes a reason that the network is not to blame for.
func (p *place) ail(format string, args ...any) {
	p.unwell = add(p.unwell, fmt.Sprintf(format, args...))
}

// reason is why the relay is not as configured, in one line; "" when it is.
func (p *place) reason() string {
	return strings.Join(slices.Concat(p.reasons, p.unwell, p.undelivered), "; ")
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

func wayText(route netconf.Route, sources []netip.Addr) string {
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
	return p.sameWay(o) && p.down == o.down && slices.EqualFunc(p.Targets, o.Targets, sameTarget) &&
		slices.Equal(p.unwell, o.unwell) && slices.Equal(p.undelivered, o.undelivered)
}

func sameTarget(a, b nat.Target) bool {
	return a.Addr == b.Addr && a.Ports == b.Ports && a.Weight == b.Weight && a.Closing == b.Closing && slices.Equal(a.SNAT, b.SNAT)
}

// sameWay tells whether two decisions agree in what the host's network decides: whatever AWS, names and the backends'
// health make of it.
func (p *place) sameWay(o *place) bool {
	return p.Held == o.Held && slices.Equal(p.Addrs, o.Addrs) && slices.Equal(p.reasons, o.reasons) && p.sameRoutes(o)
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

// relayPlacements is the part of the places that the ruleset is built from.
func relayPlacements(places []place) []nat.Placement {
	out := make([]nat.Placement, len(places))
	for i := range places {
		out[i] = places[i].Placement
	}
	return out
}
