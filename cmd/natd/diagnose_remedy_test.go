package main

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"natd/internal/control"
	"natd/internal/diagnose"
	"natd/internal/lab"
)

// TestDiagnoseRemedies pastes the remedies into a shell, and wants the relay to work again.
func TestDiagnoseRemedies(t *testing.T) {
	t.Parallel()
	lab.Require(t, "iptables-nft")
	b := newBox(t)
	_, err := b.C.StartNginx(t.Context(), netip.MustParseAddrPort("10.3.0.100:80"))
	lab.Check(t, err)
	lab.Check(t, b.B.SetSysctl("net.ipv4.ip_forward", "1"))
	b.start("[host]\nip_forward = false\n" + webRelay("off"))
	for _, tt := range []struct {
		name, inject, mend string
		want               diagnose.Code
	}{
		{"iptables", "iptables-nft -P FORWARD DROP", "iptables-nft -P FORWARD ACCEPT; iptables-nft -F FORWARD", diagnose.ForwardDrop},
		{
			"docker", "iptables-nft -P FORWARD DROP; iptables-nft -N DOCKER-USER; iptables-nft -N DOCKER-FORWARD; iptables-nft -A FORWARD -j DOCKER-USER; " +
				"iptables-nft -A FORWARD -j DOCKER-FORWARD; iptables-nft -A DOCKER-FORWARD -i docker0 -j ACCEPT",
			"nft delete table ip filter", diagnose.ForwardDrop,
		},
		{"nft, deep in a jump", `nft 'table inet f { chain deep { tcp dport 80 counter drop; }; chain front { type filter hook forward priority 0; jump deep; }; }'`, "nft delete table inet f", diagnose.ForwardDrop},
		{"raw", `nft 'table ip r { chain pre { type filter hook prerouting priority raw; ip daddr 10.2.0.100 tcp dport 80 drop; }; }'`, "nft delete table ip r", diagnose.InputDrop},
		{"sysctl", "sysctl -w net.ipv4.ip_forward=0", "", diagnose.IPForwardDisabled},
		{"sysctl of the link", "sysctl -w net.ipv4.conf.ens5.forwarding=0", "", diagnose.IPForwardDisabled},
		{"route", "ip route add blackhole 10.3.0.100/32", "", diagnose.NoRoute},
		{"translation", `nft 'table ip o { chain pre { type nat hook prerouting priority -150; tcp dport 80 dnat to 10.3.0.99; }; }'`, "nft delete table ip o", diagnose.NATShadowed},
	} {
		b.shell(tt.inject)
		if b.fetch(t.Context()) == nil {
			t.Errorf("%s: it works all the same", tt.name)
		}
		r, code := b.diagnose("web")
		if got := codes(r); code != control.CodeDegraded || len(got) == 0 || got[0] != tt.want {
			t.Fatalf("%s: exit %d, %v, want %s:\n%s", tt.name, code, got, tt.want, indented(r))
		}
		b.paste(r.Paths[0].Explanations[0].Remedy)
		if err := b.fetch(t.Context()); err != nil {
			t.Errorf("%s: after the remedy %q: %v", tt.name, r.Paths[0].Explanations[0].Remedy, err)
		}
		b.awaitReady()
		b.wantWhole("web")
		b.shell(tt.mend)
	}
}

// shell runs a script on host B.
func (b *box) shell(script string) {
	b.t.Helper()
	if out, err := b.B.Command(b.t.Context(), "sh", "-c", script).CombinedOutput(); err != nil {
		b.t.Fatalf("%s: %v\n%s", script, err, out)
	}
}

// paste runs the lines of a remedy that stand for themselves, up to the first that works. Those with <> have to be filled in, and
// those that only look change nothing.
func (b *box) paste(remedy []string) {
	b.t.Helper()
	err := errors.New("no line of it can be pasted")
	for _, line := range remedy {
		if strings.HasPrefix(line, "#") || strings.Contains(line, "<") || strings.HasPrefix(line, "ip route get") || strings.HasPrefix(line, "ip route show") {
			continue
		}
		out, failed := b.B.Command(b.t.Context(), "sh", "-c", line).CombinedOutput()
		if failed == nil {
			return
		}
		err = fmt.Errorf("%s: %w: %s", line, failed, out)
	}
	b.t.Errorf("the remedy %q: %v", remedy, err)
}
