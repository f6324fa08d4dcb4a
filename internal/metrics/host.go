package metrics

import (
	"maps"
	"slices"

	"natd/internal/control"
)

func hostMetrics() []Metric {
	stat := func(name, help string, of func(*control.ConntrackStats) uint64) Metric {
		return Metric{Name: name, Type: Counter, Help: help, read: func(v *view, out *series) {
			if s := v.Host.Conntrack.Stats; s != nil {
				out.count(of(s))
			}
		}}
	}
	return []Metric{
		{
			Name: "natd_host_forwarding", Type: Gauge, Help: "1 when the host forwards packets of the family.", Labels: []string{"family"},
			read: func(v *view, out *series) {
				out.flag(v.Host.IPForward, "ipv4")
				out.flag(v.Host.Forward6, "ipv6")
			},
		},
		{
			Name: "natd_host_fast_path", Type: Gauge, Help: "1 when established connections take the kernel's fast path (flowtable).",
			read: func(v *view, out *series) { out.flag(v.Host.Flowtable.On) },
		},
		{
			Name: "natd_conntrack_entries", Type: Gauge, Help: "Connections that the host tracks, those of others included.",
			read: func(v *view, out *series) { out.add(float64(v.Host.Conntrack.Entries)) },
		},
		{
			Name: "natd_conntrack_limit", Type: Gauge, Help: "Connections that the host can track (nf_conntrack_max).",
			read: func(v *view, out *series) { out.add(float64(v.Host.Conntrack.Max)) },
		},
		{
			Name: "natd_conntrack_deleted_total", Type: Counter, Help: "Connections that natd ended, because they contradicted the configuration.",
			read: func(v *view, out *series) { out.count(v.Host.Conntrack.Ended) },
		},
		stat("natd_conntrack_insert_failed_total", "New connections that found no place: no free source port, as a rule.",
			func(s *control.ConntrackStats) uint64 { return s.InsertFailed }),
		stat("natd_conntrack_drop_total", "Packets dropped by connection tracking: its table is full, or there is no free source port.",
			func(s *control.ConntrackStats) uint64 { return s.Drop }),
		stat("natd_conntrack_early_drop_total", "Connections that were given up for new ones in a full table.",
			func(s *control.ConntrackStats) uint64 { return s.EarlyDrop }),
		stat("natd_conntrack_invalid_total", "Packets that belong to no connection and can begin none.",
			func(s *control.ConntrackStats) uint64 { return s.Invalid }),
		stat("natd_conntrack_error_total", "Malformed packets.",
			func(s *control.ConntrackStats) uint64 { return s.Error }),
		stat("natd_conntrack_search_restart_total", "Lookups that began anew because the table was resized.",
			func(s *control.ConntrackStats) uint64 { return s.SearchRestart }),
		stat("natd_conntrack_clash_resolve_total", "Connections that two packets began at the same time.",
			func(s *control.ConntrackStats) uint64 { return s.ClashResolve }),
		stat("natd_conntrack_chain_too_long_total", "New connections refused because a chain of the hash table is too long.",
			func(s *control.ConntrackStats) uint64 { return s.ChainTooLong }),
	}
}

// enaMetrics has series where an interface has Amazon's driver.
func enaMetrics() []Metric {
	return []Metric{
		{
			Name: "natd_ena_allowance_exceeded_total", Type: Counter, Labels: []string{"device", "allowance"},
			Help: "Packets that AWS queued or dropped because the instance exceeded this allowance.",
			read: func(v *view, out *series) {
				for i := range v.Host.ENA {
					e := &v.Host.ENA[i]
					for _, allowance := range slices.Sorted(maps.Keys(e.Exceeded)) {
						out.count(e.Exceeded[allowance], e.Device, allowance)
					}
				}
			},
		},
		{
			Name: "natd_ena_conntrack_allowance_available", Type: Gauge, Labels: []string{"device"},
			Help: "Connections that AWS still tracks for the instance before it drops new ones.",
			read: func(v *view, out *series) {
				for i := range v.Host.ENA {
					if e := &v.Host.ENA[i]; e.ConntrackAvailable != nil {
						out.count(*e.ConntrackAvailable, e.Device)
					}
				}
			},
		},
	}
}

func nameMetrics() []Metric {
	labels := []string{"name", "family"}
	each := func(write func(*control.Name, *series)) func(*view, *series) {
		return func(v *view, out *series) {
			for i := range v.Names {
				write(&v.Names[i], out)
			}
		}
	}
	return []Metric{
		{
			Name: "natd_dns_addresses", Type: Gauge, Labels: labels, Help: "Addresses of the name that are in use, perhaps from an answer of long ago.",
			read: each(func(n *control.Name, out *series) { out.add(float64(len(n.Addresses)), n.Name, n.Family) }),
		},
		{
			Name: "natd_dns_last_success_timestamp_seconds", Type: Gauge, Labels: labels, Help: "When the name was last answered; 0 when it was not since natd started.",
			read: each(func(n *control.Name, out *series) { out.time(n.AnsweredAt, n.Name, n.Family) }),
		},
		{
			Name: "natd_dns_failures_total", Type: Counter, Labels: labels, Help: "Questions for the name that had no good answer.",
			read: each(func(n *control.Name, out *series) { out.count(n.Failures, n.Name, n.Family) }),
		},
	}
}
