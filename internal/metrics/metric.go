package metrics

import (
	"slices"

	"natd/internal/control"
)

// The types of metrics, as the text format calls them.
const (
	Counter   = "counter"
	Gauge     = "gauge"
	Histogram = "histogram"
)

// Metric is one metric of natd.
type Metric struct {
	Name   string
	Type   string // Counter | Gauge | Histogram
	Help   string
	Labels []string
	read   func(*view, *series)
}

// Catalogue is every metric that natd has, but for those of [Runtime], in the order in which they are written. Not every natd has
// series of each.
func Catalogue() []Metric {
	return slices.Concat(
		daemonMetrics(), rulesetMetrics(), hostMetrics(), enaMetrics(), nameMetrics(),
		relayMetrics(), backendMetrics(), probeMetrics(), gatewayMetrics(), staticMetrics(), recordMetrics(),
	)
}

// view is a status, made ready for being read many times.
type view struct {
	*control.Status
	version  string
	backends []backend
}

// backend is a backend with the labels that tell it from all others.
type backend struct {
	*control.Backend
	relay, label string
	exact        bool // what has ended is in the counts
}

// newView finds the backends. One that two names lead to is counted once: both say the same.
func newView(version string, s *control.Status) *view {
	v := &view{Status: s, version: version}
	if s == nil {
		return v
	}
	seen := make(map[string]bool)
	for i := range s.Relays {
		r := &s.Relays[i]
		clear(seen)
		for j := range r.Backends {
			b := backend{&r.Backends[j], r.Name, r.Backends[j].Address, s.Accounting.Exact}
			if b.label == "" {
				b.label = b.Name // a name that has no address yet
			}
			if !seen[b.label] {
				seen[b.label] = true
				v.backends = append(v.backends, b)
			}
		}
	}
	return v
}
