package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"

	"natd/internal/control"
	"natd/nat"
	"natd/netconf"
)

// Kernel settings of the fast path. Linux 5.14 brought the first, and with it that a connection which leaves the fast path is remembered as
// long as any other. Before, it was forgotten when it had been idle for two and a half minutes. 5.13 had the second, besides.
const (
	sysctlFastTimeout = sysctlNetfilter + "nf_flowtable_tcp_timeout"
	sysctlFastPickup  = sysctlNetfilter + "nf_flowtable_tcp_pickup"
)

// fastLink is an interface of the fast path. One that is made anew under its old name is another, and must be hooked again.
type fastLink struct {
	name  string
	index int
}

// fast is where the fast path is to be, and why it is nowhere.
type fast struct {
	links []fastLink
	why   string // "" while there are links, or none is wanted
}

func (f *fast) same(o *fast) bool { return f.why == o.why && slices.Equal(f.links, o.links) }

func (f *fast) names() []string {
	names := make([]string, len(f.links))
	for i, l := range f.links {
		names[i] = l.name
	}
	return names
}

// placeFast decides about the fast path, after everything else was placed.
func (f *facts) placeFast(spec *nat.Spec, p *placed) fast {
	if !spec.FastPath {
		return fast{}
	}
	links := f.fastLinks(spec, p)
	if why := f.live.slow(links); why != "" {
		return fast{why: why}
	}
	if len(links) == 0 {
		return fast{why: "nothing is relayed by an interface that it is for"}
	}
	return fast{links: links}
}

// fastLinks is the interfaces that carry what is relayed, in and out, as far as that can be told without asking for the way to every
// client: those towards backends and those that hold the addresses that clients dial; of gateways and statics those of both sides. A
// connection that comes by another goes without the fast path, and works as well. Only Ethernet can be meant: see netconf.Device.
func (f *facts) fastLinks(spec *nat.Spec, p *placed) (links []fastLink) {
	carrying := f.relayLinks(p)
	side := func(prefixes []netip.Prefix) {
		for _, prefix := range prefixes {
			if w := f.way(someHost(prefix)); w.err == nil && !w.route.Local {
				carrying[w.route.Link] = true
			}
		}
	}
	for i := range p.gateways {
		if s := &p.gateways[i]; !s.Held {
			side(spec.Gateways[i].From)
			maps.Copy(carrying, setOf(s.links))
		}
	}
	for i := range p.statics {
		if s := &p.statics[i]; !s.Held {
			side(outside(&spec.Statics[i]))
			maps.Copy(carrying, setOf(s.links))
		}
	}
	for _, l := range f.devices {
		if carrying[l.name] {
			links = append(links, l)
		}
	}
	return links
}

// fastDevices is the interfaces that the fast path may be for, ascending by name.
func fastDevices(devices []netconf.Device) (links []fastLink) {
	for _, d := range devices {
		if d.Ethernet && !d.Loopback {
			links = append(links, fastLink{d.Name, d.Index})
		}
	}
	slices.SortFunc(links, func(a, b fastLink) int { return strings.Compare(a.name, b.name) })
	return links
}

func (f *facts) relayLinks(p *placed) map[string]bool {
	carrying := make(map[string]bool)
	holding := make(map[netip.Addr]string, len(f.addresses))
	for _, a := range f.addresses {
		holding[a.Addr.Addr()] = a.Link
	}
	for i := range p.relays {
		r := &p.relays[i]
		if r.Held || r.here() {
			continue
		}
		for j := range r.backends {
			if b := &r.backends[j]; b.fit && !b.route.Local {
				carrying[b.route.Link] = true
			}
		}
		for _, addr := range r.Addrs {
			carrying[holding[addr]] = true
		}
	}
	return carrying
}

// outside is the networks that the clients of a static are in.
func outside(st *nat.Static) []netip.Prefix {
	if len(st.From) > 0 {
		return st.From
	}
	a := st.External.Addr()
	zero, _ := a.Prefix(0)
	return []netip.Prefix{zero}
}

func setOf(names []string) map[string]bool {
	set := make(map[string]bool, len(names))
	for _, name := range names {
		set[name] = true
	}
	return set
}

// lookUpClients asks for the ways to the clients of gateways and statics, which only the fast path needs.
func (f *facts) lookUpClients(host *netconf.Host, spec *nat.Spec) (err error) {
	if !spec.FastPath {
		return nil
	}
	for i := range spec.Gateways {
		for _, from := range spec.Gateways[i].From {
			err = errors.Join(err, f.lookUpBackend(host, someHost(from), ""))
		}
	}
	for i := range spec.Statics {
		for _, from := range outside(&spec.Statics[i]) {
			err = errors.Join(err, f.lookUpBackend(host, someHost(from), ""))
		}
	}
	return err
}

// fastPath is what the kernel says to the fast path.
type fastPath struct {
	kernel  *nat.Kernel
	sysctls *netconf.Sysctls

	asked   bool
	lacks   string     // why the kernel cannot have it; "" when it can, or was not asked
	refused []fastLink // what it would not take, when it came to it
	refusal string     // and why
}

// slow is why these interfaces are without the fast path, "" when nothing speaks against it.
func (p *fastPath) slow(links []fastLink) string {
	if !p.asked {
		p.lacks, p.asked = p.ask(), true
	}
	if p.lacks == "" && len(p.refused) > 0 && slices.Equal(p.refused, links) {
		return p.refusal
	}
	p.refused = nil
	return p.lacks
}

// ask asks the kernel. Who may not ask goes by what the settings tell.
func (p *fastPath) ask() string {
	if err := p.kernel.FastPath(); err != nil && !errors.Is(err, os.ErrPermission) {
		return err.Error()
	}
	_, err := p.sysctls.Get(sysctlFastTimeout)
	_, pickup := p.sysctls.Get(sysctlFastPickup)
	switch {
	case errors.Is(err, fs.ErrNotExist) || pickup == nil:
		return "this kernel would forget connections that are idle for two and a half minutes: it takes Linux 5.14"
	case err != nil:
		return err.Error()
	}
	return ""
}

// withoutFastPath goes on without the fast path where the kernel refuses that alone: an interface may have gone since it was looked at, or
// cannot be hooked. The error is then nat.ErrStale: what is wanted has changed, look again.
func (d *Daemon) withoutFastPath(err error) error {
	if !errors.Is(err, nat.ErrFastPath) || len(d.placed.fast.links) == 0 {
		return err
	}
	d.fast.refused, d.fast.refusal = d.placed.fast.links, err.Error()
	d.placed.fast = fast{why: d.fast.refusal}
	d.reportFast(&d.placed.fast)
	d.want = d.builds.Build(&d.cfg.NAT, d.placed.all())
	return fmt.Errorf("%w: %w", nat.ErrStale, err)
}

// reportFast logs once where the fast path is, and why it is nowhere.
func (d *Daemon) reportFast(next *fast) {
	before := d.fastTold
	d.fastTold = *next
	switch {
	case next.same(&before):
	case next.why != "":
		d.Log.Info("established connections go without the fast path", "reason", next.why)
	case len(next.links) > 0:
		d.Log.Info("established connections take the fast path", "interfaces", strings.Join(next.names(), ","))
	}
}

// fastStatus is the fast path as it was last read from the kernel.
func (d *Daemon) fastStatus() control.Flowtable {
	s := control.Flowtable{Wanted: "off", Interfaces: []string{}}
	if !d.cfg.NAT.FastPath {
		return s
	}
	s.Wanted, s.Why = "auto", d.placed.fast.why
	if !d.flushed && len(d.sync.fast) > 0 {
		s.On, s.Interfaces = true, d.sync.fast
	}
	return s
}
