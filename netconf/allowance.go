package netconf

import (
	"fmt"
	"net"
	"strings"

	"github.com/safchain/ethtool"
)

// enaDriver is the name of the driver of Amazon's elastic network adapter.
const enaDriver = "ena"

// The names of the counters: ena_stats_eni_strings and ena_hw_stats_strings in ena_ethtool.c of amzn-drivers. What they mean says "Network
// performance metrics for the ENA driver" in the Amazon EC2 User Guide.
const (
	exceededSuffix     = "_allowance_exceeded"
	conntrackAvailable = "conntrack_allowance_available"
)

// Allowances is what the driver of an interface says of the limits of its instance.
type Allowances struct {
	Link     string
	Exceeded map[string]uint64 // packets queued or dropped since the driver was loaded, by allowance: bw_in, bw_out, conntrack, linklocal, pps
	// Available is how many connections the instance may still track; nil with drivers before 2.8.1.
	Available *uint64
}

// Allowances reads them of the interfaces that have Amazon's driver: none elsewhere, and none with drivers before 2.2.10.
func (h *Host) Allowances() (all []Allowances, err error) {
	links, err := h.dumpLinks()
	if err != nil {
		return nil, fmt.Errorf("list the interfaces of the host: %w", err)
	}
	tool, err := ethtool.NewEthtool()
	if err != nil {
		return nil, fmt.Errorf("open a socket for what drivers count: %w", err)
	}
	defer tool.Close()
	for _, l := range links {
		a := l.Attrs()
		if l.Type() != "device" || a.Flags&net.FlagLoopback != 0 {
			continue // made of software: no driver to ask
		}
		if driver, err := tool.DriverName(a.Name); err != nil || driver != enaDriver {
			continue // another driver, or an interface that has just gone
		}
		counters, err := tool.Stats(a.Name)
		if err != nil {
			return nil, fmt.Errorf("read what the driver of %s counts: %w", a.Name, err)
		}
		if one := allowances(a.Name, counters); one != nil {
			all = append(all, *one)
		}
	}
	return all, nil
}

// allowances picks what is about allowances from all counters of a driver; nil when there is none.
func allowances(link string, counters map[string]uint64) *Allowances {
	a := &Allowances{Link: link, Exceeded: make(map[string]uint64)}
	for name, n := range counters {
		if allowance, ok := strings.CutSuffix(name, exceededSuffix); ok {
			a.Exceeded[allowance] = n
		}
	}
	if n, ok := counters[conntrackAvailable]; ok {
		a.Available = &n
	}
	if len(a.Exceeded) == 0 && a.Available == nil {
		return nil
	}
	return a
}
