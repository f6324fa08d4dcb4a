package main

import (
	"fmt"
	"net"
	"testing"
	"time"

	"natd/internal/control"
	"natd/internal/diagnose"
	"natd/internal/lab"
)

// faultsOfDaemon ends natd, and takes away or leaves behind what it should look after.
func faultsOfDaemon(t *testing.T) {
	t.Helper()
	l := newFaultLab(t)
	_, err := l.AddPrivate()
	lab.Check(t, err)
	l.suffer(t, daemonFaults())
}

// killed ends natd without warning; it starts again as it was.
func killed() harm {
	return harm{
		act: func(l *faultLab) error {
			l.kill()
			return nil
		},
		cure: func(l *faultLab) error {
			l.launch()
			return nil
		},
	}
}

// flushed is natctl flush.
func flushed() harm {
	natctl := func(verb string) func(*faultLab) error {
		return func(l *faultLab) error {
			if out, errs, code := l.natctl(verb); code != control.CodeOK {
				return fmt.Errorf("natctl %s exits %d: %s%s", verb, code, out, errs)
			}
			return nil
		}
	}
	return harm{act: natctl("flush"), cure: natctl("reload")}
}

// dialPinned asks from a port whose flow is pinned.
func dialPinned(l *faultLab, within time.Duration) error {
	return l.A.Do(func() error {
		d := net.Dialer{LocalAddr: &net.UDPAddr{IP: l.A.Addr.AsSlice(), Port: 5353}}
		c, err := d.DialContext(l.t.Context(), "udp", "10.2.0.100:53")
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = lab.Ask(c, within)
		return err
	})
}

// daemonFaults are those of natd itself. It repairs its own table, the reverse path filter and stale entries at once, so these
// faults stay only while it does not run.
func daemonFaults() []fault {
	const host, ingress = diagnose.LegHost, diagnose.Ingress
	pinned := on("B", "conntrack -I -p udp -s 10.1.0.100 --sport 5353 -d 10.2.0.100 --dport 53 -r 10.3.0.66 -q 10.2.0.100 --reply-port-src 53 --reply-port-dst 5353"+
		" -t 600 -u SEEN_REPLY,ASSURED", "")
	strict := on("B", "sysctl -qw net.ipv4.conf.all.rp_filter=0; sysctl -qw net.ipv4.conf.ens5.rp_filter=1; ip route add 10.1.0.0/16 dev ens6",
		"ip route del 10.1.0.0/16 dev ens6; sysctl -qw net.ipv4.conf.ens5.rp_filter=0")
	return []fault{
		{
			name: "natd was killed, and its rules stand", harms: []harm{killed()}, works: true,
			want: diagnose.DaemonNotRunning, leg: host,
		},
		{
			name: "natd was killed, and its table was removed", harms: []harm{killed(), on("B", "nft delete table inet natd", "")},
			want: diagnose.RulesetMissing, leg: host, direction: ingress, also: []diagnose.Code{diagnose.DaemonNotRunning},
		},
		{
			name: "natd was killed, and everything was flushed", harms: []harm{killed(), on("B", "nft flush ruleset", "")},
			want: diagnose.RulesetMissing, leg: host, direction: ingress, also: []diagnose.Code{diagnose.DaemonNotRunning},
		},
		{
			name: "natd was killed, and a map of its table was emptied", harms: []harm{killed(), on("B", "nft flush map inet natd relays4_from16", "")},
			want: diagnose.RulesetDrift, leg: host, direction: ingress, also: []diagnose.Code{diagnose.DaemonNotRunning},
		},
		{
			name: "natd was killed, and a chain of its table was emptied", harms: []harm{killed(), on("B", "nft flush chain inet natd prerouting", "")},
			want: diagnose.RulesetDrift, leg: host, direction: ingress, also: []diagnose.Code{diagnose.DaemonNotRunning},
		},
		{
			name: "natd was killed, and the source is not translated", harms: []harm{killed(), on("B", "nft flush chain inet natd postrouting", "")},
			want: diagnose.RulesetDrift, leg: host, direction: ingress, also: []diagnose.Code{diagnose.DaemonNotRunning},
		},
		{
			name: "natctl flush", harms: []harm{flushed()}, paste: "natctl reload",
			want: diagnose.RulesetMissing, leg: host, direction: ingress,
		},
		{
			name: "natd was killed, and the reverse path filter is strict", harms: []harm{killed(), strict},
			want: diagnose.RPFilterDrop, leg: host, direction: ingress, shows: "ens5", also: []diagnose.Code{diagnose.DaemonNotRunning},
		},
		{
			name: "natd was killed, and forwarding was turned off", harms: []harm{killed(), on("B", "sysctl -qw net.ipv4.ip_forward=0", "")}, paste: "sysctl -w",
			want: diagnose.IPForwardDisabled, leg: host, also: []diagnose.Code{diagnose.DaemonNotRunning},
		},
		{
			name: "natd was killed, and a client is pinned to an old target", harms: []harm{killed(), pinned}, ask: []string{"dns"}, dial: dialPinned,
			want: diagnose.StaleFlows, leg: host, direction: ingress, also: []diagnose.Code{diagnose.DaemonNotRunning}, shows: "10.3.0.66", paste: "conntrack -D",
		},
	}
}
