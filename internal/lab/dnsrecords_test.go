package lab

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

const zoneName = "app.internal"

// look asks a zone for a name, with dig, and returns the status and the addresses with their time to live.
func look(ctx context.Context, h *Host, kind string, network ...string) (string, error) {
	out, err := h.Run(ctx, "dig", append(network, "+tries=1", "+time=2", "+noall", "+comments", "+answer", "@10.3.0.100", zoneName, kind)...)
	if err != nil {
		return "", err
	}
	var got []string
	for _, line := range lines(out) {
		if _, after, ok := strings.Cut(line, "status: "); ok {
			status, _, _ := strings.Cut(after, ",")
			got = append(got, status)
		}
		if fields := strings.Fields(line); len(fields) == 5 && fields[3] == kind {
			got = append(got, fields[1]+"s", fields[4])
		}
	}
	return strings.Join(got, " "), nil
}

// TestZone changes what a name server says while it runs: each answer is there when Set returns.
func TestZone(t *testing.T) {
	t.Parallel()
	Require(t, "dnsmasq", "dig")
	p := New(t)
	addrs := func(list ...string) Answer {
		var a Answer
		for _, s := range list {
			a.Addrs = append(a.Addrs, netip.MustParseAddr(s))
		}
		return a
	}
	steps := []struct {
		name    string
		answers map[string]Answer
		a, aaaa string
	}{
		{"both families", map[string]Answer{zoneName: addrs("10.3.0.101", "fd00:10:3::101")}, "NOERROR 3s 10.3.0.101", "NOERROR 3s fd00:10:3::101"},
		{"another", map[string]Answer{zoneName: addrs("10.3.0.102")}, "NOERROR 3s 10.3.0.102", "NOERROR"},
		{"SERVFAIL", map[string]Answer{zoneName: {Fail: true}}, "SERVFAIL", "SERVFAIL"},
		{"empty", map[string]Answer{zoneName: {}}, "NOERROR", "NOERROR"},
		{"NXDOMAIN", nil, "NXDOMAIN", "NXDOMAIN"},
		{"back", map[string]Answer{zoneName: addrs("10.3.0.101"), "other.internal": {Fail: true}}, "NOERROR 3s 10.3.0.101", "NOERROR"},
	}
	z, err := p.C.StartZone(t.Context(), netip.MustParseAddrPort("10.3.0.100:53"), 3*time.Second, nil)
	Check(t, err)
	for _, step := range steps {
		Check(t, z.Set(t.Context(), step.answers))
		networks := []string{"+notcp", "+tcp"}
		if step.a == "SERVFAIL" {
			networks = networks[:1]
		}
		for _, network := range networks {
			for kind, want := range map[string]string{"A": step.a, "AAAA": step.aaaa} {
				got, err := look(t.Context(), p.B, kind, network)
				if err != nil || got != want {
					t.Errorf("%s, %s, %s: got %q (%v), want %q", step.name, kind, network, got, err, want)
				}
			}
		}
	}
	Eventually(t, patience, func() error {
		if got, want := z.Queries(zoneName), 4*len(steps)-2; got != want {
			return fmt.Errorf("the server counts %d queries, want %d", got, want)
		}
		return nil
	})
	Check(t, z.Stop())
	if got, err := look(t.Context(), p.B, "A"); err == nil {
		t.Errorf("a stopped server says %q", got)
	}
	Check(t, z.Restart(t.Context()))
	if got, err := look(t.Context(), p.B, "A"); err != nil || got != steps[len(steps)-1].a {
		t.Errorf("after its return it says %q (%v)", got, err)
	}
}
