package daemon

import (
	"slices"

	"natd/internal/control"
	"natd/internal/probe"
	"natd/nat"
)

// placeBackends finds the relay's backends, of no more addresses than most, and decides which of them take connections.
func (f *facts) placeBackends(r *nat.Relay, p *place, most int) {
	p.backends = make([]backend, 0, len(r.Backends))
	for i := range r.Backends {
		others := len(r.Backends) - 1 - i // that are to come
		f.placeBackend(r, &r.Backends[i], p, most-others)
	}
	for _, is4 := range []bool{true, false} {
		choose(r, p.ofFamily(is4))
	}
	p.explainBackends(r)
	p.Targets = make([]nat.Target, 0, len(p.backends))
	for i := range p.backends {
		if b := &p.backends[i]; b.fit {
			p.Targets = append(p.Targets, b.target())
		}
	}
	if len(p.Targets) == 0 {
		p.Held = true
	}
}

func (p *place) ofFamily(is4 bool) (some []*backend) {
	for i := range p.backends {
		if b := &p.backends[i]; b.addr.IsValid() && b.addr.Is4() == is4 {
			some = append(some, b)
		}
	}
	return some
}

// placeBackend adds the addresses that stand for one configured backend, until the place has as many as it may have.
func (f *facts) placeBackend(r *nat.Relay, conf *nat.Backend, p *place, most int) {
	addrs, answers := f.resolve(r, conf)
	if len(addrs) == 0 {
		p.backends = append(p.backends, backend{
			conf: conf, route: &f.nowhere, state: control.BackendUnknown, more: &findings{why: unanswered(answers)},
		})
		return
	}
	for _, addr := range addrs {
		twice := slices.ContainsFunc(p.backends, func(b backend) bool { return b.addr == addr && b.conf.Ports == conf.Ports })
		if twice { // two names may lead to one address
			continue
		}
		if len(p.backends) >= most {
			p.ail("%s has %d addresses, which are not all used: the kernel has no room for more of this relay", conf.Name, len(addrs))
			break
		}
		p.backends = append(p.backends, f.backend(r, conf, addr))
	}
	for _, a := range answers {
		if a.Error != "" && len(a.Addrs) > 0 {
			p.ail("%s: keeping its last answer: %s", conf.Name, a.Error)
		}
	}
}

// unanswered says why a name has no address: what is wrong with the first question that has an error.
func unanswered(answers []probe.Answer) string {
	for _, a := range answers {
		if a.Error != "" {
			return a.Error
		}
	}
	return "it has not been answered yet"
}

// choose shares the new connections out among the backends of one family: those that are not down; the backups, when no
// other is left; and all that nobody drained, when every one is down and the relay fails open.
func choose(r *nat.Relay, all []*backend) {
	able := func(down, backup bool) (some []*backend) {
		for _, b := range all {
			if b.fit && b.state != control.BackendDraining && b.conf.Backup == backup && (down || b.state != control.BackendDown) {
				some = append(some, b)
			}
		}
		return some
	}
	chosen := able(false, false)
	if len(chosen) == 0 {
		chosen = able(false, true)
	}
	if len(chosen) == 0 && r.Fail == nat.FailOpen {
		if chosen = able(true, false); len(chosen) == 0 {
			chosen = able(true, true)
		}
	}
	for _, b := range all {
		if slices.Contains(chosen, b) {
			b.weight = max(1, b.conf.Weight)
			continue
		}
		b.closing = b.state == control.BackendDown && r.OnChange == nat.Close
	}
}
