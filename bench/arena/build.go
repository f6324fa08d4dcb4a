package arena

import (
	"context"
	"errors"
	"net/netip"
	"slices"

	"natd/bench/load"
	"natd/internal/lab"
)

// relayAddrs is how many addresses B has for its relays: enough for 100,000 of them.
const relayAddrs = 4

// Setting is a kernel setting of one host of an arena.
type Setting struct{ Host, Key, Value string }

// Settings are the kernel settings of an arena that are not the kernel's own, the same for all candidates.
func Settings() []Setting {
	return []Setting{
		{"A", "net.ipv4.ip_local_port_range", "1024 65535"},
		{"B", "net.ipv4.ip_forward", "1"},
		// A reset connection is forgotten soon: the load of a minute must not fill the ports of one SNAT address.
		{"B", "net.netfilter.nf_conntrack_tcp_timeout_close", "1"},
		// A program that relays dials from one address: it needs its ports, and those of connections that have ended.
		{"B", "net.ipv4.ip_local_port_range", "1024 65535"},
		{"B", "net.ipv4.tcp_tw_reuse", "1"},
		{"C", "net.core.somaxconn", "65535"},
		{"C", "net.ipv4.tcp_max_syn_backlog", "65535"},
	}
}

// build makes the hosts, links and routes.
func (a *Arena) build(ctx context.Context) (err error) {
	for _, h := range []struct {
		host **lab.Host
		name string
		addr netip.Addr
	}{{&a.A, "A", ten(1, 0, 100)}, {&a.B, "B", ten(2, 0, 100)}, {&a.C, "C", ten(3, 0, 100)}} {
		if *h.host, err = a.Host(h.name); err != nil {
			return err
		}
		(*h.host).Addr = h.addr
	}
	for _, l := range []struct {
		edge *lab.Host
		dev  string
	}{{a.A, ToClient}, {a.C, ToServer}} {
		if err := a.link(l.edge, l.dev); err != nil {
			return err
		}
	}
	if err := errors.Join(a.route(ctx), a.set()); err != nil {
		return err
	}
	if a.Server, err = load.StartServer(ctx, a.C, EchoPort); err != nil {
		return err
	}
	a.Load, err = load.StartClient(a.A)
	return err
}

// set makes the settings.
func (a *Arena) set() error {
	hosts := map[string]*lab.Host{"A": a.A, "B": a.B, "C": a.C}
	for _, s := range Settings() {
		if err := hosts[s.Host].SetSysctl(s.Key, s.Value); err != nil {
			return err
		}
	}
	return nil
}

// link connects A or C with B. B's addresses are on its way to A.
func (a *Arena) link(edge *lab.Host, dev string) error {
	b := lab.End{Host: a.B, Name: dev}
	if edge == a.A {
		for i := range relayAddrs {
			b.Addrs = append(b.Addrs, host(ten(2, 0, byte(100+i))))
		}
	}
	return lab.Connect(lab.End{Host: edge, Name: lab.Device, Addrs: []netip.Prefix{host(edge.Addr)}}, b)
}

// route lets A and C reach each other by way of B, and B answer as 10.2.0.100. A and C own their whole network: many clients,
// and a server behind every target. To B each is one neighbour: the kernel keeps 1,024 of them for all namespaces together.
func (a *Arena) route(ctx context.Context) error {
	for _, r := range []struct {
		host *lab.Host
		args []string
	}{
		{a.A, []string{"10.2.0.100", "dev", lab.Device, "src", "10.1.0.100"}},
		{a.A, []string{"default", "via", "10.2.0.100", "src", "10.1.0.100"}},
		{a.A, []string{"local", Clients().String(), "dev", "lo"}},
		{a.B, []string{Clients().String(), "via", "10.1.0.100", "dev", ToClient, "onlink", "src", "10.2.0.100"}},
		{a.B, []string{Servers().String(), "via", "10.3.0.100", "dev", ToServer, "onlink", "src", "10.2.0.100"}},
		{a.C, []string{"10.2.0.100", "dev", lab.Device, "src", "10.3.0.100"}},
		{a.C, []string{"default", "via", "10.2.0.100", "src", "10.3.0.100"}},
		{a.C, []string{"local", Servers().String(), "dev", "lo"}},
	} {
		if _, err := r.host.Run(ctx, "ip", slices.Concat([]string{"route", "add"}, r.args)...); err != nil {
			return err
		}
	}
	return nil
}

func host(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }
