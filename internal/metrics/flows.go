package metrics

import "natd/internal/control"

// flows is what there is to count of a relay, gateway or static.
type flows struct {
	name, state    string
	exact, sure    bool // what has ended is in the counts; and what limits refused is as the kernel says
	connections    *control.Connections
	bytes, packets *control.Volume
	refused        *control.Refused // nil where there are no limits
	ports          *control.PortUse // nil where there are none in use
}

// flowMetrics is the metrics of one kind of thing; each hands over every one of them that the status has.
func flowMetrics(kind string, each func(*view, func(*flows))) []Metric {
	prefix, label := "natd_"+kind+"_", []string{kind}
	read := func(write func(*flows, *series)) func(*view, *series) {
		return func(v *view, out *series) { each(v, func(f *flows) { write(f, out) }) }
	}
	return []Metric{
		{
			Name: prefix + "state", Type: Gauge, Labels: append(label, "state"), Help: "1 for the state that the " + kind + " is in, 0 for the others.",
			read: read(func(f *flows, out *series) {
				out.states(f.state, []string{control.RelayReady, control.RelayDegraded, control.RelayDown, control.RelayDisabled}, f.name)
			}),
		},
		{
			Name: prefix + "connections_total", Type: Counter, Labels: label, Help: "Connections that began.",
			read: read(func(f *flows, out *series) { out.sum(f.exact, f.connections.Total, f.name) }),
		},
		{
			Name: prefix + "connections_active", Type: Gauge, Labels: label, Help: "Connections that both sides have spoken on and that have not ended.",
			read: read(func(f *flows, out *series) { out.count(f.connections.Active, f.name) }),
		},
		{
			Name: prefix + "connections_unreplied", Type: Gauge, Labels: label, Help: "Connections that wait for a first answer.",
			read: read(func(f *flows, out *series) { out.count(f.connections.Unreplied, f.name) }),
		},
		{
			Name: prefix + "connections_refused_total", Type: Counter, Labels: append(label, "by"),
			Help: "Connections that were refused: by the backend, or by a limit of the configuration, which are not in connections_total.",
			read: read(writeRefused),
		},
		{
			Name: prefix + "connections_unanswered_total", Type: Counter, Labels: label, Help: "Connections that ended without an answer.",
			read: read(func(f *flows, out *series) { out.sum(f.exact, f.connections.Unanswered, f.name) }),
		},
		{
			Name: prefix + "bytes_total", Type: Counter, Labels: append(label, "direction"), Help: "Bytes relayed, IP headers included.",
			read: read(func(f *flows, out *series) { out.volume(f.exact, f.bytes, f.name) }),
		},
		{
			Name: prefix + "packets_total", Type: Counter, Labels: append(label, "direction"), Help: "Packets relayed.",
			read: read(func(f *flows, out *series) { out.volume(f.exact, f.packets, f.name) }),
		},
		{
			Name: prefix + "snat_ports_used", Type: Gauge, Labels: label, Help: "Source ports in use of one address towards one target, where they are most.",
			read: read(func(f *flows, out *series) {
				if f.ports != nil {
					out.add(float64(f.ports.Used), f.name)
				}
			}),
		},
		{
			Name: prefix + "snat_ports_max", Type: Gauge, Labels: label, Help: "Source ports that there are of one address towards one target.",
			read: read(func(f *flows, out *series) {
				if f.ports != nil {
					out.add(float64(f.ports.Max), f.name)
				}
			}),
		},
	}
}

func writeRefused(f *flows, out *series) {
	out.sum(f.exact, f.connections.Refused, f.name, "backend")
	if f.refused != nil && f.sure {
		out.count(f.refused.Connections, f.name, "max_connections")
		out.count(f.refused.PerSource, f.name, "max_per_source")
		out.count(f.refused.Rate, f.name, "rate")
	}
}

func relayMetrics() []Metric {
	return flowMetrics(control.KindRelay, func(v *view, write func(*flows)) {
		var f flows // one for all: there may be a hundred thousand
		for i := range v.Relays {
			r := &v.Relays[i]
			f = flows{r.Name, r.State, v.Accounting.Exact, v.Ruleset.InSync, &r.Connections, &r.Bytes, &r.Packets, &r.Refused, r.Ports}
			write(&f)
		}
	})
}

func gatewayMetrics() []Metric {
	return flowMetrics(control.KindGateway, func(v *view, write func(*flows)) {
		var f flows // one for all: there may be a hundred thousand
		for i := range v.Gateways {
			g := &v.Gateways[i]
			f = flows{g.Name, g.State, v.Accounting.Exact, v.Ruleset.InSync, &g.Connections, &g.Bytes, &g.Packets, nil, g.Ports}
			write(&f)
		}
	})
}

func staticMetrics() []Metric {
	return flowMetrics(control.KindStatic, func(v *view, write func(*flows)) {
		var f flows // one for all: there may be a hundred thousand
		for i := range v.Statics {
			st := &v.Statics[i]
			f = flows{st.Name, st.State, v.Accounting.Exact, v.Ruleset.InSync, &st.Connections, &st.Bytes, &st.Packets, nil, st.Ports}
			write(&f)
		}
	})
}
