package main

import (
	"fmt"

	"natd/bench/arena"
	"natd/bench/measure"
	"natd/bench/report"
	"natd/bench/rival"
)

// Sizes that goals are set for.
const (
	few  = 10
	many = 100_000
)

// goals are what natd is to reach. Those of the data path are for the most relays of a run.
func goals(p plan) []report.Goal {
	return append(dataGoals(p), controlGoals()...)
}

func dataGoals(p plan) (all []report.Goal) {
	most := arena.Job{}
	for _, j := range p.jobs {
		if j.Prefixes == 0 && j.Relays > most.Relays {
			most = j
		}
	}
	job, natd := describe(most), rival.PlainNatd().Name()
	for _, g := range []struct {
		what, measure, to string
		limit             float64
		sense             report.Sense
	}{
		{"an established packet, to the best ruleset by hand", measure.PacketCost, rival.Reference, 1.03, report.AtMost},
		{"TCP throughput, to plain routing with connection tracking", measure.Throughput(1), rival.RoutedTracked().Name(), 0.95, report.AtLeast},
		{"new connections, to the best ruleset by hand", measure.Connections, rival.Reference, 0.97, report.AtLeast},
	} {
		all = append(all, report.Goal{
			What: fmt.Sprintf("%s, %s", g.what, job), Limit: g.limit, Sense: g.sense,
			Of: report.Of{Measure: g.measure, Job: job, Candidate: natd}, To: report.Of{Measure: g.measure, Job: job, Candidate: g.to},
		})
	}
	return append(all, report.Goal{
		What: "new connections, the last of 100,000 relays to the only one", Limit: 0.97, Sense: report.AtLeast,
		Of: report.Of{Measure: measure.Connections, Job: describe(arena.Job{Relays: many}), Candidate: natd},
		To: report.Of{Measure: measure.Connections, Job: describe(arena.Job{Relays: 1}), Candidate: natd},
	})
}

func controlGoals() (all []report.Goal) {
	natd, guarded, observed := rival.PlainNatd().Name(), rival.GuardedNatd().Name(), rival.ObservedNatd().Name()
	for _, g := range []struct {
		what, measure, candidate, to, unit string
		relays                             int
		sense                              report.Sense
		limit                              float64
	}{
		{"start until the first packet is relayed", measure.Start, natd, "", "ms", few, report.Below, 100},
		{"load the ruleset in one transaction, to nft -f", measure.LoadRuleset, measure.ByNatd, measure.ByNft, "", many, report.AtMost, 0.4},
		{"read back and compare, to nft -j list", measure.ReadRuleset, measure.ByNatd, measure.ByNft, "", many, report.AtMost, 0.1},
		{"change one relay, from the file to the kernel", measure.ChangeTime, natd, "", "ms", many, report.Below, 250},
		{"change one relay, the kernel's part", measure.ChangeKernel, natd, "", "ms", many, report.Below, 10},
		{"repaired after nft flush ruleset", measure.Heal, guarded, "", "ms", few, report.Below, 50},
		{"repaired after nft flush ruleset", measure.Heal, guarded, "", "ms", many, report.Below, 1000},
		{"connections that failed during reloads under load", measure.ReloadFailed, natd, "", "", few, report.AtMost, 0},
		{"connections that failed during reloads under load", measure.ReloadFailed, natd, "", "", many, report.AtMost, 0},
		{"long-lived connections that reloads under load broke", measure.ReloadBroken, natd, "", "", few, report.AtMost, 0},
		{"long-lived connections that reloads under load broke", measure.ReloadBroken, natd, "", "", many, report.AtMost, 0},
		// A tenth of a core at 15,000 connections a second.
		{"what natd has to do to count a connection", measure.EventCost, observed, "", "us", few, report.Below, 6.67},
		{"events that connection tracking lost", measure.EventLost, observed, "", "", few, report.AtMost, 0},
		{"resident memory", measure.Memory, natd, "", "MiB", few, report.Below, 20},
		{"resident memory", measure.Memory, natd, "", "MiB", many, report.Below, 150},
		{"natctl status", measure.StatusTime, natd, "", "ms", many, report.Below, 1000},
		{"natctl plan", measure.PlanTime, natd, "", "ms", many, report.Below, 1000},
	} {
		job := describe(arena.Job{Relays: g.relays})
		goal := report.Goal{
			What: fmt.Sprintf("%s, %s", g.what, job), Unit: g.unit, Limit: g.limit, Sense: g.sense,
			Of: report.Of{Measure: g.measure, Job: job, Candidate: g.candidate},
		}
		if g.to != "" {
			goal.To = report.Of{Measure: g.measure, Job: job, Candidate: g.to}
		}
		all = append(all, goal)
	}
	return all
}
