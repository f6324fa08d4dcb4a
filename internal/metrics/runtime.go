package metrics

import (
	"fmt"
	"io"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/expfmt"
)

// Runtime is what the Go runtime and the process say: go_* and process_*.
type Runtime struct {
	registry *prometheus.Registry
}

// NewRuntime makes a Runtime of this process.
func NewRuntime() *Runtime {
	r := &Runtime{registry: prometheus.NewRegistry()}
	r.registry.MustRegister(
		collectors.NewGoCollector(), collectors.NewBuildInfoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return r
}

// Write writes them behind what the function [Write] writes.
func (r *Runtime) Write(w io.Writer) error {
	families, err := r.registry.Gather()
	if err != nil {
		return fmt.Errorf("gather the metrics of the process: %w", err)
	}
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(w, f); err != nil {
			return fmt.Errorf("write metrics: %w", err)
		}
	}
	return nil
}
