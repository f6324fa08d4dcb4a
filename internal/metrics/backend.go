package metrics

import "natd/internal/control"

// backendRead writes something of each backend.
func backendRead(write func(*backend, *series)) func(*view, *series) {
	return func(v *view, out *series) {
		for i := range v.backends {
			write(&v.backends[i], out)
		}
	}
}

func backendMetrics() []Metric {
	labels := []string{"relay", "backend"}
	return []Metric{
		{
			Name: "natd_backend_up", Type: Gauge, Labels: labels,
			Help: "1 when the backend passes its checks, 0 when it is down. There is none of a backend that is drained, or that nothing is known of.",
			read: backendRead(func(b *backend, out *series) {
				if b.State == control.BackendUp || b.State == control.BackendDown {
					out.flag(b.State == control.BackendUp, b.relay, b.label)
				}
			}),
		},
		{
			Name: "natd_backend_draining", Type: Gauge, Labels: labels, Help: "1 when the backend was drained, or left the relay while connections still go there.",
			read: backendRead(func(b *backend, out *series) { out.flag(b.State == control.BackendDraining, b.relay, b.label) }),
		},
		{
			Name: "natd_backend_in_use", Type: Gauge, Labels: labels, Help: "1 when new connections may go to the backend.",
			read: backendRead(func(b *backend, out *series) { out.flag(b.InUse, b.relay, b.label) }),
		},
		{
			Name: "natd_backend_weight", Type: Gauge, Labels: labels, Help: "The share of the backend, as configured.",
			read: backendRead(func(b *backend, out *series) { out.add(float64(b.Weight), b.relay, b.label) }),
		},
		{
			Name: "natd_backend_last_change_timestamp_seconds", Type: Gauge, Labels: labels, Help: "Since when the backend has been up, down or drained.",
			read: backendRead(func(b *backend, out *series) { out.time(b.Since, b.relay, b.label) }),
		},
		{
			Name: "natd_backend_connections_total", Type: Counter, Labels: labels, Help: "Connections that began.",
			read: backendRead(func(b *backend, out *series) { out.sum(b.exact, b.Total, b.relay, b.label) }),
		},
		{
			Name: "natd_backend_connections_active", Type: Gauge, Labels: labels, Help: "Connections that have not ended.",
			read: backendRead(func(b *backend, out *series) { out.count(b.Active, b.relay, b.label) }),
		},
		{
			Name: "natd_backend_connections_unreplied", Type: Gauge, Labels: labels, Help: "Connections that wait for a first answer.",
			read: backendRead(func(b *backend, out *series) { out.count(b.Unreplied, b.relay, b.label) }),
		},
		{
			Name: "natd_backend_connections_refused_total", Type: Counter, Labels: labels, Help: "Connections that the backend refused.",
			read: backendRead(func(b *backend, out *series) { out.sum(b.exact, b.Refused, b.relay, b.label) }),
		},
		{
			Name: "natd_backend_bytes_total", Type: Counter, Labels: append(labels, "direction"), Help: "Bytes relayed, IP headers included.",
			read: backendRead(func(b *backend, out *series) { out.volume(b.exact, &b.Bytes, b.relay, b.label) }),
		},
		{
			Name: "natd_backend_packets_total", Type: Counter, Labels: append(labels, "direction"), Help: "Packets relayed.",
			read: backendRead(func(b *backend, out *series) { out.volume(b.exact, &b.Packets, b.relay, b.label) }),
		},
	}
}

// probeMetrics has series of backends that are checked.
func probeMetrics() []Metric {
	labels := []string{"relay", "backend"}
	read := func(write func(*backend, *series)) func(*view, *series) {
		return backendRead(func(b *backend, out *series) {
			if b.Probe != nil {
				write(b, out)
			}
		})
	}
	return []Metric{
		{
			Name: "natd_probe_duration_seconds", Type: Gauge, Labels: labels, Help: "How long the last health check of the backend took.",
			read: read(func(b *backend, out *series) { out.add(b.Probe.Seconds, b.relay, b.label) }),
		},
		{
			Name: "natd_probes_total", Type: Counter, Labels: labels, Help: "Health checks of the backend.",
			read: read(func(b *backend, out *series) { out.count(b.Probe.Total, b.relay, b.label) }),
		},
		{
			Name: "natd_probe_failures_total", Type: Counter, Labels: labels, Help: "Health checks that the backend failed.",
			read: read(func(b *backend, out *series) { out.count(b.Probe.Failures, b.relay, b.label) }),
		},
	}
}
