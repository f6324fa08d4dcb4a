package main

import (
	"testing"

	"natd/internal/diagnose"
)

// faultsOfTarget breaks the target, and what lies between it and host B.
func faultsOfTarget(t *testing.T) {
	t.Helper()
	l := newFaultLab(t)
	l.suffer(t, targetFaults())
}

// faultsOfRouter breaks what lies between the hosts.
func faultsOfRouter(t *testing.T) {
	t.Helper()
	l := newFaultLab(t)
	l.suffer(t, routerFaults())
}

// stopNginx ends the target's service.
func stopNginx() harm {
	return harm{
		act:  func(l *faultLab) error { return l.nginx.Stop() },
		cure: func(l *faultLab) error { return l.nginx.Restart(l.t.Context()) },
	}
}

// stopDNS ends the target's UDP service.
func stopDNS() harm {
	return harm{
		act: func(l *faultLab) error { return l.dns.Stop() },
		cure: func(l *faultLab) (err error) {
			l.dns, err = l.C.TellUDP("10.3.0.100:53", "C")
			return err
		},
	}
}

// filter is a firewall as hosts have it: a table inet filter, whose name and chain stand in the remedy.
func filter(host, hook, rule string) harm {
	return on(host, "nft -f - <<'END'\ntable inet filter { chain "+hook+" { type filter hook "+hook+" priority 0; "+rule+"; }; }\nEND\n", "nft delete table inet filter")
}

// silent is a target of which nothing comes back. A security group, a missing way back and a firewall look alike from B: the code is
// that of the silence, and the route is one of its possible reasons.
func silent(f fault) fault {
	f.want, f.leg, f.direction = diagnose.TargetNoReply, diagnose.LegTarget, diagnose.Egress
	return f
}

// targetFaults are those of the target's host.
func targetFaults() []fault {
	const target, egress = diagnose.LegTarget, diagnose.Egress
	return []fault{
		{name: "target's service is down", harms: []harm{stopNginx()}, want: diagnose.TargetRefused, leg: target, direction: egress, shows: "reset"},
		{
			name: "target's firewall resets", harms: []harm{filter("C", "input", "tcp dport 80 reject with tcp reset")},
			want: diagnose.TargetRefused, leg: target, direction: egress,
		},
		silent(fault{
			name: "target's firewall drops", harms: []harm{filter("C", "input", "tcp dport 80 drop")}, shows: "it answers a ping",
		}),
		{
			name: "target's firewall rejects", harms: []harm{filter("C", "input", "tcp dport 80 reject with icmp admin-prohibited")},
			want: diagnose.TargetUnreachable, leg: target, direction: egress, shows: "10.3.0.100", paste: "nft insert rule inet filter input", at: "C",
		},
		silent(fault{
			name: "target has no way back", harms: []harm{on("C", "ip route del default", "ip route add default via 10.3.0.1")}, shows: "no way back",
		}),
		silent(fault{name: "target's host is silent", harms: []harm{filter("C", "input", "meta nfproto ipv4 drop")}}),
		{
			// As long as the router knows its neighbour, a host that went down is silent.
			name: "target's host is down",
			harms: []harm{on("C", "ip address del 10.3.0.100/24 dev ens5", "ip address add 10.3.0.100/24 dev ens5; ip route add default via 10.3.0.1"),
				on("R", "ip neigh flush dev c", "")},
			want: diagnose.TargetUnreachable, leg: target, direction: egress, shows: "10.2.0.1",
		},
		{
			name: "UDP: target's service is down", harms: []harm{stopDNS()}, dial: dialUDP, ask: []string{"dns"},
			want: diagnose.TargetRefused, leg: target, direction: egress,
		},
		silent(fault{
			name: "UDP: target's firewall drops", harms: []harm{filter("C", "input", "udp dport 53 drop")}, dial: dialUDP, ask: []string{"dns"},
		}),
		{
			name: "IPv6: target's service refuses", harms: []harm{filter("C", "input", "meta nfproto ipv6 tcp dport 80 reject with tcp reset")}, dial: dial6, ask: []string{"web6"},
			want: diagnose.TargetRefused, leg: target, direction: egress,
		},
		silent(fault{
			name: "IPv6: target's firewall drops", harms: []harm{filter("C", "input", "meta nfproto ipv6 tcp dport 80 drop")}, dial: dial6, ask: []string{"web6"},
		}),
	}
}

// routerFaults are those of the ways between the hosts.
func routerFaults() []fault {
	const target, egress = diagnose.LegTarget, diagnose.Egress
	return []fault{
		{
			name: "router has no way to the target", harms: []harm{on("R", "ip route add unreachable 10.3.0.100", "ip route del unreachable 10.3.0.100")},
			want: diagnose.TargetUnreachable, leg: target, direction: egress, shows: "10.2.0.1",
		},
		{
			name: "router rejects", harms: []harm{filter("R", "forward", `oifname "c" tcp dport 80 reject with icmp admin-prohibited`)},
			want: diagnose.TargetUnreachable, leg: target, direction: egress, shows: "10.2.0.1",
		},
		silent(fault{name: "router drops host -> target", harms: []harm{filter("R", "forward", `oifname "c" tcp dport 80 drop`)}}),
		silent(fault{name: "router drops target -> host", harms: []harm{filter("R", "forward", `iifname "c" tcp sport 80 drop`)}}),
		{
			name: "router drops host -> client", harms: []harm{filter("R", "forward", `oifname "a" drop`)}, during: true,
			want: diagnose.ReplyNotArrived, leg: diagnose.LegReturn, direction: egress, shows: "SYN_RECV",
		},
		{
			name: "router drops host -> client, watched", harms: []harm{filter("R", "forward", `oifname "a" drop`)}, watch: true,
			want: diagnose.ReplyNotArrived, leg: diagnose.LegReturn, direction: egress, shows: "Flags [S.]",
		},
		{
			name: "router drops client -> host", harms: []harm{filter("R", "forward", `iifname "a" drop`)}, watch: true, ask: []string{"web", "--timeout", "1s"},
			want: diagnose.NoPacketsFromClient, leg: diagnose.LegClient, direction: diagnose.Ingress,
		},
		{
			name: "IPv6: router has no way to the target", harms: []harm{on("R", "ip route add unreachable fd00:10:3::100", "ip route del unreachable fd00:10:3::100")}, dial: dial6,
			ask: []string{"web6"}, want: diagnose.TargetUnreachable, leg: target, direction: egress,
		},
	}
}
