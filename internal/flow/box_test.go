package flow

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"natd/nat"
)

func prefixes(list ...string) (out []netip.Prefix) {
	for _, p := range list {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

func gateway(from ...string) nat.Gateway {
	return nat.Gateway{Name: "out", From: prefixes(from...), To: prefixes("0.0.0.0/0", "::/0"), Enabled: true}
}

func static(external, internal string, from ...string) nat.Static {
	return nat.Static{
		Name: "overlap", External: netip.MustParsePrefix(external), Internal: netip.MustParsePrefix(internal),
		From: prefixes(from...), Enabled: true,
	}
}

// masqueraded is a connection of a host behind the gateway.
func masqueraded(proto nat.Protocol, from, to string) *Entry {
	e := plain(proto, from, to, established|statusSrcNAT)
	e.Reply.Dst = addrPort(host + ":4000")
	return e
}

func TestBoxes(t *testing.T) {
	t.Parallel()
	off := gateway("10.9.0.0/16")
	off.Enabled = false
	spec := &nat.Spec{
		Gateways: []nat.Gateway{gateway("10.100.0.0/16", "fd00::/64"), off},
		Statics:  []nat.Static{static("10.2.64.0/24", "192.168.1.0/24", "10.1.0.0/16"), static("fd00:1::/64", "fd00:2::/64")},
	}
	var got []string
	for _, b := range slices.Collect(boxes(spec)) {
		way := ""
		if b.To.IsValid() {
			way = " to " + b.To.String()
		}
		got = append(got, b.Src.String()+" > "+b.Dst.String()+way)
	}
	want := []string{
		"10.100.0.0/16 > 0.0.0.0/0", "fd00::/64 > ::/0",
		"10.1.0.0/16 > 10.2.64.0/24 to 192.168.1.0/24", "192.168.1.0/24 > 10.1.0.0/16",
		"::/0 > fd00:1::/64 to fd00:2::/64", "fd00:2::/64 > ::/0",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if gone := Removed(passages(spec), spec); len(gone) != 0 {
		t.Errorf("nothing changed, and gone is %v", gone)
	}
	if gone := Removed(passages(spec), &nat.Spec{}); len(gone) != len(want) ||
		slices.ContainsFunc(gone, func(b Box) bool { return !slices.Contains(Boxes(spec), b) }) {
		t.Errorf("all is gone, and gone is %v", gone)
	}
}

// judgeChange judges after the one spec became the other.
func judgeChange(was, is *nat.Spec) *Judge {
	own := []netip.Addr{netip.MustParseAddr(host)}
	places := &nat.Placements{Relays: make([]nat.Placement, len(is.Relays))}
	for i := range is.Relays {
		b := &is.Relays[i].Backends[0]
		places.Relays[i] = nat.Placement{Addrs: own, Targets: []nat.Target{{Addr: b.Addr, Ports: b.Ports, Weight: 1, SNAT: own}}}
	}
	return &Judge{Spec: is, Places: places, Index: nat.NewIndex(is, own), Gone: Removed(passages(was), is)}
}

func TestJudgeGateways(t *testing.T) {
	t.Parallel()
	was := &nat.Spec{Gateways: []nat.Gateway{gateway("10.100.0.0/16", "fd00::/64")}}
	const a, b, web = "10.100.1.5:40000", "10.100.2.5:40000", "198.51.100.1:443"
	connections := func(narrowed, removed string) map[string]judgement {
		return map[string]judgement{
			"of a host that stays":     {masqueraded(nat.TCP, a, web), removed},
			"of a host that left":      {masqueraded(nat.TCP, b, web), narrowed},
			"its pings":                {masqueraded(1, "10.100.2.5:0", "198.51.100.1:0"), narrowed},
			"its IPv6":                 {masqueraded(nat.UDP, "[fd00::5]:40000", "[2001:db8::1]:443"), narrowed},
			"not translated":           {plain(nat.TCP, b, web, established), ""},
			"of a host of nobody":      {masqueraded(nat.TCP, "172.17.0.2:40000", web), ""},
			"that another one sent on": {translated(nat.TCP, b, host+":2375", "172.17.0.2:80", established), ""},
		}
	}
	judge(t, judgeChange(was, was), connections("", ""))
	judge(t, judgeChange(was, &nat.Spec{Gateways: []nat.Gateway{gateway("10.100.0.0/23")}}), connections(WhyGone, ""))
	judge(t, judgeChange(was, &nat.Spec{}), connections(WhyGone, WhyGone))
	// Split in two, it serves the same hosts.
	judge(t, judgeChange(was, &nat.Spec{Gateways: []nat.Gateway{gateway("10.100.0.0/17", "10.100.128.0/17", "fd00::/64")}}), connections("", ""))
}

func TestJudgeStatics(t *testing.T) {
	t.Parallel()
	was := &nat.Spec{Statics: []nat.Static{static("10.2.64.0/24", "192.168.1.0/24", "10.1.0.0/16", "10.4.0.0/16")}}
	connections := func(narrowed, removed string) map[string]judgement {
		return map[string]judgement{
			"of a client that stays":   {translated(nat.TCP, client, "10.2.64.7:22", "192.168.1.7:22", established), removed},
			"of a client that left":    {translated(nat.TCP, "10.4.0.5:40000", "10.2.64.7:22", "192.168.1.7:22", established), narrowed},
			"its pings":                {translated(1, "10.4.0.5:0", "10.2.64.7:0", "192.168.1.7:0", established), narrowed},
			"to a client that stays":   {masqueraded(nat.TCP, "192.168.1.7:40000", "10.1.0.5:80"), removed},
			"to a client that left":    {masqueraded(nat.UDP, "192.168.1.7:40000", "10.4.0.5:80"), narrowed},
			"to somewhere else":        {masqueraded(nat.TCP, "192.168.1.7:40000", "198.51.100.1:443"), ""},
			"that another one sent on": {translated(nat.TCP, client, "10.2.65.7:22", "192.168.1.7:22", established), ""},
			"by another one, the same": {translated(nat.TCP, client, "10.2.64.7:22", "172.17.0.2:22", established), ""},
		}
	}
	judge(t, judgeChange(was, was), connections("", ""))
	judge(t, judgeChange(was, &nat.Spec{Statics: []nat.Static{static("10.2.64.0/24", "192.168.1.0/24", "10.1.0.0/16")}}), connections(WhyGone, ""))
	judge(t, judgeChange(was, &nat.Spec{}), connections(WhyGone, WhyGone))
}

// A static that leads elsewhere is a changed backend: what has a connection drains.
func TestJudgeStaticMoves(t *testing.T) {
	t.Parallel()
	was := &nat.Spec{Statics: []nat.Static{static("10.2.64.0/24", "192.168.1.0/24")}}
	is := &nat.Spec{Statics: []nat.Static{static("10.2.64.0/24", "192.168.2.0/24")}}
	const dialled, old, now = "10.2.64.7:22", "192.168.1.7:22", "192.168.2.7:22"
	judge(t, judgeChange(was, is), map[string]judgement{
		"established":            {translated(nat.TCP, client, dialled, old, established), ""},
		"not answered":           {translated(nat.TCP, client, dialled, old, unreplied), WhyMoved},
		"datagrams":              {translated(nat.UDP, client, dialled, old, established), WhyMoved},
		"pings":                  {translated(1, "10.1.0.5:0", "10.2.64.7:0", "192.168.1.7:0", established), WhyMoved},
		"datagrams to the new":   {translated(nat.UDP, client, dialled, now, established), ""},
		"of the old host inside": {masqueraded(nat.TCP, "192.168.1.7:40000", client), WhyGone},
		"of the new host inside": {masqueraded(nat.TCP, "192.168.2.7:40000", client), ""},
	})
}

// A relay that takes the address of a static keeps what goes to its own backend, and nothing else.
func TestJudgeStaticBecomesRelay(t *testing.T) {
	t.Parallel()
	was := &nat.Spec{Statics: []nat.Static{static(host+"/32", "10.3.0.100/32")}}
	is := &nat.Spec{Relays: []nat.Relay{relay("web", 80, "10.3.0.200:80", nat.TCP)}}
	judge(t, judgeChange(was, is), map[string]judgement{
		"of the static":            {translated(nat.TCP, client, host+":80", "10.3.0.100:80", established), WhyGone},
		"of the static, elsewhere": {translated(nat.TCP, client, host+":22", "10.3.0.100:22", established), WhyGone},
		"of the relay":             {translated(nat.TCP, client, host+":80", "10.3.0.200:80", established), ""},
	})
}

// passages is what the kernel has of the spec.
func passages(spec *nat.Spec) []nat.Passage {
	places := &nat.Placements{
		Relays: make([]nat.Placement, len(spec.Relays)), Gateways: make([]nat.Placement, len(spec.Gateways)), Statics: make([]nat.Placement, len(spec.Statics)),
	}
	return nat.Build(spec, places).Passages()
}

// Datagrams that leave with an address of a pool which the host has no more would be answered to nobody, for as long as they come.
func TestJudgeHomeless(t *testing.T) {
	t.Parallel()
	g := gateway("10.100.0.0/16")
	g.SNAT = nat.SNAT{Mode: nat.SNATFixed, Addrs: []netip.Addr{netip.MustParseAddr(host), netip.MustParseAddr("10.2.0.101")}}
	spec := &nat.Spec{Gateways: []nat.Gateway{g}, Statics: []nat.Static{static("10.2.64.0/24", "192.168.1.0/24")}}
	for _, tt := range []struct {
		proto       nat.Protocol
		client, src string
		want        string
	}{
		{nat.UDP, "10.100.1.5", "10.2.0.101", WhyNoSource},
		{nat.UDP, "10.100.1.5", host, ""},
		{nat.TCP, "10.100.1.5", "10.2.0.101", ""},
		{nat.UDP, "192.168.1.5", "10.2.64.5", ""},
	} {
		server := netip.MustParseAddrPort("198.51.100.1:53")
		e := &Entry{
			Proto: tt.proto, status: statusSrcNAT | statusSeenReply,
			Orig:  Tuple{Src: netip.AddrPortFrom(netip.MustParseAddr(tt.client), 1024), Dst: server},
			Reply: Tuple{Src: server, Dst: netip.AddrPortFrom(netip.MustParseAddr(tt.src), 1024)},
		}
		if got := judgeChange(spec, spec).Condemned(e); got != tt.want {
			t.Errorf("%v of %s from %s: %q, want %q", tt.proto, tt.client, tt.src, got, tt.want)
		}
	}
}
