package daemon

import (
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"natd/internal/probe"
	"natd/nat"
	"natd/netconf"
)

// facts is what the placing of relays, gateways and statics depends on.
type facts struct {
	addresses []netconf.Address
	ways      map[netip.Addr]*way // by backend
	egress    map[via]*way        // where the configuration names the interface
	noIPv6    error               // why the host has no IPv6; nil when it has
	instance  *instance           // nil where none is known
	answered  time.Duration       // see nat.Placements.Answered
	live      live

	devices []fastLink // that the fast path may be for; ascending by name; only where it is wanted

	nowhere netconf.Route               // of what no way is known to
	alone   map[netip.Addr][]netip.Addr // see only
}

// live is what changes by itself, without the host's network or the configuration changing.
type live struct {
	answer  func(probe.Name) probe.Answer
	verdict func(probe.Check) probe.Verdict
	drained func(relay string, b *nat.Backend, addr netip.Addr) (since time.Time, ok bool) // by hand
	idle    map[string]map[netip.AddrPort]bool                                             // takes no new connections in the table that natd found when it started

	slow func(links []fastLink) string // see fastPath
}

// via is a destination and the interface that it should be reached by.
type via struct {
	backend netip.Addr
	link    string
}

// way is the kernel's answer to how a backend is reached.
type way struct {
	route netconf.Route
	err   error
}

// gather asks the host for what everything in the spec depends on.
func gather(host *netconf.Host, sysctls *netconf.Sysctls, spec *nat.Spec, l live) (*facts, error) {
	f, err := survey(host, sysctls, spec, l)
	if err != nil {
		return nil, err
	}
	return f, f.lookUp(host, spec)
}

// survey asks the host for all but the ways.
func survey(host *netconf.Host, sysctls *netconf.Sysctls, spec *nat.Spec, l live) (*facts, error) {
	addresses, err := host.Addresses()
	if err != nil {
		return nil, err
	}
	f := &facts{
		addresses: addresses, ways: make(map[netip.Addr]*way), egress: make(map[via]*way),
		noIPv6: sysctls.IPv6(""), live: l, answered: answered(sysctls),
	}
	if spec.FastPath {
		devices, err := host.Devices()
		if err != nil {
			return nil, err
		}
		f.devices = fastDevices(devices)
	}
	return f, nil
}

// same tells whether the facts, which were gathered later, are those that were known. Ways that nobody needs any more are no matter, see keep.
func (f *facts) same(known *facts) bool {
	return f.sameHost(known) && sameWays(f.ways, known.ways) && sameWays(f.egress, known.egress)
}

// sameHost tells whether they are but for the ways.
func (f *facts) sameHost(known *facts) bool {
	return slices.Equal(f.addresses, known.addresses) && f.answered == known.answered && text(f.noIPv6) == text(known.noIPv6) &&
		f.instance.same(known.instance) && slices.Equal(f.devices, known.devices)
}

func sameWays[K comparable](now, known map[K]*way) bool {
	for k, w := range now {
		if was := known[k]; was == nil || was.route != w.route || text(was.err) != text(w.err) {
			return false
		}
	}
	return true
}

// keep forgets the ways that were not asked for again: they may have changed since, unseen, and a name may lead back to them.
func (f *facts) keep(now *facts) {
	maps.DeleteFunc(f.ways, func(to netip.Addr, _ *way) bool { return now.ways[to] == nil })
	maps.DeleteFunc(f.egress, func(by via, _ *way) bool { return now.egress[by] == nil })
}

// text is an error in words; "" for none.
func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// answered is how long the kernel remembers a connection after the first answer: the least of the times that it may take, of which
// it takes another when segments were repeated or wait to be acknowledged.
func answered(sysctls *netconf.Sysctls) time.Duration {
	least := time.Minute // as it comes
	for _, which := range []string{"syn_recv", "max_retrans", "unacknowledged"} {
		text, err := sysctls.Get(sysctlConntrackPrefix + "tcp_timeout_" + which)
		if seconds, bad := strconv.Atoi(text); err == nil && bad == nil && (which == "syn_recv" || time.Duration(seconds)*time.Second < least) {
			least = time.Duration(seconds) * time.Second
		}
	}
	return least
}

// lookUp asks for the ways that are not known yet.
func (f *facts) lookUp(host *netconf.Host, spec *nat.Spec) error {
	for i := range spec.Relays {
		r := &spec.Relays[i]
		if !r.Enabled {
			continue
		}
		for j := range r.Backends {
			if err := f.lookUpAll(host, r, &r.Backends[j]); err != nil {
				return err
			}
		}
	}
	return errors.Join(f.lookUpBehind(host, spec), f.lookUpClients(host, spec))
}

// lookUpAll asks for the ways to a backend.
func (f *facts) lookUpAll(host *netconf.Host, r *nat.Relay, b *nat.Backend) error {
	if b.Name == "" {
		return f.lookUpBackend(host, b.Addr, r.Egress)
	}
	addrs, _ := f.resolve(r, b)
	for _, addr := range addrs {
		if err := f.lookUpBackend(host, addr, r.Egress); err != nil {
			return err
		}
	}
	return nil
}

// lookUpBehind is lookUp for gateways and statics.
func (f *facts) lookUpBehind(host *netconf.Host, spec *nat.Spec) error {
	for i := range spec.Gateways {
		g := &spec.Gateways[i]
		for _, to := range g.To {
			if err := f.lookUpBackend(host, someHost(to), g.Egress); g.Enabled && err != nil {
				return err
			}
		}
	}
	for i := range spec.Statics {
		if err := f.lookUpBackend(host, someHost(spec.Statics[i].Internal), ""); spec.Statics[i].Enabled && err != nil {
			return err
		}
	}
	return nil
}

// someHost is an address of the network that a way can be asked for. For every address it is one that is never used, and goes the
// default way: those for documentation (RFC 5737, RFC 3849).
func someHost(p netip.Prefix) netip.Addr {
	switch {
	case p.IsSingleIP():
		return p.Addr()
	case p.Bits() > 0:
		return p.Masked().Addr().Next()
	case p.Addr().Is4():
		return netip.AddrFrom4([4]byte{192, 0, 2, 1})
	}
	return netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 15: 1})
}

func (f *facts) lookUpBackend(host *netconf.Host, addr netip.Addr, egress string) error {
	if err := ask(host, f.ways, addr, addr, ""); err != nil || egress == "" {
		return err
	}
	return ask(host, f.egress, via{addr, egress}, addr, egress)
}

// ask looks a way up once, and keeps the answer under the key.
func ask[K comparable](host *netconf.Host, ways map[K]*way, key K, to netip.Addr, link string) error {
	if _, known := ways[key]; known {
		return nil
	}
	route, err := host.RouteTo(to, link)
	if err != nil && !noWay(err) {
		return err
	}
	ways[key] = &way{route, err}
	return nil
}

// way is how the address is reached.
func (f *facts) way(addr netip.Addr) *way {
	if w := f.ways[addr]; w != nil {
		return w
	}
	return new(way)
}

// wayBy is how the address is reached by the interface.
func (f *facts) wayBy(addr netip.Addr, link string) *way {
	if w := f.egress[via{addr, link}]; w != nil {
		return w
	}
	return new(way)
}

// only is the list of one address, in memory that all who need it share. Nobody may change it.
func (f *facts) only(a netip.Addr) []netip.Addr {
	list := f.alone[a]
	if list == nil {
		if f.alone == nil {
			f.alone = make(map[netip.Addr][]netip.Addr)
		}
		list = []netip.Addr{a}
		f.alone[a] = list
	}
	return list
}

// noWay tells an answer of the kernel from a failure to ask it.
func noWay(err error) bool {
	return errors.Is(err, netconf.ErrNoRoute) || errors.Is(err, netconf.ErrNoLink) || errors.Is(err, netconf.ErrLinkDown)
}

// resolve is the addresses that stand for a backend now, of the families that the relay can serve. The answers say more about
// those that come from a name.
func (f *facts) resolve(r *nat.Relay, b *nat.Backend) (addrs []netip.Addr, answers []probe.Answer) {
	if b.Name == "" {
		return []netip.Addr{b.Addr}, nil
	}
	for _, name := range namesOf(r, b) {
		a := f.live.answer(name)
		addrs, answers = append(addrs, a.Addrs...), append(answers, a)
	}
	return addrs, answers
}

// namesOf is what is asked for a backend that is a name: the records of the families that the relay serves.
func namesOf(r *nat.Relay, b *nat.Backend) (names []probe.Name) {
	if b.Name == "" {
		return nil
	}
	if serves(r, true) {
		names = append(names, probe.Name{Host: b.Name, Family: probe.IPv4})
	}
	if serves(r, false) {
		names = append(names, probe.Name{Host: b.Name, Family: probe.IPv6})
	}
	return names
}

// serves tells whether the relay can serve clients of the family: those that its listen is of, and for one on every local
// address those that its sources and its pool leave.
func serves(r *nat.Relay, is4 bool) bool {
	if !r.Listen.Any() {
		return r.Listen.Addr.Is4() == is4
	}
	from := len(r.From) == 0 || slices.ContainsFunc(r.From, func(p netip.Prefix) bool { return p.Addr().Is4() == is4 })
	pool := r.SNAT.Mode != nat.SNATFixed || slices.ContainsFunc(r.SNAT.Addrs, func(a netip.Addr) bool { return a.Is4() == is4 })
	return from && pool
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
