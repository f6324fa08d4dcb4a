package daemon

import (
	"net/netip"

	"natd/internal/flowlog"
	"natd/netconf"
)

// flowHost is what flow records say of this host: of AWS's names for it, those that are known.
func (d *Daemon) flowHost() (*flowlog.Host, error) {
	links, err := d.host.Links()
	if err != nil {
		return nil, err
	}
	f := flowFacts(links, d.facts.addresses, d.facts.instance)
	f.Way = func(to netip.Addr) int {
		route, _ := d.host.RouteTo(to, "") // without a route the record has no interface
		return route.Index
	}
	return flowlog.NewHost(f), nil
}

// flowFacts puts the addresses of the host to its interfaces. An interface without any carries nothing of natd's.
func flowFacts(links []netconf.Link, addresses []netconf.Address, in *instance) (f flowlog.Facts) {
	if in != nil {
		f.Account, f.InstanceID, f.Region, f.ZoneID = in.Account, in.ID, in.Region, in.ZoneID
	}
	for _, l := range links {
		i := flowlog.Interface{ID: l.Name, Index: l.Index, Minor: in != nil}
		for _, a := range addresses {
			if a.Link == l.Name {
				i.Addrs = append(i.Addrs, a.Addr.Addr())
			}
		}
		if l.Own {
			f.Own = append(f.Own, i.Addrs...)
			continue
		}
		if in != nil {
			if eni := in.of(l); eni != nil {
				i.ID, i.VPC, i.Subnet, i.VPCs, i.Minor = eni.ID, eni.VPC, eni.Subnet, eni.VPCBlocks, false
			}
		}
		if len(i.Addrs) > 0 {
			f.Interfaces = append(f.Interfaces, i)
		}
	}
	return f
}
