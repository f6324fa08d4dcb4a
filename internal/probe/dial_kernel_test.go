package probe

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"natd/internal/icmp"
	"natd/internal/lab"
)

// rejects are the ways in which a packet filter can refuse, by the words of nft, on ports that go up from where they begin.
func rejects(v6 bool) []string {
	if v6 {
		return []string{"no-route", "admin-prohibited", "addr-unreachable", "port-unreachable"}
	}
	return []string{"net-unreachable", "host-unreachable", "prot-unreachable", "port-unreachable", "net-prohibited", "host-prohibited", "admin-prohibited"}
}

// The first ports that C and R refuse, the ports that are silent, and those that B itself refuses.
const (
	atTarget, atRouter  = 8100, 8200
	dropped, droppedOut = 8300, 8301
	forbiddenOut        = 8302
	resetByFilter       = 8303
	open, closed        = 8400, 8401
)

// refusing is a chain that refuses TCP and UDP in all ways.
func refusing(hook string, first int) string {
	rules := fmt.Sprintf("th dport %d drop; tcp dport %d reject with tcp reset;", dropped, resetByFilter)
	for i, word := range rejects(false) {
		rules += fmt.Sprintf("meta nfproto ipv4 th dport %d reject with icmp type %s;", first+i, word)
	}
	for i, word := range rejects(true) {
		rules += fmt.Sprintf("meta nfproto ipv6 th dport %d reject with icmpv6 type %s;", first+i, word)
	}
	return fmt.Sprintf("table inet refusing { chain c { type filter hook %s priority -10; meta l4proto { tcp, udp } jump r; }; chain r { %s }; }", hook, rules)
}

// probeCase is a probe and what it must find.
type probeCase struct {
	name   string
	dial   Dial
	kind   Kind
	errno  syscall.Errno
	icmp   string // as its String
	silent netip.Addr
}

// TestKernelConnect provokes everything that a probe can meet with, by the real kernel: TCP and UDP, IPv4 and IPv6.
func TestKernelConnect(t *testing.T) {
	t.Parallel()
	p := lab.New(t)
	lab.Check(t, p.C.Nft(t.Context(), refusing("input", atTarget)))
	lab.Check(t, p.R.Nft(t.Context(), refusing("forward", atRouter)))
	for _, h := range []*lab.Host{p.C, p.R} { // no error is to be withheld (icmp(7))
		lab.Check(t, errors.Join(h.SetSysctl("net.ipv4.icmp_ratemask", "0"), h.SetSysctl("net.ipv6.icmp.ratelimit", "0")))
	}
	lab.Check(t, p.B.Nft(t.Context(), fmt.Sprintf(`table inet own { chain out { type filter hook output priority 0
		th dport %d drop
		meta l4proto { tcp, udp } th dport %d reject with icmpx type admin-prohibited
	}; }`, droppedOut, forbiddenOut)))
	var cases []probeCase
	targets := map[string][2]netip.Addr{"IPv4": {p.B.Addr, p.C.Addr}}
	if p.B.Addr6.IsValid() {
		targets["IPv6"] = [2]netip.Addr{p.B.Addr6, p.C.Addr6}
	}
	for name, a := range targets {
		for _, udp := range []bool{false, true} {
			serve(t, p.C, netip.AddrPortFrom(a[1], open), udp)
			cases = append(cases, onTheWay(name, a[0], a[1], udp)...)
			cases = append(cases, onTheHost(t, p, name, a[0], a[1], udp)...)
		}
	}
	var all sync.WaitGroup
	for _, tt := range cases {
		all.Go(func() {
			var out Outcome
			if err := p.B.Do(func() error { out = Connect(t.Context(), tt.dial); return nil }); err != nil {
				t.Error(err)
			}
			tt.check(t, out)
		})
	}
	all.Wait()
}

// serve starts a server.
func serve(t *testing.T, h *lab.Host, at netip.AddrPort, udp bool) {
	t.Helper()
	start := h.EchoTCP
	if udp {
		start = h.EchoUDP
	}
	_, err := start(at.String())
	lab.Check(t, err)
}

// onTheWay are the cases of the target and the router.
func onTheWay(name string, from, to netip.Addr, udp bool) []probeCase {
	v6 := to.Is6()
	router := netip.MustParseAddr("10.2.0.1")
	if v6 {
		router = netip.MustParseAddr("fd00:10:2::1")
	}
	at := func(port int) Dial {
		return Dial{From: from, To: netip.AddrPortFrom(to, uint16(port)), UDP: udp}
	}
	nobody := probeCase{name: "closed", dial: at(closed), kind: Refused, errno: unix.ECONNREFUSED}
	reset := probeCase{name: "reset by a filter", dial: at(resetByFilter), kind: Refused, errno: unix.ECONNREFUSED}
	if udp {
		nobody.icmp = fmt.Sprintf("port-unreachable from %v (target)", to)
		reset.icmp = nobody.icmp // the rule is for TCP
	}
	cases := []probeCase{
		nobody, reset,
		{name: "open", dial: at(open), kind: Answered},
		{name: "dropped", dial: at(dropped), kind: NoReply},
		{name: "out of any port", dial: Dial{To: netip.AddrPortFrom(to, open), UDP: udp, Device: lab.Device}, kind: Answered},
	}
	for i, word := range rejects(v6) {
		target := probeCase{name: word, dial: at(atTarget + i), kind: Unreachable, icmp: fmt.Sprintf("%s from %v (target)", word, to)}
		if udp && word == "port-unreachable" {
			target.kind = Refused
		}
		cases = append(cases, target,
			probeCase{name: word, dial: at(atRouter + i), kind: Unreachable, icmp: fmt.Sprintf("%s from %v (router)", word, router)})
	}
	return prefixed(cases, name, udp)
}

// onTheHost are the cases that host B makes itself, and its neighbours.
func onTheHost(t *testing.T, p *lab.Peering, name string, from, to netip.Addr, udp bool) []probeCase {
	t.Helper()
	nets := []string{"10.90.%d.0/24", "10.2.0.77", "10.3.0.77", "10.2.0.99", "10.2.0.1"}
	family, nothing := "-4", "host-unreachable"
	if to.Is6() {
		nets = []string{"fd00:90:%d::/64", "fd00:10:2::77", "fd00:10:3::77", "fd00:10:2::99", "fd00:10:2::1"}
		family, nothing = "-6", "addr-unreachable"
	}
	at := func(addr string, port int) Dial {
		return Dial{From: from, To: netip.AddrPortFrom(netip.MustParseAddr(addr), uint16(port)), UDP: udp}
	}
	there := to.String()
	absent, foreign, device := netip.MustParseAddr(nets[1]), at(there, open), at(there, open)
	foreign.From, device.Device = netip.MustParseAddr(nets[3]), "nosuch0"
	forbidden := probeCase{name: "forbidden on the way out", dial: at(there, forbiddenOut), kind: LocalError}
	if udp {
		forbidden.errno = unix.EPERM // the kernel says so before the error comes
	} else {
		forbidden.icmp = fmt.Sprintf("admin-prohibited from %v (host)", from)
	}
	hasty := at(nets[1], open)
	hasty.Timeout = 1500 * time.Millisecond
	cases := []probeCase{
		forbidden,
		{name: "absent neighbour, soon", dial: hasty, kind: Unreachable, silent: absent},
		{name: "dropped on the way out", dial: at(there, droppedOut), kind: LocalError, errno: unix.EPERM},
		{name: "absent neighbour", dial: at(nets[1], open), kind: Unreachable, silent: absent},
		{name: "absent behind the router", dial: at(nets[2], open), kind: Unreachable, icmp: fmt.Sprintf("%s from %v (router)", nothing, nets[4])},
		{name: "address of another host", dial: foreign, kind: LocalError, errno: unix.EADDRNOTAVAIL},
		{name: "no such interface", dial: device, kind: LocalError, errno: unix.ENODEV},
	}
	for i, kind := range []string{"unreachable", "blackhole", "prohibit", "throw"} {
		net := netip.MustParsePrefix(fmt.Sprintf(nets[0], i))
		p.B.Output(t, "ip", family, "route", "replace", kind, net.String())
		if kind == "throw" { // which goes on to the next table: there is none
			continue
		}
		cases = append(cases, probeCase{name: kind, dial: at(net.Addr().Next().String(), open), kind: NoRoute})
	}
	return prefixed(cases, name, udp)
}

func prefixed(cases []probeCase, family string, udp bool) []probeCase {
	proto := "TCP"
	if udp {
		proto = "UDP"
	}
	for i := range cases {
		cases[i].name = family + " " + proto + " " + cases[i].name
	}
	return cases
}

// check compares an outcome with what it should be.
func (tt probeCase) check(t *testing.T, out Outcome) {
	t.Helper()
	got := ""
	if out.ICMP.IsValid() {
		got = out.ICMP.String()
	}
	wrong := out.Kind != tt.kind || (out.Err == nil) != (tt.kind == Answered) || tt.errno != 0 && !errors.Is(out.Err, tt.errno)
	if tt.silent.IsValid() { // by its own patience, or by that of the kernel, whichever ends first
		wrong = wrong || out.Neighbour != tt.silent
	} else {
		wrong = wrong || got != tt.icmp || out.Neighbour.IsValid()
	}
	if tt.kind == Answered && (out.RTT <= 0 || out.RTT > DefaultTimeout || !tt.dial.UDP && (out.MSS < 8000 || out.MSS > 9001)) {
		wrong = true
	}
	if wrong {
		t.Errorf("%s: %q, %v (%s), neighbour %v, RTT %v, MSS %d; want %q, %v (%s), %v", tt.name, out.Kind, out.Err, got, out.Neighbour, out.RTT, out.MSS,
			tt.kind, tt.errno, tt.icmp, tt.silent)
	}
}

// TestKernelConnectNoRoute probes without any route.
func TestKernelConnectNoRoute(t *testing.T) {
	t.Parallel()
	h := lab.NewHost(t)
	lab.Check(t, h.Do(func() error {
		for _, to := range []string{"10.3.0.100:80", "[fd00:10:3::100]:80"} {
			for _, udp := range []bool{false, true} {
				d := Dial{To: netip.MustParseAddrPort(to), UDP: udp}
				if out := Connect(t.Context(), d); out.Kind != NoRoute || !errors.Is(out.Err, unix.ENETUNREACH) {
					t.Errorf("%v: %q, %v", to, out.Kind, out.Err)
				}
			}
			if out := Ping(t.Context(), netip.Addr{}, netip.MustParseAddrPort(to).Addr()); out.Kind != NoRoute {
				t.Errorf("ping %v: %q, %v", to, out.Kind, out.Err)
			}
			if m := PathMTU(t.Context(), netip.Addr{}, netip.MustParseAddrPort(to).Addr()); m.Err == nil || m.Answers {
				t.Errorf("MTU %v: %+v", to, m)
			}
		}
		return nil
	}))
}

// TestKernelConnectUnseen wants the server's program not to hear of a probe, and counts its SYNs when nobody answers.
func TestKernelConnectUnseen(t *testing.T) {
	t.Parallel()
	lab.Require(t, "tcpdump")
	p := lab.New(t)
	server, err := p.C.EchoTCP(netip.AddrPortFrom(p.C.Addr, open).String())
	lab.Check(t, err)
	lab.Check(t, p.C.Nft(t.Context(), fmt.Sprintf("table inet silence { chain in { type filter hook input priority 0; tcp dport %d drop; }; }", dropped)))
	capture, err := p.C.Capture(t.Context(), lab.Device, "tcp")
	lab.Check(t, err)
	lab.Check(t, p.B.Do(func() error {
		for _, port := range []uint16{open, dropped} {
			Connect(t.Context(), Dial{From: p.B.Addr, To: netip.AddrPortFrom(p.C.Addr, port)})
		}
		return nil
	}))
	packets, err := capture.Stop(t.Context())
	lab.Check(t, err)
	flags := map[uint16]string{}
	for _, packet := range packets {
		flags[packet.Src.Port()+packet.Dst.Port()-max(packet.Src.Port(), packet.Dst.Port())] += packet.Flags + " "
	}
	if got := flags[open]; got != "S S. R. " && got != "S S. . R. " {
		t.Errorf("an answered probe is %q, want SYN, SYN-ACK and RST", got)
	}
	if n := len(flags[dropped]) / 2; n < 2 || n > 4 {
		t.Errorf("an unanswered probe is %q, want two to four SYNs", flags[dropped])
	}
	if peers := server.Peers(); len(peers) > 1 {
		t.Errorf("the server saw %v", peers)
	}
}

// TestKernelPing pings who answers, who does not, and who cannot be reached, as root and, by a ping socket, as anybody.
func TestKernelPing(t *testing.T) {
	t.Parallel()
	p := lab.New(t)
	lab.Check(t, p.C.Nft(t.Context(), `table inet quiet { chain in { type filter hook input priority 0
		ip daddr 10.3.0.101 drop
		ip daddr 10.3.0.102 reject with icmp type admin-prohibited
	}; }`))
	for _, a := range []string{"10.3.0.101/24", "10.3.0.102/24"} {
		lab.Check(t, p.C.AddAddr(lab.Device, netip.MustParsePrefix(a)))
	}
	for _, everybody := range []string{"1 0", "0 2147483647"} {
		lab.Check(t, p.B.SetSysctl("net.ipv4.ping_group_range", everybody))
		tests := []probeCase{
			{dial: Dial{From: p.B.Addr, To: netip.AddrPortFrom(p.C.Addr, 0)}, kind: Answered},
			{dial: Dial{To: netip.AddrPortFrom(p.C.Addr6, 0)}, kind: Answered},
			{dial: Dial{To: netip.MustParseAddrPort("10.3.0.101:0")}, kind: NoReply},
			{dial: Dial{To: netip.MustParseAddrPort("10.3.0.102:0")}, kind: Unreachable, icmp: "admin-prohibited from 10.3.0.102 (target)"},
			{dial: Dial{To: netip.MustParseAddrPort("10.2.0.77:0")}, kind: Unreachable, silent: netip.MustParseAddr("10.2.0.77")},
		}
		var all sync.WaitGroup
		for _, tt := range tests {
			if !tt.dial.To.Addr().IsValid() {
				continue // no IPv6 here
			}
			tt.name, tt.dial.UDP = fmt.Sprintf("ping %v, %s may", tt.dial.To.Addr(), everybody), true
			all.Go(func() {
				var out Outcome
				if err := p.B.Do(func() error { out = Ping(t.Context(), tt.dial.From, tt.dial.To.Addr()); return nil }); err != nil {
					t.Error(err)
				}
				tt.check(t, out)
			})
		}
		all.Wait()
	}
}

// TestICMPNames wants the words of nft, which the cases above are made with.
func TestICMPNames(t *testing.T) {
	t.Parallel()
	if got := (ICMP{Message: icmp.Message{Type: icmp.Unreachable, Code: 13}, From: netip.MustParseAddr("10.3.0.1"), Sender: ByRouter}).String(); got != "admin-prohibited from 10.3.0.1 (router)" {
		t.Error(got)
	}
	if got := (ICMP{}).String(); got != "none" {
		t.Error(got)
	}
}
