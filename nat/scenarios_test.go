package nat

import (
	"maps"
	"net/netip"
	"time"
)

// scenarios are the specs that the text is compared for, and that the kernel is asked to hold.
func scenarios() map[string]scenario {
	all := relayScenarios()
	maps.Copy(all, balanceScenarios())
	maps.Copy(all, otherScenarios())
	return all
}

func relayScenarios() map[string]scenario {
	return map[string]scenario{
		"empty": {},
		"one":   {relays: []Relay{relayOf("web", 80, "10.3.0.100", from(clientNet))}},
		"open":  {policy: ForwardOpen, relays: []Relay{relayOf("web", 80, "10.3.0.100")}},
		"sources": {relays: []Relay{
			relayOf("everyone", 80, "10.3.0.100"),
			relayOf("mixed", 81, "10.3.0.101", from("10.9.9.9/32", "10.1.2.0/24", "10.1.0.0/16", "172.16.0.0/12", "0.0.0.0/0")),
			relayOf("odd", 82, "10.3.0.102", from("10.1.2.128/25", "128.0.0.0/1")),
		}},
		"ranges": {relays: []Relay{
			relayOf("same", 8000, "10.3.0.100", width(3)),
			relayOf("moved", 9000, "10.3.0.100", width(3), backendPort(19000)),
			relayOf("top", 65534, "10.3.0.100", width(2), backendPort(1)),
		}},
		"protocols": {relays: []Relay{
			relayOf("dns", 53, "10.3.0.100", protocols(TCP, UDP), from(clientNet)),
			relayOf("syslog", 514, "10.3.0.100", protocols(UDP)),
			relayOf("sigtran", 2905, "10.3.0.100", protocols(SCTP)),
		}},
		"wildcard": {
			relays: []Relay{relayOf("any", 80, "10.3.0.100", anyAddress), relayOf("one", 81, "10.3.0.100")},
			places: map[string]func(*Placement){"any": at("10.2.0.100", "10.2.0.101", "192.0.2.1")},
		},
		"held": {
			relays: []Relay{
				relayOf("held", 80, "10.3.0.100", from(clientNet), logged), relayOf("served", 81, "10.3.0.101"),
				relayOf("disabled", 82, "10.3.0.102", func(r *Relay) { r.Enabled = false }),
			},
			places: map[string]func(*Placement){"held": held, "disabled": held},
		},
		"snat": {
			relays: []Relay{
				relayOf("auto", 80, "10.3.0.100"), relayOf("fixed", 81, "10.3.0.100"), relayOf("off", 82, "10.3.0.100"),
				relayOf("pool", 83, "10.3.0.100"),
			},
			places: map[string]func(*Placement){
				"fixed": sources("10.2.0.7"), "off": sources(), "pool": sources("10.2.0.7", "10.2.0.8", "10.2.0.9"),
			},
		},
		"log": {relays: []Relay{
			relayOf("quiet", 80, "10.3.0.100"),
			relayOf("told", 81, "10.3.0.100", logged, from(clientNet), protocols(TCP, UDP)),
		}},
		"shared": {relays: []Relay{
			relayOf("zeta", 80, "10.3.0.100", backendPort(8080)),
			relayOf("alpha", 81, "10.3.0.100", backendPort(8080)),
			relayOf("mid", 82, "10.3.0.100", backendPort(8080)),
		}},
		"ipv6": {
			relays: []Relay{
				relayOf("web", 80, "fd00:10:3::100", listen(hostAddr6), logged),
				relayOf("some", 81, "fd00:10:3::100", listen(hostAddr6), from("fd00:10:1::/48", "fd00:10:1::5/128", "::/0"), protocols(TCP, UDP)),
				relayOf("both", 82, "10.3.0.100", anyAddress, also(1, "fd00:10:3::100")),
				relayOf("turns", 83, "fd00:10:3::100", listen(hostAddr6), also(2, "fd00:10:3::101")),
				relayOf("sticky", 84, "fd00:10:3::100", listen(hostAddr6), also(2, "fd00:10:3::101"), balanced(Source), from("fd00:10:1::/64")),
			},
			places: map[string]func(*Placement){"both": at(hostAddr, hostAddr6), "some": sources("fd00:10:2::7", "fd00:10:2::8")},
		},
	}
}

func balanceScenarios() map[string]scenario {
	three := also(1, "10.3.0.101", "10.3.0.102")
	return map[string]scenario{
		"turns": {relays: []Relay{
			relayOf("even", 80, "10.3.0.100", three),
			relayOf("next", 81, "10.3.0.100", three, width(2), from(clientNet, "10.9.9.9/32")),
			relayOf("uneven", 84, "10.3.0.100", weigh(3), also(1, "10.3.0.101"), protocols(TCP, UDP)),
			relayOf("single", 83, "10.3.0.100"),
		}},
		"random": {relays: []Relay{relayOf("web", 80, "10.3.0.100", three, balanced(Random))}},
		"sticky": {relays: []Relay{relayOf("web", 80, "10.3.0.100", three, balanced(Source), from(clientNet))}},
		"drained": {
			relays: []Relay{relayOf("web", 80, "10.3.0.100", three), relayOf("dark", 81, "10.3.0.100", protocols(TCP, UDP))},
			places: map[string]func(*Placement){"web": weights(0, 1, 0), "dark": weights(0)},
		},
	}
}

func otherScenarios() map[string]scenario {
	limits := func(connections, sources int, rate Rate) func(*Relay) {
		return func(r *Relay) { r.MaxConnections, r.MaxPerSource, r.Rate = connections, sources, rate }
	}
	mss := func(m MSS) func(*Relay) { return func(r *Relay) { r.MSS = m } }
	pool := SNAT{SNATFixed, []netip.Addr{addr("10.2.0.7"), addr("10.2.0.8"), addr("10.2.0.9")}}
	return map[string]scenario{
		"limits": {relays: []Relay{
			relayOf("web", 80, "10.3.0.100", limits(100, 10, Rate{5, time.Second}), protocols(TCP, UDP)),
			relayOf("ssh", 22, "10.3.0.100", limits(100, 3, Rate{100, time.Hour})),
			relayOf("v6", 80, "fd00:10:3::100", listen(hostAddr6), limits(7, 7, Rate{7, time.Minute}), protocols(TCP, UDP, SCTP)),
		}},
		"reports": {reports: true, relays: []Relay{
			relayOf("web", 80, "10.3.0.100", limits(0, 3, Rate{}), protocols(TCP, UDP)),
			relayOf("dark", 81, "10.3.0.100", protocols(TCP, UDP)),
		}, places: map[string]func(*Placement){"dark": weights(0)}, gateways: []Gateway{
			{Name: "private", From: prefixes("10.100.20.0/24"), To: prefixes("0.0.0.0/0"), Enabled: true},
		}},
		"repeats": {answered: time.Minute, relays: []Relay{
			relayOf("web", 80, "10.3.0.100"), relayOf("v6", 80, "fd00:10:3::100", listen(hostAddr6)),
		}, gateways: []Gateway{
			{Name: "private", From: prefixes("10.100.20.0/24"), To: prefixes("0.0.0.0/0"), Enabled: true},
		}},
		"fast": {fast: []string{"lo"}, relays: []Relay{relayOf("web", 80, "10.3.0.100", protocols(TCP, UDP))}},
		"slow": {fast: []string{"lo"}, relays: []Relay{
			relayOf("web", 80, "10.3.0.100"), relayOf("few", 81, "10.3.0.100", limits(100, 10, Rate{}), protocols(TCP, UDP)),
			relayOf("rare", 82, "10.3.0.100", limits(0, 0, Rate{5, time.Second})),
			relayOf("v6", 80, "fd00:10:3::100", listen(hostAddr6), limits(0, 7, Rate{})),
		}},
		"mss": {relays: []Relay{
			relayOf("auto", 80, "10.3.0.100"), relayOf("off", 81, "10.3.0.100", mss(MSS{Off: true})),
			relayOf("number", 82, "10.3.0.100", mss(MSS{Size: 1360})),
			relayOf("v6", 80, "fd00:10:3::100", listen(hostAddr6), mss(MSS{Size: 1220})),
		}},
		"gateways": {gateways: []Gateway{
			{Name: "private", From: prefixes("10.100.20.0/24", "10.100.22.0/23"), To: prefixes("0.0.0.0/0"), Enabled: true},
			{Name: "pool", From: prefixes("10.100.24.0/32"), To: prefixes("192.0.2.0/24", "198.51.100.7/32"), SNAT: pool, Enabled: true},
			{Name: "by", From: prefixes("10.100.30.0/24"), To: prefixes("0.0.0.0/0"), Egress: "ens5", Enabled: true},
			{Name: "poolby", From: prefixes("10.100.31.0/24"), To: prefixes("0.0.0.0/0"), SNAT: pool, Egress: "ens5", Enabled: true},
			{Name: "v6", From: prefixes("fd00:10:1::/64"), To: prefixes("2000::/3"), Egress: "ens5", Enabled: true},
			{Name: "pool6", From: prefixes("fd00:10:2::/64"), To: prefixes("::/0"), SNAT: SNAT{SNATFixed, addresses(hostAddr6)}, Egress: "ens6", Enabled: true},
			{Name: "off", From: prefixes("10.100.32.0/24"), To: prefixes("0.0.0.0/0")},
		}},
		"statics": {statics: []Static{
			{Name: "overlap-c", External: prefixes("10.2.64.0/24")[0], Internal: prefixes("192.168.1.0/24")[0], From: prefixes(clientNet), Enabled: true},
			{Name: "host", External: prefixes("10.2.65.1/32")[0], Internal: prefixes("10.3.0.100/32")[0], SNAT: SNAT{Mode: SNATOff}, Enabled: true},
			{Name: "pool", External: prefixes("10.2.66.0/24")[0], Internal: prefixes("10.3.66.0/24")[0], From: prefixes("10.1.0.0/17", "10.9.0.0/16"), SNAT: pool, Enabled: true},
			{Name: "v6", External: prefixes("fd00:10:2:64::/64")[0], Internal: prefixes("fd00:99::/64")[0], Enabled: true},
			{Name: "pool6", External: prefixes("fd00:10:2:65::/64")[0], Internal: prefixes("fd00:98::/64")[0], SNAT: SNAT{SNATFixed, addresses(hostAddr6)}, Enabled: true},
		}},
	}
}
