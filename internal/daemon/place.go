package daemon

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"natd/nat"
	"natd/netconf"
)

// facts is what the placing of relays depends on.
type facts struct {
	addresses []netconf.Address
	ways      map[netip.Addr]way // by backend
	egress    map[via]way        // where a relay names the interface
	instance  *instance          // nil where none is known
}

// via is a backend and the interface that a relay wants to reach it by.
type via struct {
	backend netip.Addr
	link    string
}

// way is the kernel's answer to how a backend is reached.
type way struct {
	route netconf.Route
	err   error
}

// place is what this host makes of one relay.
type place struct {
	nat.Placement
	egress  string
	gateway netip.Addr // zero when the backend is on the link
	here    bool       // the backend is the host itself: nothing is forwarded
	reasons []string   // why it is not as configured

	undelivered []string // why AWS does not deliver its packets, though all is as configured here
}

// gather asks the host for what the relays depend on.
func gather(host *netconf.Host, spec *nat.Spec) (*facts, error) {
	addresses, err := host.Addresses()
	if err != nil {
		return nil, err
	}
	f := &facts{addresses: addresses, ways: make(map[netip.Addr]way), egress: make(map[via]way)}
	for i := range spec.Relays {
		r := &spec.Relays[i]
		if !r.Enabled {
			continue
		}
		if err := ask(host, f.ways, r.Backend.Addr, r.Backend.Addr, ""); err != nil {
			return nil, err
		}
		if r.Egress == "" {
			continue
		}
		if err := ask(host, f.egress, via{r.Backend.Addr, r.Egress}, r.Backend.Addr, r.Egress); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// ask looks a way up once, and keeps the answer under the key.
func ask[K comparable](host *netconf.Host, ways map[K]way, key K, backend netip.Addr, link string) error {
	if _, known := ways[key]; known {
		return nil
	}
	route, err := host.RouteTo(backend, link)
	if err != nil && !noWay(err) {
		return err
	}
	ways[key] = way{route, err}
	return nil
}

// noWay tells an answer of the kernel from a failure to ask it.
func noWay(err error) bool {
	return errors.Is(err, netconf.ErrNoRoute) || errors.Is(err, netconf.ErrNoLink) || errors.Is(err, netconf.ErrLinkDown)
}

// local is the host's addresses, each once.
func (f *facts) local() []netip.Addr {
	addrs := make([]netip.Addr, len(f.addresses))
	for i, a := range f.addresses {
		addrs[i] = a.Addr.Addr()
	}
	return slices.Compact(addrs)
}

// linkOf is the interface that holds the address, "" when none does.
func (f *facts) linkOf(a netip.Addr) string {
	for _, held := range f.addresses {
		if held.Addr.Addr() == a {
			return held.Link
		}
	}
	return ""
}

// place decides about every relay. It is a function of its arguments alone. refused holds the reasons why relays, by
// name, may not take their port.
func (f *facts) place(spec *nat.Spec, refused map[string]string) []place {
	local := f.local()
	places := make([]place, len(spec.Relays))
	for i := range spec.Relays {
		r, p := &spec.Relays[i], &places[i]
		if !r.Enabled {
			p.Held = true
			continue
		}
		f.placeListen(r, p, local)
		f.placeBackend(r, p)
		f.placeInVPC(r, p)
		if reason, ok := refused[r.Name]; ok {
			p.hold("%s", reason)
		}
	}
	return places
}

func (f *facts) placeListen(r *nat.Relay, p *place, local []netip.Addr) {
	switch {
	case !r.Listen.Any():
		p.Addrs = []netip.Addr{r.Listen.Addr}
		if f.linkOf(r.Listen.Addr) == "" {
			// Packets for it may be routed here all the same, so the relay stays in the kernel.
			p.notef("listen address %s %s", r.Listen.Addr, f.absent(r.Listen.Addr, "listen on", ": add it to one, or correct listen"))
		}
	case len(local) == 0:
		p.hold("the host has no address yet to listen on")
	default:
		p.Addrs = local
	}
}

func (f *facts) placeBackend(r *nat.Relay, p *place) {
	w := f.ways[r.Backend.Addr]
	if w.err != nil {
		// The outer words of the error only repeat the address.
		p.hold("backend %s cannot be reached: %s", r.Backend.Addr, errors.Unwrap(w.err))
		return
	}
	p.egress, p.gateway, p.here = w.route.Link, w.route.Gateway, w.route.Local
	if f.leavesElsewhere(r, p, w.route) {
		return
	}
	switch r.SNAT.Mode {
	case nat.SNATFixed:
		p.SNAT = r.SNAT.Addr
		if f.linkOf(p.SNAT) == "" {
			p.hold("snat address %s %s", p.SNAT, f.absent(p.SNAT, "use", ", so answers to it would be lost: add it to one, or use snat = \"auto\""))
		}
	case nat.SNATAuto:
		// Packets to the host itself do not leave it: there is no source to choose.
		if !p.here {
			p.SNAT = w.route.Source
		}
		if !p.here && !p.SNAT.IsValid() {
			p.hold("%s has no address to send from: give it one", w.route.Link)
		}
	case nat.SNATOff:
	}
}

// placeInVPC finds addresses of the relay that AWS does not deliver to this host, or from it. Its rules stand all the same: the address
// may be on its way, and what AWS says may be older than what it does.
func (f *facts) placeInVPC(r *nat.Relay, p *place) {
	if f.instance == nil {
		return
	}
	note := func(why string) {
		if why != "" && !slices.Contains(p.undelivered, why) {
			p.undelivered = append(p.undelivered, why)
		}
	}
	if !r.Listen.Any() {
		note(f.undelivered(r.Listen.Addr))
	}
	if p.SNAT.IsValid() && !p.here {
		note(f.unsent(p.SNAT, r.Backend.Addr, p.egress))
	}
}

// leavesElsewhere holds a relay whose packets would not leave by the interface that it names, under any of its names.
func (f *facts) leavesElsewhere(r *nat.Relay, p *place, route netconf.Route) bool {
	if r.Egress == "" || r.Egress == route.Link {
		return false
	}
	switch named := f.egress[via{r.Backend.Addr, r.Egress}]; {
	case named.err != nil:
		p.hold("egress %s: %s", r.Egress, errors.Unwrap(named.err))
	case named.route.Index == 0 || named.route.Index != route.Index:
		p.hold("the route to backend %s leaves by %s, not by egress %s", r.Backend.Addr, route.Link, r.Egress)
	default:
		return false // another name of the same interface
	}
	return true
}

// hold keeps the relay out of the kernel.
func (p *place) hold(format string, args ...any) {
	p.Held = true
	p.notef(format, args...)
}

func (p *place) notef(format string, args ...any) {
	p.reasons = append(p.reasons, fmt.Sprintf(format, args...))
}

// reason is why the relay is not as configured, in one line; "" when it is.
func (p *place) reason() string { return strings.Join(slices.Concat(p.reasons, p.undelivered), "; ") }

// way is how packets reach the backend, for people.
func (p *place) way() string {
	text := "by " + p.egress
	if p.gateway.IsValid() {
		text += " via " + p.gateway.String()
	}
	if p.SNAT.IsValid() {
		text += " from " + p.SNAT.String()
	}
	return text
}

// same tells whether two decisions agree.
func (p place) same(o place) bool { return p.sameWay(o) && slices.Equal(p.undelivered, o.undelivered) }

// sameWay tells whether two decisions agree, whatever AWS makes of them.
func (p place) sameWay(o place) bool {
	return p.Held == o.Held && p.SNAT == o.SNAT && p.egress == o.egress && p.gateway == o.gateway &&
		slices.Equal(p.Addrs, o.Addrs) && slices.Equal(p.reasons, o.reasons)
}

// placements is the part of the places that the ruleset is built from.
func placements(places []place) []nat.Placement {
	out := make([]nat.Placement, len(places))
	for i := range places {
		out[i] = places[i].Placement
	}
	return out
}

// anyPlaced tells whether a relay is in the kernel.
func anyPlaced(places []place) bool {
	return slices.ContainsFunc(places, func(p place) bool { return !p.Held })
}
