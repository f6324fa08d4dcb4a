package daemon

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	"natd/internal/config"
	"natd/internal/control"
	"natd/internal/probe"
	"natd/nat"
)

// askPatience is how long a preview waits for the answers to names.
const askPatience = 5 * time.Second

// asked is what can be told of backends without checking them: what the natd at work says of them, and the addresses of names that
// it does not know.
func asked(ctx context.Context, cfg *config.Config, status *control.Status) live {
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	seen := seenBackends(status)
	unknown := slices.DeleteFunc(allNames(&cfg.NAT), func(n probe.Name) bool { return len(seen.names[n]) > 0 })
	answers := probe.Resolve(ctx, probe.Options{Resolver: cfg.Daemon.Resolver, ResolvConf: resolvConf}, unknown)
	return live{
		answer: func(n probe.Name) probe.Answer {
			if addrs := seen.names[n]; len(addrs) > 0 {
				return probe.Answer{Addrs: addrs}
			}
			return answers[n]
		},
		verdict: seen.verdict,
		drained: func(relay string, b *nat.Backend, addr netip.Addr) bool {
			return seen.backend(relay, b, addr).State == control.BackendDraining
		},
	}
}

// seen is what a natd at work says of backends.
type seen struct {
	backends map[[2]string]control.Backend // by relay and address
	names    map[probe.Name][]netip.Addr
}

func seenBackends(status *control.Status) *seen {
	s := &seen{backends: make(map[[2]string]control.Backend), names: make(map[probe.Name][]netip.Addr)}
	if status == nil {
		return s
	}
	for i := range status.Relays {
		for _, b := range status.Relays[i].Backends {
			s.backends[[2]string{status.Relays[i].Name, b.Address}] = b
			addr, ok := addressOf(b.Address)
			if !ok || b.Name == "" {
				continue
			}
			n := probe.Name{Host: b.Name, Family: probe.IPv6}
			if addr.Is4() {
				n.Family = probe.IPv4
			}
			if !slices.Contains(s.names[n], addr) {
				s.names[n] = append(s.names[n], addr)
			}
		}
	}
	return s
}

// addressOf is the address in front of the ports, of which there may be a range.
func addressOf(backend string) (netip.Addr, bool) {
	addr, err := netip.ParseAddr(strings.Trim(backend[:max(0, strings.LastIndexByte(backend, ':'))], "[]"))
	return addr, err == nil
}

// backend is what is said of a backend; the zero value when nothing is.
func (s *seen) backend(relay string, b *nat.Backend, addr netip.Addr) control.Backend {
	return s.backends[[2]string{relay, nat.Backend{Addr: addr, Ports: b.Ports}.String()}]
}

func (s *seen) verdict(relay string, b *backend) probe.Verdict {
	said := s.backend(relay, b.conf, b.addr)
	states := map[string]probe.State{control.BackendUp: probe.Up, control.BackendDown: probe.Down}
	return probe.Verdict{State: states[said.State], Since: said.Since, Error: said.Reason}
}
