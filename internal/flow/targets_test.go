package flow

import (
	"net/netip"
	"testing"

	"natd/nat"
)

// twoTargets judges for a relay of TCP, UDP and SCTP on port 80 with the backends 10.3.0.1 and 10.3.0.2 of the weights;
// edits change it.
func twoTargets(first, second int, edits ...func(*nat.Relay, []nat.Target)) *Judge {
	r := relay("web", 80, "10.3.0.1:80", nat.TCP)
	r.Protocols = []nat.Protocol{nat.TCP, nat.UDP, nat.SCTP}
	own := []netip.Addr{netip.MustParseAddr(host)}
	var targets []nat.Target
	for i, weight := range []int{first, second} {
		addr := netip.AddrFrom4([4]byte{10, 3, 0, byte(i + 1)})
		targets = append(targets, nat.Target{Addr: addr, Ports: nat.PortRange{First: 80, Last: 80}, Weight: weight, SNAT: own})
	}
	for _, edit := range edits {
		edit(&r, targets)
	}
	spec := &nat.Spec{Relays: []nat.Relay{r}}
	return &Judge{
		Spec:   spec,
		Places: &nat.Placements{Relays: []nat.Placement{{Addrs: own, Targets: targets}}},
		Index:  nat.NewIndex(spec, own),
	}
}

func failClosed(r *nat.Relay, _ []nat.Target)  { r.Fail = nat.FailClosed }
func closesFirst(_ *nat.Relay, t []nat.Target) { t[0].Closing = true }
func closesAll(r *nat.Relay, _ []nat.Target)   { r.OnChange = nat.Close }
func pool(_ *nat.Relay, targets []nat.Target) {
	targets[0].SNAT = []netip.Addr{netip.MustParseAddr("10.2.0.8"), netip.MustParseAddr("10.2.0.9")}
}

// The first of two backends takes nothing new, and the connections to it are judged.
func TestJudgeTargets(t *testing.T) {
	t.Parallel()
	kinds := []struct {
		proto  nat.Protocol
		status uint32
	}{
		{nat.TCP, established},
		{nat.TCP, unreplied},
		{nat.SCTP, established},
		{nat.SCTP, unreplied},
		{nat.UDP, established},
		{nat.UDP, unreplied},
	}
	const none = ""
	for name, c := range map[string]struct {
		judge  *Judge
		target string
		want   [6]string // for each kind
	}{
		"takes new ones":    {twoTargets(1, 1), "10.3.0.1:80", [6]string{}},
		"the second of two": {twoTargets(1, 1), "10.3.0.2:80", [6]string{}},
		"left, drained": {
			twoTargets(1, 1), "10.3.0.3:80",
			[6]string{none, WhyBackend, none, WhyBackend, WhyBackend, WhyBackend},
		},
		"left, closed": {
			twoTargets(1, 1, closesAll), "10.3.0.3:80",
			[6]string{WhyBackend, WhyBackend, WhyBackend, WhyBackend, WhyBackend, WhyBackend},
		},
		"down, closed": {
			twoTargets(0, 1, closesFirst), "10.3.0.1:80",
			[6]string{WhyDown, WhyDown, WhyDown, WhyDown, WhyDown, WhyDown},
		},
		"drained": {
			twoTargets(0, 1), "10.3.0.1:80",
			[6]string{none, WhyDrained, none, WhyDrained, WhyDrained, WhyDrained},
		},
		"drained, the other one's": {twoTargets(0, 1), "10.3.0.2:80", [6]string{}},
		"drained, without another": {twoTargets(0, 0), "10.3.0.1:80", [6]string{}},
		"drained, without another, closed": {
			twoTargets(0, 0, failClosed), "10.3.0.1:80",
			[6]string{none, WhyDrained, none, WhyDrained, WhyDrained, WhyDrained},
		},
	} {
		for i, kind := range kinds {
			e := translated(kind.proto, client, host+":80", c.target, kind.status)
			if why := c.judge.Condemned(e); why != c.want[i] {
				t.Errorf("%s: %v in %s: %q, want %q", name, kind.proto, e.State(), why, c.want[i])
			}
		}
	}
}

// Datagrams from one of a pool's addresses stay, wherever it is; those from an address that is nobody's have to go.
func TestJudgePool(t *testing.T) {
	t.Parallel()
	j := twoTargets(1, 1, pool)
	to := func(proto nat.Protocol, target string) *Entry {
		return translated(proto, client, host+":80", target, established)
	}
	judge(t, j, map[string]judgement{
		"the first address":     {via("10.2.0.8:4000", to(nat.UDP, "10.3.0.1:80")), ""},
		"the last":              {via("10.2.0.9:4000", to(nat.UDP, "10.3.0.1:80")), ""},
		"the host's":            {via(host+":4000", to(nat.UDP, "10.3.0.1:80")), ""},
		"of another backend":    {via("10.2.0.9:4000", to(nat.UDP, "10.3.0.2:80")), WhyNoSource},
		"of nobody":             {via("10.2.0.7:4000", to(nat.UDP, "10.3.0.1:80")), WhyNoSource},
		"of nobody, but waits":  {via("10.2.0.7:4000", to(nat.TCP, "10.3.0.1:80")), ""},
		"of nobody, waits, too": {via("10.2.0.7:4000", to(nat.SCTP, "10.3.0.1:80")), ""},
	})
}

// A relay on every address has only those of the families that its backends have. What is on the others is not its own.
func TestJudgeOtherFamily(t *testing.T) {
	t.Parallel()
	const listen, container = "[" + host6 + "]:80", "[2001:db8:17::2]:80"
	j := twoTargets(1, 1, func(r *nat.Relay, _ []nat.Target) { r.Listen.Addr = netip.Addr{} })
	j.Index = nat.NewIndex(j.Spec, []netip.Addr{netip.MustParseAddr(host), netip.MustParseAddr(host6)})
	judge(t, j, map[string]judgement{
		"IPv4 that bypasses":             {plain(nat.UDP, client, host+":80", established), WhyBypass},
		"IPv6 to a local service":        {plain(nat.UDP, client6, listen, established), ""},
		"IPv6 that another one sends on": {translated(nat.UDP, client6, listen, container, established), ""},
	})
	own6 := nat.Target{Addr: netip.MustParseAddr("2001:db8:3::1"), Ports: nat.PortRange{First: 80, Last: 80}, Weight: 1}
	p := &j.Places.Relays[0]
	p.Addrs, p.Targets = append(p.Addrs, netip.MustParseAddr(host6)), append(p.Targets, own6)
	judge(t, j, map[string]judgement{
		"with a backend, to a local service": {plain(nat.UDP, client6, listen, established), WhyBypass},
		"with a backend, to another one":     {translated(nat.UDP, client6, listen, container, established), WhyBackend},
		"with a backend, to it":              {translated(nat.UDP, client6, listen, "[2001:db8:3::1]:80", established), ""},
	})
	p.Addrs, p.Targets = p.Addrs[:1], p.Targets[:2]
	j.Retired = map[nat.Endpoint]bool{translated(nat.UDP, client6, listen, container, 0).Listen(): true}
	judge(t, j, map[string]judgement{
		"after the backend left, datagrams":  {translated(nat.UDP, client6, listen, "[2001:db8:3::1]:80", established), WhyBackend},
		"after the backend left, a download": {translated(nat.TCP, client6, listen, "[2001:db8:3::1]:80", established), ""},
	})
}
