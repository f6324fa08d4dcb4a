package diagnose

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"natd/internal/control"
	"natd/nat"
)

// How many ways one diagnosis follows. It sends packets for each of them.
const (
	mostRelays   = 32
	mostBackends = 16 // of one relay
)

// choose picks the relays that the question is about, and makes their ways. Of very many relays it takes those that are not
// well, and of the others the first.
func (k *look) choose(q Question) error {
	var relays []*nat.Relay
	dialled, err := netip.ParseAddrPort(q.Relay)
	switch {
	case q.Relay == "":
		relays = k.someRelays()
	case err == nil:
		for _, p := range []nat.Protocol{nat.TCP, nat.UDP, nat.SCTP} {
			if r := k.claimant(nat.Endpoint{Addr: dialled.Addr(), Proto: p, Port: dialled.Port()}); r != nil && !slices.Contains(relays, r) {
				relays = append(relays, r)
			}
		}
	default:
		if i := slices.IndexFunc(k.spec.Relays, func(r nat.Relay) bool { return r.Name == q.Relay }); i >= 0 {
			relays = append(relays, &k.spec.Relays[i])
		}
	}
	if len(relays) == 0 && q.Relay != "" {
		if err := k.unwalked(q, dialled); err != nil {
			return err
		}
	}
	for _, r := range relays {
		k.addWays(r, dialled)
	}
	return k.sameFamily()
}

// sameFamily keeps the ways of the client's own family.
func (k *look) sameFamily() error {
	c := k.ev.Asked.Client
	if !c.IsValid() || len(k.ev.Ways) == 0 {
		return nil
	}
	k.ev.Ways = slices.DeleteFunc(k.ev.Ways, func(w Way) bool { return w.Listen.IsValid() && w.Listen.Addr().Is4() != c.Is4() })
	if len(k.ev.Ways) == 0 {
		return fmt.Errorf("the client %s is of another family of addresses than what clients dial", c)
	}
	return nil
}

// claimant is the relay that has the endpoint, one that is disabled included.
func (k *look) claimant(e nat.Endpoint) *nat.Relay {
	if i, ok := k.index.Relay(e); ok {
		return &k.spec.Relays[i]
	}
	for i := range k.spec.Relays {
		r := &k.spec.Relays[i]
		if r.Listen.Addr == e.Addr && r.Listen.Ports.Contains(e.Port) && r.Carries(e.Proto) {
			return r
		}
	}
	return nil
}

// someRelays is all relays that are enabled, or as many as one look can follow.
func (k *look) someRelays() (relays []*nat.Relay) {
	var well []*nat.Relay
	enabled := 0
	for i := range k.spec.Relays {
		r := &k.spec.Relays[i]
		if !r.Enabled {
			continue
		}
		enabled++
		if s := k.statusOf(r.Name, i); s != nil && s.State != control.RelayReady {
			relays = append(relays, r)
		} else {
			well = append(well, r)
		}
	}
	unwell := len(relays)
	relays = append(relays, well[:min(len(well), max(0, mostRelays-unwell))]...)
	relays = relays[:min(len(relays), mostRelays)]
	if enabled > len(relays) {
		k.ev.Omitted = append(k.ev.Omitted, fmt.Sprintf("%d of %d relays were looked at, those that are not ready first; name one to look at it", len(relays), enabled))
	}
	return relays
}

// statusOf is what natd says of a relay; nil when it says nothing. It lists the relays in the order of its configuration.
func (k *look) statusOf(name string, position int) *control.Relay {
	if k.Status == nil {
		return nil
	}
	if position >= 0 && position < len(k.Status.Relays) && k.Status.Relays[position].Name == name {
		return &k.Status.Relays[position]
	}
	i := slices.IndexFunc(k.Status.Relays, func(r control.Relay) bool { return r.Name == name })
	if i < 0 {
		return nil
	}
	return &k.Status.Relays[i]
}

func names(spec *nat.Spec) string {
	var all []string
	for i := range spec.Relays {
		if i == 10 {
			return strings.Join(all, ", ") + fmt.Sprintf(" and %d more", len(spec.Relays)-i)
		}
		all = append(all, spec.Relays[i].Name)
	}
	return orElse(strings.Join(all, ", "), "none")
}

// addWays adds the ways of a relay: for each protocol and backend that takes connections. Backends that take none are left out
// while another one does: they are drained, or stand by.
func (k *look) addWays(r *nat.Relay, dialled netip.AddrPort) {
	status := k.statusOf(r.Name, -1)
	listen := k.listenOf(r, dialled)
	targets := k.targetsOf(r, status)
	for _, p := range r.Protocols {
		for i, t := range targets {
			if i == mostBackends {
				k.ev.Omitted = append(k.ev.Omitted, fmt.Sprintf("%d of %d backends of relay %s were looked at", i, len(targets), r.Name))
				break
			}
			w := Way{Relay: r, Status: status, Protocol: p, Listen: listen, Name: t.name, Backend: t.backend}
			if t.addr.IsValid() {
				w.Target = netip.AddrPortFrom(t.addr, t.ports.First+(listen.Port()-r.Listen.Ports.First))
				if r.Listen.Any() && t.addr.Is6() != listen.Addr().Is6() {
					w.Listen = netip.AddrPortFrom(k.ownAddr(t.addr.Is4()), listen.Port())
				}
			}
			k.ev.Ways = append(k.ev.Ways, w)
		}
	}
}

// listenOf is an address and port that clients dial.
func (k *look) listenOf(r *nat.Relay, dialled netip.AddrPort) netip.AddrPort {
	switch {
	case dialled.IsValid():
		return dialled
	case r.Listen.Any():
		return netip.AddrPortFrom(k.ownAddr(true), r.Listen.Ports.First)
	}
	return netip.AddrPortFrom(r.Listen.Addr, r.Listen.Ports.First)
}

// ownAddr is the address of a family that the host uses towards strangers, or else its first one.
func (k *look) ownAddr(is4 bool) netip.Addr {
	if r, err := k.host.RouteTo(somebody(is4), ""); err == nil && k.linkOf(r.Source) != "" {
		return r.Source
	}
	for _, a := range k.addresses {
		if a.Addr.Addr().Is4() == is4 {
			return a.Addr.Addr()
		}
	}
	return netip.Addr{}
}

// aim is a place where a relay's connections go.
type aim struct {
	name    string
	addr    netip.Addr
	ports   nat.PortRange
	backend *control.Backend
}

// targetsOf is where the relay's connections go: by natd's words, or by its configuration, and for names by what the kernel has.
func (k *look) targetsOf(r *nat.Relay, status *control.Relay) (aims []aim) {
	if status == nil || !r.Enabled {
		for i := range r.Backends {
			aims = append(aims, k.configured(r, &r.Backends[i])...)
		}
		return aims
	}
	var idle []aim
	for i := range status.Backends {
		b := &status.Backends[i]
		a := aim{name: b.Name, backend: b, ports: r.Listen.Ports}
		if addr, ports, ok := splitPorts(b.Address); ok {
			a.addr, a.ports = addr, ports
		}
		switch {
		case b.InUse || b.State == control.BackendDown || !a.addr.IsValid():
			aims = append(aims, a)
		case !strings.HasPrefix(b.Reason, left): // those that left the relay serve their last connections
			idle = append(idle, a)
		}
	}
	if !slices.ContainsFunc(aims, func(a aim) bool { return a.addr.IsValid() }) {
		aims = append(aims, idle...)
	}
	return aims
}

// left is how natd begins the reason of a backend that the configuration does not have any more.
const left = "it left the relay"

// configured is a backend of the configuration. Of a name only the kernel's table tells where it leads, without natd.
func (k *look) configured(r *nat.Relay, b *nat.Backend) (aims []aim) {
	if b.Name == "" {
		return []aim{{addr: b.Addr, ports: b.Ports}}
	}
	for target := range k.targets[r.Name] {
		a := aim{name: b.Name, addr: target.Addr(), ports: b.Ports}
		if !slices.Contains(aims, a) {
			aims = append(aims, a)
		}
	}
	if len(aims) == 0 {
		return []aim{{name: b.Name, ports: b.Ports}}
	}
	slices.SortFunc(aims, func(a, b aim) int { return a.addr.Compare(b.addr) })
	return aims
}

// splitPorts reads ADDR:PORT or ADDR:FIRST-LAST.
func splitPorts(text string) (netip.Addr, nat.PortRange, bool) {
	colon := strings.LastIndexByte(text, ':')
	if colon < 0 {
		return netip.Addr{}, nat.PortRange{}, false
	}
	addr, err := netip.ParseAddr(strings.Trim(text[:colon], "[]"))
	if err != nil {
		return netip.Addr{}, nat.PortRange{}, false
	}
	first, last, isRange := strings.Cut(text[colon+1:], "-")
	if !isRange {
		last = first
	}
	from, err := strconv.ParseUint(first, 10, 16)
	to, err2 := strconv.ParseUint(last, 10, 16)
	return addr, nat.PortRange{First: uint16(from), Last: uint16(to)}, err == nil && err2 == nil
}

// specOf is what natd does, by its own words. They lack what nothing here depends on, such as weights.
func specOf(s *control.Status) *nat.Spec {
	spec := &nat.Spec{}
	if s == nil {
		return spec
	}
	for i := range s.Relays {
		spec.Relays = append(spec.Relays, relayOf(&s.Relays[i]))
	}
	for i := range s.Gateways {
		spec.Gateways = append(spec.Gateways, toldGateway(&s.Gateways[i]))
	}
	for i := range s.Statics {
		spec.Statics = append(spec.Statics, toldStatic(&s.Statics[i]))
	}
	return spec
}

func relayOf(s *control.Relay) nat.Relay {
	r := nat.Relay{Name: s.Name, Enabled: s.State != control.RelayDisabled, From: prefixes(s.From)}
	for _, text := range s.Listen {
		if addr, ports, ok := splitPorts(text); ok {
			r.Listen = nat.Listen{Addr: addr, Ports: ports}
		} else if _, ports, ok := splitPorts("0.0.0.0" + text); ok {
			r.Listen = nat.Listen{Ports: ports}
		}
	}
	for _, p := range []nat.Protocol{nat.TCP, nat.UDP, nat.SCTP} {
		if slices.Contains(s.Protocol, p.String()) {
			r.Protocols = append(r.Protocols, p)
		}
	}
	switch {
	case len(s.SNAT) == 0 && s.State == control.RelayReady:
		r.SNAT.Mode = nat.SNATOff
	case len(s.SNAT) > 1:
		r.SNAT.Mode = nat.SNATFixed
		for _, text := range s.SNAT {
			if a, err := netip.ParseAddr(text); err == nil {
				r.SNAT.Addrs = append(r.SNAT.Addrs, a)
			}
		}
	}
	for _, b := range s.Backends {
		if addr, ports, ok := splitPorts(b.Address); ok {
			r.Backends = append(r.Backends, nat.Backend{Addr: addr, Ports: ports, Weight: b.Weight, Backup: b.Backup})
		}
	}
	return r
}
