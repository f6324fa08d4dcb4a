package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"natd/bench/measure"
	"natd/bench/report"
	"natd/bench/rival"
	"natd/internal/lab"
)

// TestControlPlane lets candidates live a short life, and wants every figure of natd.
func TestControlPlane(t *testing.T) {
	programs := build(t)
	path := filepath.Join(t.TempDir(), "result.json")
	var out strings.Builder
	args := []string{
		"-bin", programs, "-quick", "-heats", "1", "-rounds", "1", "-relays", "10", "-only", "^(map|natd|natd-observed|natd-guard)$",
		"-measure", "^(" + strings.Join(controlNames(), "|") + ")$", "-json", path,
	}
	lab.Check(t, run(t.Context(), args, &out, t.Output()))
	text, err := os.ReadFile(path)
	lab.Check(t, err)
	var r report.Report
	lab.Check(t, json.Unmarshal(text, &r))
	mayBeNone := []string{measure.ReloadFailed, measure.ReloadBroken, measure.EventLost}
	for _, s := range r.Summaries {
		none := slices.Contains(mayBeNone, s.Measure)
		if s.Note == "" && s.Median <= 0 && !none || s.Note != "" && s.Candidate != rival.Reference {
			t.Errorf("%s of %s is %v %s", s.Measure, s.Candidate, s.Median, s.Note)
		}
	}
	for _, v := range r.Verdicts {
		if strings.HasSuffix(v.What, ", 10 relays") && !v.Taken && v.Of.Job == "10 relays" && v.To == nil {
			t.Errorf("the goal %q is not measured", v.What)
		}
		if (v.Of.Measure == measure.ReloadFailed || v.Of.Measure == measure.ReloadBroken) && v.Taken && !v.Met {
			t.Errorf("%s: %v", v.What, v.Value)
		}
	}
	if !strings.Contains(out.String(), "## Goals") || !strings.Contains(out.String(), "## "+controlPlane) {
		t.Errorf("the report lacks a part:\n%s", out.String())
	}
}

// controlNames are the names of the measures of the control plane.
func controlNames() []string {
	return slices.DeleteFunc(measureNames(), func(name string) bool {
		return slices.ContainsFunc(measure.Data(measure.Lengths{}), func(m measure.Measure) bool { return m.Name == name })
	})
}
