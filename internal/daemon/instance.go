package daemon

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"natd/internal/imds"
	"natd/netconf"
)

// instance is what AWS says of the machine that natd runs on, and what to hold it against.
type instance struct {
	*imds.Identity
	links []netconf.Link
	young map[netip.Addr]bool // addresses that came to the host after AWS was asked
}

// instance is what is known of the instance for the addresses that the host has now; nil when nothing is. A young address may
// have been assigned in AWS a moment ago: before anything is said against it, AWS is asked again.
func (d *Daemon) instance(addresses []netconf.Address) (*instance, error) {
	if d.noteAddresses(addresses) {
		d.metadata.poke()
	}
	known := d.metadata.last()
	if known == nil {
		return nil, nil // most machines are no instances
	}
	links, err := d.host.Links()
	if err != nil {
		return nil, err
	}
	if d.noteLinks(links) {
		d.metadata.poke()
	}
	in := &instance{Identity: known.identity, links: links, young: make(map[netip.Addr]bool)}
	for addr, at := range d.appeared {
		if at.After(known.asked) {
			in.young[addr] = true
		}
	}
	return in, nil
}

// same tells whether both say the same of all addresses.
func (in *instance) same(o *instance) bool {
	if in == nil || o == nil {
		return in == o
	}
	return in.Identity == o.Identity && slices.Equal(in.links, o.links) && maps.Equal(in.young, o.young)
}

// noteAddresses remembers since when the host has had each address, and tells whether they are others than before.
func (d *Daemon) noteAddresses(addresses []netconf.Address) (changed bool) {
	now, before := time.Now(), d.appeared
	d.appeared = make(map[netip.Addr]time.Time, len(addresses))
	for _, a := range addresses {
		addr := a.Addr.Addr()
		at, ok := before[addr]
		if !ok {
			at, changed = now, true
		}
		d.appeared[addr] = at
	}
	return changed || len(d.appeared) < len(before)
}

// noteLinks remembers the MAC addresses of the host's interfaces, by which AWS knows its own, and tells whether they are others
// than before. Names and whatever else changes of an interface is no reason to ask AWS.
func (d *Daemon) noteLinks(links []netconf.Link) (changed bool) {
	before := d.macs
	d.macs = make(map[string]bool, len(links))
	for _, l := range links {
		if !l.Own && l.MAC != "" {
			d.macs[l.MAC] = true
		}
	}
	return before != nil && !maps.Equal(before, d.macs)
}

// hopeful tells whether another answer of AWS may change what is said of the relays.
func (in *instance) hopeful(places []place) bool {
	return in != nil && (len(in.young) > 0 || slices.ContainsFunc(places, func(p place) bool { return len(p.noted().undelivered) > 0 }))
}

// of is the network interface behind a link of the host; nil for a link that is none of AWS's.
func (in *instance) of(link netconf.Link) *imds.Interface {
	return in.find(func(i *imds.Interface) bool { return i.MAC == link.MAC })
}

// behind is the network interface behind the link of this name; nil for a link that is none of AWS's.
func (in *instance) behind(name string) *imds.Interface {
	if i := slices.IndexFunc(in.links, func(l netconf.Link) bool { return l.Name == name }); i >= 0 {
		return in.of(in.links[i])
	}
	return nil
}

// owner is the network interface that AWS delivers the address to; nil when the instance has none.
func (in *instance) owner(a netip.Addr) *imds.Interface {
	return in.find(func(i *imds.Interface) bool { return i.Owns(a) })
}

func (in *instance) find(match func(*imds.Interface) bool) *imds.Interface {
	for i := range in.Interfaces {
		if match(&in.Interfaces[i]) {
			return &in.Interfaces[i]
		}
	}
	return nil
}

// device is the host's name of a network interface; "" when the host has none. Of several links with its MAC address (a
// bridge, a VLAN) it is the oldest.
func (in *instance) device(i *imds.Interface) string {
	for _, l := range in.links {
		if l.MAC == i.MAC {
			return l.Name
		}
	}
	return ""
}

// named is a network interface as a reason names it, by the host's name and AWS's.
func (in *instance) named(i *imds.Interface) string {
	if device := in.device(i); device != "" {
		return device + " (" + i.ID + ")"
	}
	return i.ID
}
