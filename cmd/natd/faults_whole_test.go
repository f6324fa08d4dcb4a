package main

import (
	"net/netip"
	"testing"
	"time"

	"natd/internal/lab"
)

// noFaults has all that may look like a fault and is none: natctl diagnose must say nothing.
func noFaults(t *testing.T) {
	t.Helper()
	l := newFaultLab(t)
	lab.Check(t, l.C.AddExtra(1))
	nginx, err := l.C.StartNginx(t.Context(), netip.MustParseAddrPort("10.3.0.101:80"))
	lab.Check(t, err)
	t.Cleanup(func() { _ = nginx.Stop() })
	_, err = l.AddPrivate()
	lab.Check(t, err)
	l.suffer(t, soundCases())
}

// soundCases are all well.
func soundCases() []fault {
	docker := on("B", "iptables-nft-restore <<'END'\n"+lab.DockerRules+"END\niptables -I DOCKER-USER -m conntrack --ctstate DNAT -j ACCEPT",
		"nft delete table ip filter; nft delete table ip nat")
	firewalld := on("B", "nft -f - <<'END'\n"+lab.FirewalldRules+"END\nnft insert rule inet firewalld filter_FORWARD ct status dnat accept", "nft delete table inet firewalld")
	all := []fault{
		{name: "one backend"},
		{name: "as the client dials it", ask: []string{"10.2.0.100:80"}},
		{name: "a client of the source list", ask: []string{"web", "--from", "10.1.0.100"}},
		{name: "a client that was watched", watch: true},
		{name: "every relay", ask: []string{}},
		{name: "two backends", config: web(`to = ["10.3.0.100:80", "10.3.0.101:80"]`)},
		{name: "a backend that is drained, and one that is not", config: web(`to = ["10.3.0.100:80", "10.3.0.101:80"]`), harms: []harm{drainedBackend("web", "10.3.0.101:80")}},
		{name: "health checks", config: web(`to = ["10.3.0.100:80", "10.3.0.101:80"]`, `health = {type="tcp", interval="200ms"}`)},
		{name: "limits that are far", config: web("max_connections = 1000", "max_per_source = 100", `rate = "1000/s"`)},
		{name: "a source address of its own", config: web(`snat = "10.2.0.100"`)},
		{name: "UDP", dial: dialUDP, ask: []string{"dns"}},
		{name: "IPv6", dial: dial6, ask: []string{"web6"}},
		{name: "firewalld as it comes", harms: []harm{firewalld}},
		{name: "Docker, with the rule for DOCKER-USER", harms: []harm{docker}},
		{name: "chains that drop others' packets", harms: []harm{rules("B", "inet", "chain forward { type filter hook forward priority 0; policy drop; ct state established,related accept;"+
			" ip saddr 10.1.0.0/16 ip daddr 10.3.0.0/16 tcp dport { 80, 443 } accept; };"+
			" chain input { type filter hook input priority 0; policy drop; ct state established,related accept; icmp type echo-request accept; };"+
			" chain pre { type nat hook prerouting priority -110; tcp dport 8080 dnat ip to 10.3.0.99:80; };")}},
		{name: "a second interface whose reverse path filter is strict", harms: []harm{on("B", "sysctl -qw net.ipv4.conf.ens6.rp_filter=1", "sysctl -qw net.ipv4.conf.ens6.rp_filter=0")}},
		{name: "a target that does not answer pings", harms: []harm{filter("C", "input", "icmp type echo-request drop")}},
		{name: "routers that say that packets are too big", harms: []harm{on("R", "ip link set c mtu 1400", "ip link set c mtu 9001")}},
		{name: "a client that gave up long ago", harms: []harm{filter("R", "forward", `oifname "a" drop`), gaveUp(), on("R", "nft delete table inet filter", "nft add table inet filter")}},
	}
	for i := range all {
		all[i].works = true
	}
	return all
}

// drainedBackend takes one backend out.
func drainedBackend(relay, backend string) harm {
	return harm{act: func(l *faultLab) error {
		l.step([]string{"drain", relay, backend}, 0, "")
		return nil
	}, cure: func(l *faultLab) error {
		l.step([]string{"enable", relay, backend}, 0, "")
		return nil
	}}
}

// gaveUp is a client that tried and went away.
func gaveUp() harm {
	return harm{act: func(l *faultLab) error {
		_ = fetchFrom("10.2.0.100")(l, time.Second)
		return nil
	}}
}
