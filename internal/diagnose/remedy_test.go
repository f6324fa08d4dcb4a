package diagnose

import (
	"net/netip"
	"strings"
	"testing"

	"natd/internal/probe"
	"natd/netconf"
)

// TestRemedies holds what somebody in a hurry pastes: it must fit what is known, and name nothing that is only guessed.
func TestRemedies(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name       string
		change     func(*Evidence, *Way)
		want, bans string
	}{
		{"no table, natd at work", func(e *Evidence, w *Way) { e.Table.Exists, w.InKernel = false, false }, "natctl reload", "systemctl restart natd"},
		{"no table, no natd", func(e *Evidence, w *Way) { stopped(e); e.Table.Exists, w.InKernel = false, false }, "systemctl restart natd", "natctl reload"},
		{"a ping is answered", func(e *Evidence, w *Way) {
			mute(e)
			w.Ping = &Answer{probe.Outcome{Kind: probe.Answered}, addr("10.2.0.100")}
		}, "authorize-security-group-ingress", "create-route"},
		{"no ping is answered", func(e *Evidence, _ *Way) { mute(e) }, "create-route", "nft insert"},
		{"the neighbour is silent", func(_ *Evidence, w *Way) {
			w.Neighbour = Neighbour{Addr: addr("10.3.0.100"), Link: "ens6", State: "FAILED"}
			w.Probe = unreachableBy("10.2.0.100", 1)
		}, "ip neigh show 10.3.0.100 dev ens6", "last hop"},
		{"a route that refuses", func(_ *Evidence, w *Way) {
			w.Out, w.Probe, w.Onward = Route{Kind: RouteNone, Err: "no route", By: "unreachable 10.3.0.100/32"}, nil, nil
		}, "ip route del unreachable 10.3.0.100/32", "ip route add"},
		{"no route, one interface", func(e *Evidence, w *Way) {
			e.Host.Links = []Link{link("ens5")}
			w.Out, w.Probe, w.Onward = Route{Kind: RouteNone, Err: "no route"}, nil, nil
		}, "dev ens5", "<interface>"},
		{"no route, two interfaces", func(e *Evidence, w *Way) {
			e.Host.Links = []Link{link("ens5"), link("ens6")}
			w.Out, w.Probe, w.Onward = Route{Kind: RouteNone, Err: "no route"}, nil, nil
		}, "via <gateway> dev <interface>", "dev ens"},
		{"nothing came, of nobody in particular", func(_ *Evidence, w *Way) {
			w.Client = Client{Addr: addr("10.1.0.100"), How: Tracked}
			w.Attempt = &Attempt{}
		}, "<address of the client>", "CidrIp=10.1.0.100"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ev := well()
			tt.change(ev, &ev.Ways[0])
			found := foundIn(Conclude(ev))
			if len(found) == 0 {
				t.Fatal("nothing is found")
			}
			text := strings.Join(found[0].Remedy, "\n")
			if !strings.Contains(text, tt.want) || strings.Contains(text, tt.bans) {
				t.Errorf("%s: want %q, not %q, got:\n%s", found[0].ExplanationCode, tt.want, tt.bans, text)
			}
		})
	}
}

func link(name string) Link {
	return Link{Device: netconf.Device{Name: name, Up: true, Carrier: true}, Addrs: []netip.Addr{addr("10.2.0.100")}}
}
