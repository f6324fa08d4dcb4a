package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strconv"

	"natd/internal/config"
	"natd/netconf"
)

// Kernel settings that natd uses besides forwarding and those of interfaces.
const (
	sysctlNetfilter       = "net.netfilter."
	sysctlAccounting      = "net.netfilter.nf_conntrack_acct"
	sysctlEvents          = "net.netfilter.nf_conntrack_events"
	sysctlTimestamp       = "net.netfilter.nf_conntrack_timestamp"
	sysctlConntrackMax    = "net.netfilter.nf_conntrack_max"
	sysctlConntrackCount  = "net.netfilter.nf_conntrack_count"
	sysctlConntrackPrefix = "net.netfilter.nf_conntrack_"
	sysctlForward         = "net.ipv4.ip_forward"
	sysctlForward6        = "net.ipv6.conf.all.forwarding"
)

// settleHost turns on what the relays need of the host, now that their rules stand. A setting that cannot be made is
// a reason for being degraded, not a failure: the relays may work without it.
func (d *Daemon) settleHost() error {
	d.hostProblems = nil
	needed := neededSettings(d.cfg, &d.placed)
	for _, s := range needed {
		if s.key != sysctlForward && s.key != sysctlForward6 {
			d.setting(d.sysctls.Set(s.key, s.value))
		}
	}
	if !d.placed.any() {
		return nil
	}
	for _, f := range d.families() {
		d.settleForwarding(f)
	}
	return d.settleReversePath()
}

// settleAccounting turns accounting on before there are rules that ask for counts: the kernel turns it on with them (nft_ct_get_init in
// net/netfilter/nft_ct.c), and nobody would know that it was off. What becomes of it, settleHost says.
func (d *Daemon) settleAccounting() {
	if d.cfg.Counts() && d.placed.any() {
		_, _ = d.sysctls.Set(sysctlAccounting, "1")
	}
}

// sysctl is a kernel setting and the value that relays need.
type sysctl struct{ key, value string }

// neededSettings is what relays need of the host, but for what depends on the routes back to clients.
func neededSettings(cfg *config.Config, next *placed) (needed []sysctl) {
	if n := cfg.Host.ConntrackMax; n > 0 {
		needed = append(needed, sysctl{sysctlConntrackMax, strconv.Itoa(n)})
	}
	if !next.any() {
		return needed
	}
	needed = append(needed, sysctl{sysctlAccounting, "1"})
	if cfg.Counts() {
		// Events of 2, the default, are only of connections that began while somebody listened (nf_ct_ecache_ext_add in
		// net/netfilter/nf_conntrack_ecache.c): natd may have been away.
		needed = append(needed, sysctl{sysctlEvents, "1"}, sysctl{sysctlTimestamp, "1"})
	}
	if cfg.Host.IPForward && next.needs(&cfg.NAT, true) {
		needed = append(needed, sysctl{sysctlForward, "1"})
	}
	if cfg.Host.IPForward && next.needs(&cfg.NAT, false) {
		needed = append(needed, sysctl{sysctlForward6, "1"})
	}
	for _, link := range next.egressLinks() {
		for _, redirects := range netconf.RedirectKeys(link) {
			needed = append(needed, sysctl{redirects, "0"})
		}
	}
	return needed
}

// noteSysctl reports a setting that has just got another value.
func (d *Daemon) noteSysctl(c netconf.Change) {
	d.sync.steps = append(d.sync.steps, fmt.Sprintf("set sysctl %s = %s (was %s)", c.Key, c.New, c.Old))
	d.Log.Info("sysctl changed", "key", c.Key, "old", c.Old, "new", c.New)
}

// setting takes note of the outcome of one setting. That of an interface that has just gone is not missed.
func (d *Daemon) setting(changed bool, err error) bool {
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.problemf("%w", err)
	}
	return changed
}

// problems is what is wrong with the host, and with what natd itself is besides relays.
func (d *Daemon) problems() []string {
	all := slices.Clone(d.hostProblems)
	if m := d.web.status(); m != nil && m.Error != "" {
		all = append(all, "metrics are not served: "+m.Error)
	}
	if l := d.flowlog.state(); l != nil && l.Error != "" {
		all = append(all, "the flow log is not written: "+l.Error)
	}
	return all
}

func (d *Daemon) problemf(format string, args ...any) {
	if text := fmt.Errorf(format, args...).Error(); !slices.Contains(d.hostProblems, text) {
		d.hostProblems = append(d.hostProblems, text)
	}
}

// family is one of the two, with the settings that make the kernel forward it.
type family struct {
	sysctl string
	is4    bool
	on     func() (bool, error)
	enable func() (bool, error)
	was    *bool // on after the last pass
}

func (d *Daemon) families() []family {
	return []family{
		{sysctlForward, true, d.sysctls.Forwarding, d.sysctls.EnableForwarding, &d.forwarding},
		{sysctlForward6, false, d.sysctls.Forwarding6, d.sysctls.EnableForwarding6, &d.forwarding6},
	}
}

// settleForwarding makes the kernel forward the family, if something that stands needs it to.
func (d *Daemon) settleForwarding(f family) {
	if !d.placed.needs(&d.cfg.NAT, f.is4) {
		return
	}
	on, err := f.on()
	if err != nil {
		d.problemf("%w", err)
		return
	}
	if !on && !d.cfg.Host.IPForward {
		*f.was = false
		d.problemf("%s is 0 and [host] ip_forward = false forbids natd to turn it on: relays cannot work", f.sysctl)
		return
	}
	if on {
		*f.was = true
		if f.is4 {
			d.settleLinkForwarding()
		} else {
			d.setting(f.enable()) // interfaces may have come that take router advertisements
		}
		return
	}
	if d.setting(f.enable()) {
		if *f.was {
			d.noteDrift(&d.sync.repaired.Host, "", []string{f.sysctl + " was turned off: turned on again"}, 0)
		}
		*f.was = true
	}
}

// settleLinkForwarding turns forwarding on again for interfaces that relays use and that somebody took out of it: the
// kernel forwards IPv4 that comes in by an interface only if that one's own setting says so. For IPv6 it asks that of all
// (ip6_forward in net/ipv6/ip6_output.c).
func (d *Daemon) settleLinkForwarding() {
	if !d.cfg.Host.IPForward {
		return
	}
	links := d.placed.egressLinks()
	for _, link := range d.listenLinks() {
		links = add(links, link)
	}
	for _, link := range links {
		if d.setting(d.sysctls.Set("net/ipv4/conf/"+link+"/forwarding", "1")) {
			d.noteDrift(&d.sync.repaired.Host, "", []string{"forwarding was off on " + link + ": turned on again"}, 0)
		}
	}
}

// listenLinks is the interfaces that hold an IPv4 address that a relay listens on, each once.
func (d *Daemon) listenLinks() []string {
	var links []string
	seen := make(map[netip.Addr]bool)
	for i := range d.placed.relays {
		for _, addr := range d.placed.relays[i].Addrs {
			if d.placed.relays[i].Held || addr.Is6() || seen[addr] {
				continue
			}
			seen[addr] = true
			if link := d.facts.linkOf(addr); link != "" && link != "lo" && !slices.Contains(links, link) {
				links = append(links, link)
			}
		}
	}
	return links
}

// egressLinks is the interfaces that IPv4 packets are sent by, each once. A client behind the same interface would be
// told to go straight to the backend.
func (p *placed) egressLinks() (links []string) {
	for i := range p.relays {
		for j := range p.relays[i].backends {
			if b := &p.relays[i].backends[j]; !p.relays[i].Held && b.fit && !b.route.Local && b.addr.Is4() {
				links = add(links, b.route.Link)
			}
		}
	}
	for _, spots := range [][]spot{p.gateways, p.statics} {
		for i := range spots {
			if !spots[i].Held {
				links = append(links, spots[i].links...)
			}
		}
	}
	slices.Sort(links)
	return slices.Compact(links)
}

// settleReversePath loosens the reverse path filter where a strict one would drop the packets of clients that the
// configuration names.
func (d *Daemon) settleReversePath() error {
	links, err := netconf.StrictDrops(d.host, d.sysctls, d.ingress())
	if err != nil {
		return fmt.Errorf("find reverse path filters that drop clients: %w", err)
	}
	for _, link := range links {
		if d.setting(d.sysctls.LoosenReversePath(link)) {
			d.Log.Info("loosened the reverse path filter: clients come by another interface than answers to them leave", "interface", link)
		}
	}
	return nil
}

// ingress is the interfaces that the relays' clients arrive by, each client network once.
func (d *Daemon) ingress() []netconf.Ingress {
	seen := make(map[netconf.Ingress]bool)
	var ways []netconf.Ingress
	for i := range d.placed.relays {
		if d.placed.relays[i].Held {
			continue
		}
		for _, addr := range d.placed.relays[i].Addrs {
			link := d.facts.linkOf(addr)
			for _, clients := range d.cfg.NAT.Relays[i].From {
				way := netconf.Ingress{Clients: clients, Link: link}
				if link != "" && !seen[way] {
					seen[way] = true
					ways = append(ways, way)
				}
			}
		}
	}
	return ways
}
