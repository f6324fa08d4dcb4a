package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"natd/internal/control"
	"natd/internal/diagnose"
	"natd/internal/lab"
)

// The fault lab: each fault is injected with the programs that people break their hosts with, a client shows that the path is
// broken, and natctl diagnose must name the cause first. Then the fault is mended, by the remedy itself where it can be pasted,
// the client gets through, and natctl diagnose must have nothing to say. docs/diagnose.md has the table of all faults.

// fault is something that breaks a path, or what looks as if it did.
type fault struct {
	name   string // as in docs/diagnose.md
	config string // natd's, as long as the fault is there; "" = the usual one
	harms  []harm
	dial   dial     // the client's attempt; nil = the web page
	works  bool     // the client gets through all the same
	stays  bool     // it is in the lab itself: there is nothing to mend
	during bool     // a client tries while the question is asked
	watch  bool     // the client's attempt is watched
	ask    []string // of natctl diagnose; nil = the relay web

	want      diagnose.Code // the cause, "" when all is well
	also      []diagnose.Code
	leg       diagnose.Leg
	direction diagnose.Direction
	shows     string // in the evidence or the summary of the cause
	paste     string // the beginning of a line of the remedy: pasting it mends the fault
	at        string // on which host; "" = B
}

// dial is an attempt of the client, which takes no longer than that.
type dial func(*faultLab, time.Duration) error

// harm breaks something and mends it: shell commands on one of the hosts, or functions.
type harm struct {
	on       string
	do, undo string

	act, cure func(*faultLab) error
}

// on is a harm by shell commands.
func on(host, do, undo string) harm { return harm{on: host, do: do, undo: undo} }

// rules is a harm by a table of nft on host B, whose name is fault.
func rules(family, text string) harm {
	return on("B", fmt.Sprintf("nft -f - <<'END'\ntable %s fault {\n%s\n}\nEND\n", family, text), fmt.Sprintf("nft delete table %s fault", family))
}

// area is a lab and the faults that it has, one after the other.
type area struct {
	run    func(*testing.T)
	faults func() []fault
}

// areas are the labs, those that take longest first.
func areas() []area {
	return []area{
		{faultsOfHost, filterFaults},
		{faultsOfTarget, targetFaults},
		{faultsOfRouter, routerFaults},
		{faultsOfNetwork, func() []fault { return append(networkFaults(), linkFaults()...) }},
		{faultsOfSize, sizeFaults},
		{faultsOfRelay, func() []fault { return append(relayFaults(), backendFaults()...) }},
		{faultsOfDaemon, daemonFaults},
		{faultsOfTwoHosts, twoHostFaults},
		{faultsOfRoom, roomFaults},
		{noFaults, soundCases},
	}
}

// labsAtOnce is how many labs are there at the same time: they wait most of the time.
const labsAtOnce = 4

// TestFaults has all faults.
func TestFaults(t *testing.T) {
	t.Parallel()
	gate := make(chan struct{}, labsAtOnce)
	var wait sync.WaitGroup
	for i, a := range areas() {
		gate <- struct{}{}
		wait.Go(func() {
			defer func() { <-gate }()
			t.Run(fmt.Sprint(i), a.run)
		})
	}
	wait.Wait()
}

// TestFaultsInDocs wants the manual to have the table of the faults, as it is here.
func TestFaultsInDocs(t *testing.T) {
	t.Parallel()
	var table strings.Builder
	table.WriteString("| fault | the first code | and |\n|---|---|---|\n")
	for _, a := range append(areas(), area{faults: kernelFaults}) {
		for _, f := range a.faults() {
			fmt.Fprintf(&table, "| %s | %s | %s |\n", f.name, f.first(), quotedCodes(f.also))
		}
	}
	page, err := os.ReadFile("../../docs/diagnose.md")
	lab.Check(t, err)
	if !strings.Contains(string(page), "\n"+table.String()) {
		t.Errorf("docs/diagnose.md does not have this table:\n%s", table.String())
	}
}

// first is the cause as the manual has it.
func (f *fault) first() string {
	if f.want == "" {
		return "none"
	}
	return quotedCodes([]diagnose.Code{f.want})
}

func quotedCodes(codes []diagnose.Code) string {
	var all []string
	for _, c := range codes {
		all = append(all, "`"+string(c)+"`")
	}
	return strings.Join(all, ", ")
}

// judge compares what was said with what is.
func (l *faultLab) judge(f *fault, r *diagnose.Report, code int) {
	l.t.Helper()
	all := explanations(r)
	if f.want == "" {
		if code != control.CodeOK || !r.NetworkPathFound || len(blamed(all)) > 0 {
			l.t.Errorf("all is well, and diagnose exits %d and says %v:\n%s", code, codes(r), indented(r))
		}
		return
	}
	if code != control.CodeDegraded || r.NetworkPathFound != f.works || len(all) == 0 {
		l.t.Errorf("diagnose exits %d and says %v, want %s:\n%s", code, codes(r), f.want, indented(r))
		return
	}
	want := append([]diagnose.Code{f.want}, f.also...)
	if got := blamed(all); fmt.Sprint(got) != fmt.Sprint(want) {
		l.t.Errorf("diagnose says %v, want %v:\n%s", got, want, indented(r))
	}
	e := all[0]
	if e.ExplanationCode != f.want || f.leg != "" && e.Leg != f.leg || f.direction != "" && e.Direction != f.direction || len(e.Evidence) == 0 || len(e.Remedy) == 0 {
		l.t.Errorf("the cause is %+v, want %s of %s %s with evidence and remedy", e, f.want, f.leg, f.direction)
	}
	if told := e.Summary + "\n" + strings.Join(e.Evidence, "\n"); !strings.Contains(told, f.shows) {
		l.t.Errorf("the evidence is %q, want %q in it", told, f.shows)
	}
}

// explanations are those of the first path that is broken, or of no path.
func explanations(r *diagnose.Report) []diagnose.Explanation {
	for i := range r.Paths {
		if !r.Paths[i].NetworkPathFound {
			return r.Paths[i].Explanations
		}
	}
	if len(r.Paths) > 0 {
		return r.Paths[0].Explanations
	}
	return r.Explanations
}

// blamed is the codes of what is more than possible.
func blamed(all []diagnose.Explanation) (found []diagnose.Code) {
	for _, e := range all {
		if e.Confidence != diagnose.Possible {
			found = append(found, e.ExplanationCode)
		}
	}
	return found
}

// pastes runs the line of the remedy.
func (l *faultLab) pastes(f *fault, r *diagnose.Report) {
	l.t.Helper()
	for _, e := range explanations(r) {
		for _, line := range e.Remedy {
			if !strings.HasPrefix(line, f.paste) {
				continue
			}
			if args, ours := strings.CutPrefix(line, "natctl "); ours {
				if out, errs, code := l.natctl(strings.Fields(args)...); code != control.CodeOK {
					l.t.Errorf("%s exits %d: %s%s", line, code, out, errs)
				}
				return
			}
			host := "B"
			if f.at != "" {
				host = f.at
			}
			lab.Check(l.t, l.apply(host, line, nil))
			return
		}
	}
	l.t.Errorf("no remedy begins with %q:\n%s", f.paste, indented(r))
}

// wantHealthy wants the client to get through, and natctl diagnose to be silent.
func (l *faultLab) wantHealthy(f *fault) {
	l.t.Helper()
	l.reaches(f)
	l.blames(f, nil)
}

// blames wants natctl diagnose to name these causes, and no other.
func (l *faultLab) blames(f *fault, want []diagnose.Code) {
	l.t.Helper()
	exits := control.CodeOK
	if len(want) > 0 {
		exits = control.CodeDegraded
	}
	if r, code := l.diagnose(f.asked()...); code != exits || !r.NetworkPathFound || !slices.Equal(codes(r), want) {
		l.t.Errorf("it works, and diagnose exits %d and says %v, want %v:\n%s", code, codes(r), want, indented(r))
	}
}

// asked is the arguments of natctl diagnose.
func (f *fault) asked() []string {
	if f.ask == nil {
		return []string{"web"}
	}
	return f.ask
}
