package main

import (
	"testing"

	"natd/internal/diagnose"
	"natd/internal/lab"
)

// faultsOfHost breaks host B's own packet filter, routes and settings, alone and together with others.
func faultsOfHost(t *testing.T) {
	t.Helper()
	l := newFaultLab(t)
	l.suffer(t, filterFaults())
}

// faultsOfNetwork breaks host B's routes, interfaces and settings.
func faultsOfNetwork(t *testing.T) {
	t.Helper()
	l := newFaultLab(t)
	p, err := l.AddPrivate()
	lab.Check(t, err)
	l.hosts["P"] = p
	l.suffer(t, append(networkFaults(), linkFaults()...))
}

// restored is what iptables-restore takes, in B; the tables go with it.
func restored(text string) harm {
	return on("B", "iptables-nft-restore <<'END'\n"+text+"END\n", "nft delete table ip filter; if nft list table ip nat >/dev/null 2>&1; then nft delete table ip nat; fi")
}

// filterFaults are chains of other programs.
func filterFaults() []fault { return append(forwardFaults(), translationFaults()...) }

// forwarded is a fault of a chain that drops what B forwards.
func forwarded(f fault) fault {
	f.want, f.leg, f.direction = diagnose.ForwardDrop, diagnose.LegHost, diagnose.Ingress
	return f
}

func policyDrop() harm { return on("B", "iptables -P FORWARD DROP", "nft delete table ip filter") }

func strictFirewalld() harm {
	return on("B", "nft -f - <<'END'\n"+lab.FirewalldRules+"END\n", "nft delete table inet firewalld")
}

// forwardFaults are chains that drop what was translated.
func forwardFaults() []fault {
	return []fault{
		forwarded(fault{name: "iptables: policy of FORWARD is DROP", harms: []harm{policyDrop()}, shows: "chain FORWARD", paste: "iptables -I FORWARD"}),
		forwarded(fault{
			name: "ip6tables: policy of FORWARD is DROP", harms: []harm{on("B", "ip6tables -P FORWARD DROP", "nft delete table ip6 filter")}, dial: dial6, ask: []string{"web6"},
			shows: "ip6 filter", paste: "ip6tables -I FORWARD",
		}),
		forwarded(fault{name: "nft: policy drop at forward", harms: []harm{filter("B", "forward", "policy drop")}, shows: "policy drop", paste: "nft insert rule"}),
		forwarded(fault{
			name:  "nft: a rule deep in a jump drops",
			harms: []harm{rules("inet", "chain deep { tcp dport { 80, 443 } counter drop; }; chain zone { jump deep; }; chain forward { type filter hook forward priority 10; jump zone; };")},
			shows: "chain deep", paste: "nft insert rule",
		}),
		forwarded(fault{
			name:  "nft: a rule deep in a jump drops, watched",
			harms: []harm{rules("inet", "chain deep { tcp dport 80 drop; }; chain forward { type filter hook forward priority 10; jump deep; };")}, watch: true, shows: "chain deep",
		}),
		forwarded(fault{
			name: "nft: a rule rejects", harms: []harm{rules("ip", "chain forward { type filter hook forward priority 5; ip daddr 10.3.0.0/16 reject with icmp admin-prohibited; };")},
			shows: "reject", paste: "nft insert rule",
		}),
		forwarded(fault{
			name: "nft: postrouting drops", harms: []harm{rules("inet", "chain post { type filter hook postrouting priority 0; ip daddr 10.3.0.100 tcp dport 80 drop; };")},
			shows: "hook postrouting", paste: "nft insert rule",
		}),
		{
			name: "nft: answers are dropped", harms: []harm{rules("inet", "chain forward { type filter hook forward priority 0; tcp sport 80 drop; };")},
			want: diagnose.ForwardDrop, leg: diagnose.LegReturn, direction: diagnose.Egress, shows: "tcp sport 80 drop", paste: "nft insert rule",
		},
		forwarded(fault{name: "firewalld is strict", harms: []harm{strictFirewalld()}, shows: "firewalld"}),
		forwarded(fault{name: "Docker drops", harms: []harm{restored(lab.DockerRules)}, shows: "docker", paste: "iptables -I DOCKER-USER"}),
		forwarded(fault{name: "ufw drops", harms: []harm{restored(lab.UFWRules)}, shows: "ufw"}),
	}
}

// translationFaults are chains before natd's, and faults of which one is a chain.
func translationFaults() []fault {
	return []fault{
		{
			name: "nft: dropped before the translation", harms: []harm{rules("inet", "chain pre { type filter hook prerouting priority raw; tcp dport 80 drop; };")},
			want: diagnose.InputDrop, leg: diagnose.LegClient, direction: diagnose.Ingress, shows: "priority -300", paste: "nft insert rule",
		},
		{
			name: "nft: dropped before the translation, watched", harms: []harm{rules("inet", "chain pre { type filter hook prerouting priority raw; ip saddr 10.1.0.100 tcp dport 80 drop; };")},
			watch: true, want: diagnose.InputDrop, leg: diagnose.LegClient, direction: diagnose.Ingress,
		},
		{
			name: "another translation comes first", harms: []harm{rules("ip", "chain pre { type nat hook prerouting priority -150; tcp dport 80 dnat to 10.3.0.99:80; };")},
			want: diagnose.NATShadowed, leg: diagnose.LegHost, direction: diagnose.Ingress, shows: "dnat to 10.3.0.99:80", paste: "nft delete rule",
		},
		{
			name: "another program exempts it from tracking", harms: []harm{rules("ip", "chain pre { type filter hook prerouting priority raw; tcp dport 80 notrack; };")},
			want: diagnose.NATShadowed, leg: diagnose.LegHost, direction: diagnose.Ingress, shows: "notrack",
		},
		forwarded(fault{name: "two: policy drop, and the target's service is down", harms: []harm{policyDrop(), stopNginx()}, also: []diagnose.Code{diagnose.TargetRefused}}),
		forwarded(fault{
			name: "two: the target has no way back, and firewalld is strict", harms: []harm{on("C", "ip route del default", "ip route add default via 10.3.0.1"), strictFirewalld()},
			also: []diagnose.Code{diagnose.TargetNoReply},
		}),
		{
			name:  "two: another translation comes first, and the target's firewall drops",
			harms: []harm{rules("ip", "chain pre { type nat hook prerouting priority -150; tcp dport 80 dnat to 10.3.0.99:80; };"), filter("C", "input", "tcp dport 80 drop")},
			want:  diagnose.NATShadowed, leg: diagnose.LegHost, direction: diagnose.Ingress, also: []diagnose.Code{diagnose.TargetNoReply},
		},
	}
}

// notForwarding keeps natd from turning forwarding on again.
const notForwarding = "[host]\nip_forward = false\n"

func forwardingOff() harm {
	return on("B", "sysctl -qw net.ipv4.ip_forward=0", "sysctl -qw net.ipv4.ip_forward=1")
}

// networkFaults are those of routes and of settings of the kernel.
func networkFaults() []fault {
	route := func(f fault) fault {
		f.want, f.leg = diagnose.NoRoute, diagnose.LegHost
		return f
	}
	return []fault{
		{
			name: "forwarding is off", config: notForwarding + usual, harms: []harm{forwardingOff()}, paste: "sysctl -w",
			want: diagnose.IPForwardDisabled, leg: diagnose.LegHost, shows: "net.ipv4.ip_forward = 0",
		},
		{
			name: "forwarding of the interface is off", config: notForwarding + usual, harms: []harm{on("B", "sysctl -qw net.ipv4.conf.ens5.forwarding=0", "sysctl -qw net.ipv4.conf.ens5.forwarding=1")},
			want: diagnose.IPForwardDisabled, leg: diagnose.LegHost, shows: "ens5", paste: "sysctl -w",
		},
		{
			name: "IPv6: forwarding is off", config: notForwarding + usual, harms: []harm{on("B", "sysctl -qw net.ipv6.conf.all.forwarding=0", "sysctl -qw net.ipv6.conf.all.forwarding=1")},
			dial: dial6, ask: []string{"web6"}, want: diagnose.IPForwardDisabled, leg: diagnose.LegHost, paste: "sysctl -w",
		},
		route(fault{name: "an unreachable route to the target", harms: []harm{on("B", "ip route add unreachable 10.3.0.0/16", "ip route flush 10.3.0.0/16")}, paste: "ip route del unreachable 10.3.0.0/16"}),
		route(fault{name: "a blackhole route to the target", harms: []harm{on("B", "ip route add blackhole 10.3.0.100/32", "ip route flush 10.3.0.100/32")}, paste: "ip route del blackhole 10.3.0.100"}),
		route(fault{name: "a prohibit rule for the target", harms: []harm{on("B", "ip rule add to 10.3.0.0/16 prohibit", "ip rule del to 10.3.0.0/16 prohibit")}}),
		route(fault{
			name: "no route to the target", harms: []harm{on("B", "ip route replace 10.1.0.0/16 via 10.2.0.1; ip route del default", "ip route add default via 10.2.0.1; ip route del 10.1.0.0/16 via 10.2.0.1")}, // of two interfaces neither is named, so there is nothing to paste
		}),
		route(fault{
			name: "no route at all", harms: []harm{on("B", "ip route del default", "ip route add default via 10.2.0.1")}, also: []diagnose.Code{diagnose.ReplyNotArrived},
		}),
		route(fault{
			name: "IPv6: no route to the target", harms: []harm{on("B", "ip -6 route add unreachable fd00:10:3::/48", "ip -6 route del unreachable fd00:10:3::/48")}, dial: dial6, ask: []string{"web6"},
		}),
		{
			name: "no route back to the client", harms: []harm{on("B", "ip route add unreachable 10.1.0.0/16", "ip route del unreachable 10.1.0.0/16")},
			want: diagnose.ReplyNotArrived, leg: diagnose.LegReturn, direction: diagnose.Egress,
		},
	}
}

// linkFaults are those of addresses and interfaces, and of routes and settings together with others.
func linkFaults() []fault {
	private := usual + "[[relay]]\nname = \"private\"\nlisten = \"10.2.0.100:90\"\nto = [\"10.100.20.100:80\"]\n"
	return []fault{
		{
			name: "the listen address is gone", config: web(`listen = "10.2.0.101:80"`), dial: fetchFrom("10.2.0.101"),
			want: diagnose.RelayAddressNotLocal, leg: diagnose.LegClient, direction: diagnose.Ingress,
		},
		{
			name: "the host's address is gone", harms: []harm{on("B", "ip address del 10.2.0.100/24 dev ens5", "ip address add 10.2.0.100/24 dev ens5; ip route add default via 10.2.0.1")},
			want: diagnose.RelayAddressNotLocal, leg: diagnose.LegClient, direction: diagnose.Ingress, also: []diagnose.Code{diagnose.NoRoute, diagnose.ReplyNotArrived},
		},
		{
			name: "the host's interface is down", harms: []harm{on("B", "ip link set ens5 down", "ip link set ens5 up; ip route add default via 10.2.0.1; "+
				"ip address replace fd00:10:2::100/64 dev ens5; ip route replace default via fd00:10:2::1")},
			want: diagnose.EgressDown, leg: diagnose.LegHost, direction: diagnose.Egress,
		},
		{
			name: "the egress interface is down", config: private, harms: []harm{on("B", "ip link set ens6 down", "ip link set ens6 up")}, dial: fetchFrom("10.2.0.100:90"), ask: []string{"private"},
			want: diagnose.EgressDown, leg: diagnose.LegHost, direction: diagnose.Egress,
		},
		{
			name: "the egress interface has no carrier", config: private, harms: []harm{on("P", "ip link set ens5 down", "ip link set ens5 up; ip route add default via 10.100.20.1")},
			dial: fetchFrom("10.2.0.100:90"), ask: []string{"private"}, want: diagnose.EgressDown, leg: diagnose.LegHost, direction: diagnose.Egress, shows: "carrier",
		},
		{
			name: "the egress interface does not exist", config: web(`egress = "ens9"`), want: diagnose.EgressDown, leg: diagnose.LegHost, direction: diagnose.Egress, shows: "ens9",
		},
		{
			name: "the target's neighbour is silent", config: web(`to = ["10.2.0.9:80"]`), want: diagnose.TargetUnreachable, leg: diagnose.LegTarget, direction: diagnose.Egress, shows: "10.2.0.9",
		},
		{
			name: "two: forwarding is off, and the target's service is down", config: notForwarding + usual, harms: []harm{forwardingOff(), stopNginx()},
			want: diagnose.IPForwardDisabled, leg: diagnose.LegHost, also: []diagnose.Code{diagnose.TargetRefused},
		},
		{
			name: "two: no route to the target, and the client is no source", config: web(`from = ["10.9.0.0/16"]`),
			harms: []harm{on("B", "ip route add unreachable 10.3.0.0/16", "ip route del unreachable 10.3.0.0/16")}, ask: []string{"web", "--from", "10.1.0.100"},
			want: diagnose.RelaySourceDenied, leg: diagnose.LegClient, also: []diagnose.Code{diagnose.NoRoute},
		},
	}
}
