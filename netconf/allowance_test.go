package netconf

import (
	"maps"
	"os"
	"strings"
	"testing"

	"natd/internal/lab"
)

// TestAllowances reads the counters that ena_ethtool.c of amzn-drivers has, of one queue; the value of each is its line.
func TestAllowances(t *testing.T) {
	t.Parallel()
	names, err := os.ReadFile("testdata/ena.txt")
	lab.Check(t, err)
	counters := make(map[string]uint64)
	for i, name := range strings.Fields(string(names)) {
		counters[name] = uint64(i + 1)
	}
	got := allowances("ens5", counters)
	want := map[string]uint64{"bw_in": 24, "bw_out": 25, "pps": 26, "conntrack": 27, "linklocal": 28}
	if got == nil || got.Link != "ens5" || !maps.Equal(got.Exceeded, want) || got.Available == nil || *got.Available != 29 {
		t.Errorf("read as %+v, want %v and 29 available", got, want)
	}
	delete(counters, conntrackAvailable)
	if got := allowances("ens5", counters); got == nil || got.Available != nil {
		t.Errorf("an older driver is read as %+v", got)
	}
	maps.DeleteFunc(counters, func(name string, _ uint64) bool { return strings.HasSuffix(name, exceededSuffix) })
	if got := allowances("ens5", counters); got != nil {
		t.Errorf("a driver without them is read as %+v", got)
	}
}

// TestNoAllowances looks at a host with interfaces of another driver: nothing is known, and nothing is wrong.
func TestNoAllowances(t *testing.T) {
	t.Parallel()
	p := lab.New(t)
	lab.Check(t, p.B.Do(func() error {
		h, err := Open()
		if err != nil {
			return err
		}
		defer h.Close()
		if all, err := h.Allowances(); err != nil || len(all) > 0 {
			t.Errorf("allowances %+v, %v", all, err)
		}
		return nil
	}))
}
