package flow

import (
	"net/netip"

	"natd/nat"
)

// Refused is the owner of a refused packet: the relay that it was for, zero when it was for none. Where the kernel did not tell what
// was dialled, it follows from where the packet was to go, if only one relay with limits goes there.
func (j *Judge) Refused(p *Refused) Owner {
	if i, ok := j.Index.Relay(nat.Endpoint{Addr: p.Dialled.Addr(), Proto: p.Proto, Port: p.Dialled.Port()}); ok {
		return Owner{Kind: KindRelay, Name: j.Spec.Relays[i].Name}
	}
	if p.Dialled != p.Target {
		return Owner{}
	}
	return j.limited(p)
}

// limited finds the relay with limits that the packet was for.
func (j *Judge) limited(p *Refused) (owner Owner) {
	j.onceLimited.Do(func() { j.limitedTo = indexLimited(j.Spec, j.Places) })
	var dialled netip.AddrPort
	found := 0
	for _, i := range j.limitedTo[p.Target.Addr()] {
		r, place := &j.Spec.Relays[i], &j.Places.Relays[i]
		port, ok := dialledPort(r, place, p.Target)
		if !ok || !r.Carries(p.Proto) || !r.Admits(p.From.Addr()) {
			continue
		}
		found++
		owner, dialled = Owner{Kind: KindRelay, Name: r.Name}, p.Target
		if len(place.Addrs) == 1 {
			dialled = netip.AddrPortFrom(place.Addrs[0], port)
		}
	}
	if found != 1 {
		return Owner{}
	}
	p.Dialled = dialled
	return owner
}

// dialledPort is the port that leads to the target.
func dialledPort(r *nat.Relay, place *nat.Placement, target netip.AddrPort) (uint16, bool) {
	for i := range place.Targets {
		t := &place.Targets[i]
		if t.Addr == target.Addr() && t.Ports.Contains(target.Port()) {
			return r.Listen.Ports.First + (target.Port() - t.Ports.First), true
		}
	}
	return 0, false
}

// indexLimited is the relays with limits by the addresses of their targets.
func indexLimited(spec *nat.Spec, places *nat.Placements) map[netip.Addr][]int {
	limited := make(map[netip.Addr][]int)
	for i := range spec.Relays {
		if r := &spec.Relays[i]; r.MaxConnections == 0 && r.MaxPerSource == 0 && r.Rate.Count == 0 {
			continue
		}
		met := make(map[netip.Addr]bool)
		for _, t := range places.Relays[i].Targets {
			if !met[t.Addr] {
				met[t.Addr] = true
				limited[t.Addr] = append(limited[t.Addr], i)
			}
		}
	}
	return limited
}
