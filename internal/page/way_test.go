package page_test

import (
	"strings"
	"testing"
	"time"

	"natd/internal/control"
	"natd/internal/page"
)

// TestBreaks wants the picture to be broken where the fault is, and nowhere else.
func TestBreaks(t *testing.T) {
	t.Parallel()
	because := func(reason string) func(time.Time) *control.Status {
		return func(now time.Time) *control.Status { return degrade(healthy(now), control.RelayDegraded, reason) }
	}
	unanswered := func(now time.Time) *control.Status {
		s := healthy(now)
		r := &s.Relays[0]
		r.Connections.Active, r.Connections.Unreplied = 0, 7
		r.Backends = r.Backends[:1]
		r.Backends[0].Active, r.Backends[0].Unreplied = 0, 7
		return s
	}
	for name, c := range map[string]struct {
		make func(time.Time) *control.Status
		want string // "" = nowhere
	}{
		"healthy":            {healthy, ""},
		"backend down":       {backendDown, "It breaks between this host and 10.3.0.101:80."},
		"every backend down": {everyBackendDown, "It breaks between this host and 10.3.0.100:80, 10.3.0.101:80, 10.3.0.102:80."},
		"every one drained":  {drained, "New connections end at this host: no target takes them."},
		"address missing":    {addressMissing, "It breaks on this host."},
		"port taken":         {withheld, "It breaks on this host."},
		"no route":           {noRoute, "It breaks between this host and 10.3.0.100:80."},
		"not in sync":        {notInSync, "It breaks on this host."},
		"forwarding off":     {forwardOff, "It breaks on this host."},
		"no answer":          {unanswered, ""}, // it may be the target, or what its clients want: marked, not broken
		"running out":        {because("48384 of 64512 source ports of 10.2.0.100 towards 10.3.0.100:80 are in use: add addresses to snat, or backends"), ""},
		"its family":         {because("no backend takes new connections over IPv6, so they are refused"), ""},
		"host and backend": {func(now time.Time) *control.Status {
			return degradeHere(backendDown(now), "backend 10.3.0.101:80 is down: x; the host does not forward IPv4")
		}, "It breaks on this host."},
		"a name, last answer": {because("db.internal: keeping its last answer: 10.2.0.2:53: no answer within 5s"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body := text(t, page.New(source(c.make)), "/?part=main&open=web")
			_, got, _ := strings.Cut(body, `<span class="break">`)
			got, _, _ = strings.Cut(got, "</span>")
			if got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
			signs := strings.Count(body, `<g class="cross"`)
			if broken := strings.HasPrefix(c.want, "It breaks"); broken != (signs > 0) {
				t.Errorf("%d signs of a break, and it says %q", signs, c.want)
			}
		})
	}
}

// TestBehindBreaks does the same for a gateway and a static.
func TestBehindBreaks(t *testing.T) {
	t.Parallel()
	const route, egress = "0.0.0.0/0 cannot be reached: no route", "egress ens6: no such interface"
	for want, faults := range map[string]control.Faults{
		"It breaks between this host and 0.0.0.0/0.": {Target: route},
		"It breaks on this host.":                    {Host: egress},
		`<span class="hidden">`:                      {},
	} {
		body := text(t, page.New(source(func(now time.Time) *control.Status {
			s := healthy(now)
			s.Gateways[0].State, s.Gateways[0].Reason, s.Gateways[0].Faults = control.RelayDegraded, route+"; "+egress, faults
			return s
		})), "/?part=main&open=private-subnets")
		if !strings.Contains(body, want) || strings.Contains(body, "breaks") != (faults != control.Faults{}) {
			t.Errorf("%+v: the page does not say %q", faults, want)
		}
	}
}
