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
	sysctlAccounting     = "net.netfilter.nf_conntrack_acct"
	sysctlConntrackMax   = "net.netfilter.nf_conntrack_max"
	sysctlConntrackCount = "net.netfilter.nf_conntrack_count"
	sysctlForward        = "net.ipv4.ip_forward"
)

// settleHost turns on what the relays need of the host, now that their rules stand. A setting that cannot be made is
// a reason for being degraded, not a failure: the relays may work without it.
func (d *Daemon) settleHost() error {
	d.hostProblems = nil
	needed := neededSettings(d.cfg, d.places)
	for _, s := range needed {
		if s.key != sysctlForward {
			d.setting(d.sysctls.Set(s.key, s.value))
		}
	}
	if !anyPlaced(d.places) {
		return nil
	}
	d.settleForwarding()
	return d.settleReversePath()
}

// sysctl is a kernel setting and the value that relays need.
type sysctl struct{ key, value string }

// neededSettings is what relays need of the host, but for what depends on the routes back to clients.
func neededSettings(cfg *config.Config, places []place) (needed []sysctl) {
	if n := cfg.Host.ConntrackMax; n > 0 {
		needed = append(needed, sysctl{sysctlConntrackMax, strconv.Itoa(n)})
	}
	if !anyPlaced(places) {
		return needed
	}
	needed = append(needed, sysctl{sysctlAccounting, "1"})
	if cfg.Host.IPForward {
		needed = append(needed, sysctl{sysctlForward, "1"})
	}
	for _, link := range egressLinks(places) {
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

func (d *Daemon) problemf(format string, args ...any) {
	if text := fmt.Errorf(format, args...).Error(); !slices.Contains(d.hostProblems, text) {
		d.hostProblems = append(d.hostProblems, text)
	}
}

func (d *Daemon) settleForwarding() {
	on, err := d.sysctls.Forwarding()
	if err != nil {
		d.problemf("%w", err)
		return
	}
	if !on && !d.cfg.Host.IPForward {
		d.forwarding = false
		d.problemf("net.ipv4.ip_forward is 0 and [host] ip_forward = false forbids natd to turn it on: relays cannot work")
		return
	}
	if on {
		d.forwarding = true
		d.settleLinkForwarding()
		return
	}
	if d.setting(d.sysctls.EnableForwarding()) {
		if d.forwarding {
			d.noteDrift("", []string{"net.ipv4.ip_forward was turned off: turned on again"}, 0)
		}
		d.forwarding = true
	}
}

// settleLinkForwarding turns forwarding on again for interfaces that relays use and that somebody took out of it: the
// kernel forwards what comes in by an interface only if that one's own setting says so.
func (d *Daemon) settleLinkForwarding() {
	if !d.cfg.Host.IPForward {
		return
	}
	links := egressLinks(d.places)
	for _, way := range d.listenLinks() {
		if !slices.Contains(links, way) {
			links = append(links, way)
		}
	}
	for _, link := range links {
		if d.setting(d.sysctls.Set("net/ipv4/conf/"+link+"/forwarding", "1")) {
			d.noteDrift("", []string{"forwarding was off on " + link + ": turned on again"}, 0)
		}
	}
}

// listenLinks is the interfaces that hold an address that a relay listens on, each once.
func (d *Daemon) listenLinks() []string {
	var links []string
	seen := make(map[netip.Addr]bool)
	for i := range d.places {
		for _, addr := range d.places[i].Addrs {
			if d.places[i].Held || seen[addr] {
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

// egressLinks is the interfaces that relays send by, each once. A client behind the same interface would be told to go
// straight to the backend.
func egressLinks(places []place) []string {
	var links []string
	for i := range places {
		if p := &places[i]; !p.Held && !p.here && !slices.Contains(links, p.egress) {
			links = append(links, p.egress)
		}
	}
	return links
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
	for i := range d.places {
		if d.places[i].Held {
			continue
		}
		for _, addr := range d.places[i].Addrs {
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
