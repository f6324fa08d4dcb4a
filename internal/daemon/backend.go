package daemon

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"natd/internal/control"
	"natd/internal/probe"
	"natd/nat"
	"natd/netconf"
)

// backend is one address that a relay's connections can go to, as this host sees it. There may be a hundred thousand: what most have
// nothing of stands apart.
type backend struct {
	conf    *nat.Backend
	addr    netip.Addr     // zero for a name that has no address
	route   *netconf.Route // of all that have the address; zero for none
	sources []netip.Addr   // towards it; none = the client's address stays
	state   string         // as status has it
	more    *findings      // nil for none
	weight  int            // its share of the new connections now
	fit     bool           // packets can be sent to it as the configuration asks
	closing bool           // connections to it are ended
}

// findings is what there is to say of a backend.
type findings struct {
	check probe.Check // zero when nothing checks it
	why   string      // it is not as configured, in a sentence
	ours  bool        // this host is to blame for why, not the way to the backend
	lacks string      // what its pool of source addresses lacks
	since time.Time   // zero when nobody noted it

	presumed bool // its state is what it was before natd started
}

// found is what there is to say of the backend.
func (b *backend) found() findings {
	if b.more == nil {
		return findings{}
	}
	return *b.more
}

// find is where to note what there is to say.
func (b *backend) find() *findings {
	if b.more == nil {
		b.more = new(findings)
	}
	return b.more
}

// text is the backend as a person knows it.
func (b *backend) text() string {
	if !b.addr.IsValid() {
		return b.conf.String()
	}
	text := nat.Backend{Addr: b.addr, Ports: b.conf.Ports}.String()
	if b.conf.Name != "" {
		text += " (" + b.conf.Name + ")"
	}
	return text
}

// is tells whether a connection to there is one to the backend.
func (b *backend) is(to netip.AddrPort) bool {
	return b.addr == to.Addr() && b.conf.Ports.Contains(to.Port())
}

// target is the backend as the kernel gets it.
func (b *backend) target() nat.Target {
	return nat.Target{Addr: b.addr, Ports: b.conf.Ports, Weight: b.weight, Closing: b.closing, SNAT: b.sources}
}

// sameWay tells whether packets take the same way to both.
func (b *backend) sameWay(o *backend) bool {
	return b.fit == o.fit && *b.route == *o.route && slices.Equal(b.sources, o.sources)
}

// backend is one address of a configured backend, with its way, its source and its health.
func (f *facts) backend(r *nat.Relay, conf *nat.Backend, addr netip.Addr) backend {
	b := backend{conf: conf, addr: addr, route: &f.nowhere, state: control.BackendUnknown}
	b.fit = f.findWay(r, &b) && f.findSource(r, &b)
	switch {
	case !b.fit:
		b.state = control.BackendDown
		return b
	case r.Health.Checks():
		f.findHealth(r, &b)
	}
	if at, ok := f.live.drained(r.Name, conf, addr); ok {
		b.state, b.find().since, b.find().why = control.BackendDraining, at, "drained by natctl drain"
	}
	return b
}

// findHealth finds what the checks say.
func (f *facts) findHealth(r *nat.Relay, b *backend) {
	found := b.find()
	found.check = checkOf(r, b)
	v := f.live.verdict(found.check)
	if v.State == probe.Unknown && f.wasOut(r, b) {
		found.presumed = true
		v = probe.Verdict{State: probe.Down, Since: v.Since, Error: "it took no connections before natd started, and has not answered yet"}
	}
	found.since = v.Since
	switch v.State {
	case probe.Up:
		b.state = control.BackendUp
	case probe.Down:
		b.state, found.why = control.BackendDown, v.Error
	case probe.Unknown:
	}
}

// wasOut tells whether an earlier natd had taken the backend out: it stays out until it answers, for a start of natd makes nobody
// well. A backup is out in any case while others are up.
func (f *facts) wasOut(r *nat.Relay, b *backend) bool {
	return !b.conf.Backup && f.live.idle[r.Name][netip.AddrPortFrom(b.addr, b.conf.Ports.First)]
}

// checkOf is how the backend is checked: from the address that the packets of clients will carry.
func checkOf(r *nat.Relay, b *backend) probe.Check {
	port := r.Health.Port
	if port == 0 {
		port = b.conf.Ports.First
	}
	c := probe.Check{
		Target: netip.AddrPortFrom(b.addr, port), Interval: r.Health.Interval, Timeout: r.Health.Timeout,
		Rise: r.Health.Rise, Fall: r.Health.Fall,
	}
	if len(b.sources) > 0 {
		c.Source = b.sources[0]
	}
	return c
}

// findWay finds the interface towards the backend.
func (f *facts) findWay(r *nat.Relay, b *backend) bool {
	if b.addr.Is6() && f.noIPv6 != nil {
		b.find().ours = true
		b.find().why = fmt.Sprintf("backend %s cannot be reached: %s", b.addr, f.noIPv6)
		return false
	}
	w := f.way(b.addr)
	if w.err != nil {
		// The outer words of the error only repeat the address.
		b.find().why = fmt.Sprintf("backend %s cannot be reached: %s", b.addr, errors.Unwrap(w.err))
		return false
	}
	b.route = &w.route
	if b.conf.Name != "" && w.route.Local { // an address that came to this host after the answer was followed
		b.find().why = fmt.Sprintf("name %s leads to %s, which is this host: name another host, or write the address if that is meant", b.conf.Name, b.addr)
		return false
	}
	if r.Egress == "" || r.Egress == w.route.Link {
		return true
	}
	found := b.find()
	found.ours = true
	switch named := f.wayBy(b.addr, r.Egress); {
	case named.err != nil:
		found.why = fmt.Sprintf("egress %s: %s", r.Egress, errors.Unwrap(named.err))
	case named.route.Index == 0 || named.route.Index != w.route.Index:
		found.why = fmt.Sprintf("the route to backend %s leaves by %s, not by egress %s", b.addr, w.route.Link, r.Egress)
	default:
		found.ours = false
		return true // another name of the same interface
	}
	return false
}

// findSource finds the addresses that packets to the backend carry.
func (f *facts) findSource(r *nat.Relay, b *backend) bool {
	switch {
	case r.SNAT.Mode == nat.SNATOff:
	case r.SNAT.Mode == nat.SNATFixed:
		held, lacks := f.pool(r.SNAT.Addrs, b.addr.Is4())
		if b.sources = held; lacks != "" {
			b.find().lacks = lacks
		}
		if len(held) == 0 {
			b.find().why, b.find().ours = lacks, true
			return false
		}
	case b.route.Local: // packets to the host itself do not leave it: there is no source to choose
	case !b.route.Source.IsValid():
		b.find().why, b.find().ours = b.route.Link+" has no address to send from: give it one", true
		return false
	default:
		b.sources = f.only(b.route.Source)
	}
	return true
}

// pool is the addresses of one family that the host has, and what is wrong with the others.
func (f *facts) pool(addrs []netip.Addr, is4 bool) (held []netip.Addr, why string) {
	for _, a := range addrs {
		switch {
		case a.Is4() != is4:
		case f.linkOf(a) != "":
			held = append(held, a)
		case why == "":
			why = fmt.Sprintf("snat address %s %s", a, f.absent(a, "use", ", so answers to it would be lost: add it to one, or use snat = \"auto\""))
		}
	}
	return held, why
}
