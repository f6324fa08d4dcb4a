package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"natd/internal/control"
	"natd/internal/diagnose"
	"natd/internal/lab"
)

// faultLab is a lab in which faults follow each other.
type faultLab struct {
	*box
	nginx *lab.Nginx
	dns   *lab.Teller
	hosts map[string]*lab.Host

	harmed []harm // by the fault that it has
}

// labRelay is the relay that most questions are about, and what natd needs beside it in a lab.
const labRelay = `
[daemon]
protect = "off"
resolver = "10.2.0.1:53"

[[relay]]
name = "web"
listen = "10.2.0.100:80"
from = ["10.1.0.0/16"]
to = ["10.3.0.100:80"]
`

// usual is natd's configuration between faults.
const usual = labRelay + `
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
	l.reaches(&fault{})
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
	if f.paste != "" && f.config == "" && f.also == nil && !l.t.Failed() {
		l.reaches(f) // natctl diagnose has been silent since the remedy was pasted
		return
	}
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
		// The target answers what it could not answer before the last fault was mended, too: that was another attempt.
		before, err := l.B.Conntrack(l.t.Context(), "-s", "10.1.0.100")
		lab.Check(l.t, err)
		ended := make(chan error, 1)
		go func() { ended <- l.attempt(f, 5*time.Second) }()
		lab.Eventually(l.t, patience, func() error {
			entries, err := l.B.Conntrack(l.t.Context(), "-s", "10.1.0.100")
			waits := func(e string) bool {
				return strings.Contains(e, "SYN_RECV") && !slices.ContainsFunc(before, func(o string) bool { return clientPort(o) == clientPort(e) })
			}
			if err == nil && !slices.ContainsFunc(entries, waits) {
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

// clientPort is the port of the client in a line of conntrack.
func clientPort(entry string) string {
	_, rest, _ := strings.Cut(entry, "sport=")
	port, _, _ := strings.Cut(rest, " ")
	return port
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
