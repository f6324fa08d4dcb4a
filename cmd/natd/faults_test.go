package main

import (
	"errors"
	"fmt"
	"net/netip"
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
	for _, a := range areas() {
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

// faultLab is a lab in which faults follow each other.
type faultLab struct {
	*box
	nginx *lab.Nginx
	dns   *lab.Teller
	hosts map[string]*lab.Host

	harmed []harm // by the fault that it has
}

// usual is natd's configuration between faults.
const usual = `
[daemon]
protect = "off"
resolver = "10.2.0.1:53"

[[relay]]
name = "web"
listen = "10.2.0.100:80"
from = ["10.1.0.0/16"]
to = ["10.3.0.100:80"]

[[relay]]
name = "dns"
listen = "10.2.0.100:53"
protocol = "udp"
to = ["10.3.0.100:53"]

[[relay]]
name = "web6"
listen = "[fd00:10:2::100]:80"
to = ["[fd00:10:3::100]:80"]
`

// web is the usual configuration with other lines for the relay web.
func web(lines ...string) string {
	const listen = `listen = "10.2.0.100:80"` + "\n" + `from = ["10.1.0.0/16"]` + "\n" + `to = ["10.3.0.100:80"]` + "\n"
	before, after, _ := strings.Cut(usual, listen)
	text := listen
	for _, line := range lines { // a line replaces the one of its key
		key, _, _ := strings.Cut(line, " ")
		var kept []string
		for l := range strings.SplitSeq(strings.TrimSpace(text), "\n") {
			if !strings.HasPrefix(l, key+" ") {
				kept = append(kept, l)
			}
		}
		text = strings.Join(append(kept, line), "\n") + "\n"
	}
	return before + text + after
}

// newFaultLab makes a lab whose relays work.
func newFaultLab(t *testing.T) *faultLab {
	t.Helper()
	lab.Require(t, "nginx", "curl", "nft", "iptables", "ip6tables", "conntrack", "ip", "sysctl")
	l := &faultLab{box: newBox(t)}
	l.hosts = map[string]*lab.Host{"A": l.A, "B": l.B, "C": l.C, "R": l.R}
	var err error
	l.nginx, err = l.C.StartNginx(t.Context(), netip.MustParseAddrPort("10.3.0.100:80"), netip.MustParseAddrPort("[fd00:10:3::100]:80"))
	lab.Check(t, err)
	l.dns, err = l.C.TellUDP("10.3.0.100:53", "C")
	lab.Check(t, err)
	l.start(usual)
	lab.Check(t, l.fetch(t.Context()))
	return l
}

// suffer lets the lab have the faults, one after the other.
func (l *faultLab) suffer(t *testing.T, faults []fault) {
	t.Helper()
	for i := range faults {
		f := &faults[i]
		t.Run(f.name, func(t *testing.T) {
			again := *l
			again.box = new(box)
			*again.box = *l.box
			again.t = t
			defer func() { l.natd, l.nginx, l.dns = again.natd, again.nginx, again.dns }()
			again.have(f)
		})
	}
}

// have injects one fault, asks, mends it, and asks again.
func (l *faultLab) have(f *fault) {
	l.t.Helper()
	defer l.mend(f)
	l.inject(f)
	if !f.during && !f.watch {
		l.tries(f)
	}
	r, code := l.asks(f)
	l.judge(f, r, code)
	if f.paste != "" && !l.t.Failed() {
		l.pastes(f, r)
		l.reaches(f)
		l.blames(f, f.also)
	}
}

func (l *faultLab) inject(f *fault) {
	l.t.Helper()
	if f.config != "" {
		l.take(f.config)
	}
	for _, h := range f.harms {
		l.harmed = append(l.harmed, h)
		lab.Check(l.t, l.apply(h.on, h.do, h.act))
	}
}

// mend takes the fault back, and wants everything to be well.
func (l *faultLab) mend(f *fault) {
	l.t.Helper()
	for _, h := range slices.Backward(l.harmed) {
		if err := l.apply(h.on, h.undo, h.cure); err != nil {
			l.t.Error(err)
		}
	}
	if f.config != "" {
		l.take(usual)
	}
	l.harmed = nil
	if f.stays {
		return
	}
	l.awaitReady()
	mended := fault{}
	if f.config == "" {
		mended.dial, mended.ask = f.dial, f.ask
	}
	l.wantHealthy(&mended)
}

// take makes natd take a configuration, which may have a fault.
func (l *faultLab) take(config string) {
	l.t.Helper()
	l.configure(config)
	if out, errs, code := l.natctl("reload"); code != control.CodeOK && code != control.CodeDegraded {
		l.t.Fatalf("natctl reload exits %d: %s%s", code, out, errs)
	}
}

func (l *faultLab) apply(host, command string, f func(*faultLab) error) error {
	switch {
	case f != nil:
		return f(l)
	case command == "":
		return nil
	}
	_, err := l.hosts[host].Run(l.t.Context(), "sh", "-ec", command)
	return err
}

// attempt is one attempt of the client.
func (l *faultLab) attempt(f *fault, within time.Duration) error {
	if f.dial != nil {
		return f.dial(l, within)
	}
	return fetchFrom("10.2.0.100")(l, within)
}

// futile is how long a client tries what does not work: its second SYN comes after a second, and connection tracking tells seconds apart.
const futile = 1300 * time.Millisecond

// tries lets a client meet the fault.
func (l *faultLab) tries(f *fault) {
	l.t.Helper()
	if f.works {
		l.reaches(f)
	} else if l.attempt(f, futile) == nil {
		l.t.Error("the client gets through in spite of the fault")
	}
}

// reaches wants the client to get through.
func (l *faultLab) reaches(f *fault) {
	l.t.Helper()
	lab.Eventually(l.t, patience, func() error { return l.attempt(f, 2*time.Second) })
}

// asks runs natctl diagnose.
func (l *faultLab) asks(f *fault) (*diagnose.Report, int) {
	l.t.Helper()
	switch {
	case f.watch:
		return l.watch(func() { l.tries(f) }, f.asked()...)
	case f.during:
		ended := make(chan error, 1)
		go func() { ended <- l.attempt(f, 5*time.Second) }()
		lab.Eventually(l.t, patience, func() error {
			entries, err := l.B.Conntrack(l.t.Context(), "-s", "10.1.0.100")
			if err == nil && !slices.ContainsFunc(entries, func(e string) bool { return strings.Contains(e, "SYN_RECV") }) {
				err = errors.New("no connection waits")
			}
			return err
		})
		defer func() {
			if err := <-ended; err == nil {
				l.t.Error("the client gets through in spite of the fault")
			}
		}()
	}
	return l.diagnose(f.asked()...)
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

// dialUDP asks the name server's stand-in, through the relay dns.
func dialUDP(l *faultLab, within time.Duration) error {
	c, err := l.A.Dial(l.t.Context(), "udp", "10.2.0.100:53")
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = lab.Ask(c, within)
	return err
}

// dial6 fetches the page over IPv6.
func dial6(l *faultLab, within time.Duration) error { return fetchFrom("[fd00:10:2::100]")(l, within) }

// fetchFrom fetches the page from an address of a relay.
func fetchFrom(addr string) dial {
	return func(l *faultLab, within time.Duration) error {
		_, err := l.A.Curl(l.t.Context(), "http://"+addr+"/", "--max-time", fmt.Sprint(within.Seconds()))
		return err
	}
}
