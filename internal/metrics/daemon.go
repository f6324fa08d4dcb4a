package metrics

import "natd/internal/control"

// aboutAnswers is the metrics that there are also while natd does not answer.
func aboutAnswers() []Metric {
	return []Metric{
		{
			Name: "natd_up", Type: Gauge, Help: "1 when natd told its status for this scrape. 0 when it was too busy or hangs: then there is nothing but this.",
			read: func(v *view, out *series) { out.flag(v.Status != nil) },
		},
		{
			Name: "natd_info", Type: Gauge, Help: "1. The label says which natd it is.", Labels: []string{"version"},
			read: func(v *view, out *series) { out.flag(true, v.version) },
		},
	}
}

func daemonMetrics() []Metric {
	return append(aboutAnswers(), []Metric{
		{
			Name: "natd_state", Type: Gauge, Help: "1 for the state that natd is in, 0 for the others.", Labels: []string{"state"},
			read: func(v *view, out *series) {
				out.states(v.State, []string{control.StateReady, control.StateDegraded, control.StateFailed})
			},
		},
		{
			Name: "natd_ready", Type: Gauge, Help: "1 when the rules were read back from the kernel and are as they should be: what /readyz says.",
			read: func(v *view, out *series) { out.flag(Ready(v.Status)) },
		},
		{
			Name: "natd_config_loaded_timestamp_seconds", Type: Gauge, Help: "When the configuration that runs was loaded.",
			read: func(v *view, out *series) { out.time(v.Config.LoadedAt) },
		},
		{
			Name: "natd_config_last_reload_successful", Type: Gauge, Help: "0 when the last reload was refused and an older configuration goes on.",
			read: func(v *view, out *series) { out.flag(v.Config.Error == "") },
		},
		{
			Name: "natd_accounting_exact", Type: Gauge, Help: "1 when connections that have ended are counted, too.",
			read: func(v *view, out *series) { out.flag(v.Accounting.Exact) },
		},
		{
			Name: "natd_accounting_start_timestamp_seconds", Type: Gauge, Help: "When the counts of connections, bytes and packets began, over restarts of natd.",
			read: func(v *view, out *series) { out.time(v.Accounting.Since) },
		},
		{
			Name: "natd_conntrack_events_lost_total", Type: Counter, Help: "Times that the kernel dropped events of connections because natd was too slow.",
			read: func(v *view, out *series) { out.sum(v.Accounting.Exact, v.Accounting.Lost) },
		},
	}...)
}

// Ready tells whether the kernel holds what the configuration asks for, as far as it can be had: natd is ready, or it is degraded with
// its rules in sync.
func Ready(s *control.Status) bool {
	return s.Ruleset.InSync && (s.State == control.StateReady || s.State == control.StateDegraded)
}

func rulesetMetrics() []Metric {
	return []Metric{
		{
			Name: "natd_in_sync", Type: Gauge, Help: "1 when natd's table was read from the kernel and is as it should be.",
			read: func(v *view, out *series) { out.flag(v.Ruleset.InSync) },
		},
		{
			Name: "natd_last_sync_timestamp_seconds", Type: Gauge, Help: "When natd's table was last seen to be as it should be.",
			read: func(v *view, out *series) { out.time(v.Ruleset.LastSync) },
		},
		{
			Name: "natd_sync_duration_seconds", Type: Histogram, Help: "How long it took to bring the kernel in line, from the look at its tables to the proof.",
			read: func(v *view, out *series) { out.histogram(&v.Ruleset.Syncs.Durations) },
		},
		{
			Name: "natd_sync_failures_total", Type: Counter, Help: "Attempts to bring the kernel in line that failed.",
			read: func(v *view, out *series) { out.count(v.Ruleset.Syncs.Failures) },
		},
		{
			Name: "natd_drift_repairs_total", Type: Counter, Labels: []string{"kind"},
			Help: "Repairs of what others changed in natd's table (ruleset) or turned off (host), and of relays that followed the network (network).",
			read: func(v *view, out *series) {
				out.count(v.Ruleset.Repairs.Ruleset, "ruleset")
				out.count(v.Ruleset.Repairs.Host, "host")
				out.count(v.Ruleset.Repairs.Network, "network")
			},
		},
	}
}

func recordMetrics() []Metric {
	return []Metric{
		{
			Name: "natd_flow_log_records_total", Type: Counter, Help: "Records written to the flow log.",
			read: flowLog(func(l *control.FlowLog, out *series) { out.count(l.Records) }),
		},
		{
			Name: "natd_flow_log_dropped_total", Type: Counter, Help: "Records that were not written to the flow log: the disk was full or slow.",
			read: flowLog(func(l *control.FlowLog, out *series) { out.count(l.Dropped) }),
		},
		{
			Name: "natd_flow_log_last_write_timestamp_seconds", Type: Gauge, Help: "When the flow log was last written to.",
			read: flowLog(func(l *control.FlowLog, out *series) { out.time(l.LastWrite) }),
		},
		{
			Name: "natd_flow_log_last_write_successful", Type: Gauge, Help: "0 when the last write to the flow log failed.",
			read: flowLog(func(l *control.FlowLog, out *series) { out.flag(l.Error == "") }),
		},
	}
}

// flowLog reads nothing where there is no flow log.
func flowLog(read func(*control.FlowLog, *series)) func(*view, *series) {
	return func(v *view, out *series) {
		if v.FlowLog != nil {
			read(v.FlowLog, out)
		}
	}
}
