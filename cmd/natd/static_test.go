package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"

	"natd/internal/control"
	"natd/internal/lab"
)

// pairOf is a static's networks, and a host of it by its number: in both families the external network is of B's VPC.
type pairOf struct {
	external, internal netip.Prefix
	client             netip.Addr // host A
	clients            netip.Prefix
}

func staticPairs() []pairOf {
	p, a := netip.MustParsePrefix, netip.MustParseAddr
	return []pairOf{
		{p("10.2.64.0/24"), p("192.168.1.0/24"), a("10.1.0.100"), p("10.1.0.0/16")},
		{p("fd00:10:2:64::/120"), p("fd00:192:168:1::/120"), a("fd00:10:1::100"), p("fd00:10:1::/48")},
	}
}

// nth is the n-th address of the network.
func nth(p netip.Prefix, n byte) netip.Addr {
	b := p.Addr().AsSlice()
	b[len(b)-1] = n
	a, _ := netip.AddrFromSlice(b)
	return a
}

// staticText is a static for each family; lines are added to each.
func staticText(lines ...string) (text string) {
	for i, p := range staticPairs() {
		text += fmt.Sprintf("[[static]]\nname = \"overlap-%d\"\nexternal = %q\ninternal = %q\nfrom = [%q]\n%s\n",
			i, p.external, p.internal, p.clients, strings.Join(lines, "\n"))
	}
	return text
}

// ownAll makes the host answer for the internal networks, with an echo server in each.
func ownAll(t testing.TB, h *lab.Host) *lab.Echo {
	t.Helper()
	for _, p := range staticPairs() {
		lab.Check(t, h.Own(t.Context(), p.internal))
	}
	tcp, err := h.EchoTCP(":7")
	lab.Check(t, err)
	_, err = h.EchoUDP(":7")
	lab.Check(t, err)
	return tcp
}

// TestStatic translates a prefix of 256 hosts one to one: seen on both sides, with all that the network has to say of it.
func TestStatic(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	ownAll(t, b.C)
	for _, p := range staticPairs() {
		lab.Check(t, b.RouteTo(p.internal, b.C))
	}
	b.start(staticText())
	atA, err := b.A.Capture(t.Context(), lab.Device, "udp port 7")
	lab.Check(t, err)
	atC, err := b.C.Capture(t.Context(), lab.Device, "udp port 7")
	lab.Check(t, err)
	var wantA, wantC []lab.Tuple
	for i, p := range staticPairs() {
		self := addrsOf(b.B)[i]
		for n := range 256 {
			dialled, real := nth(p.external, byte(n)), nth(p.internal, byte(n))
			lab.Check(t, says(t, b.A, "udp", netip.Addr{}, netip.AddrPortFrom(dialled, 7)))
			wantA = append(wantA, lab.Tuple{Src: p.client, Dst: dialled, Proto: "udp"}, lab.Tuple{Src: dialled, Dst: p.client, Proto: "udp"})
			wantC = append(wantC, lab.Tuple{Src: self, Dst: real, Proto: "udp"}, lab.Tuple{Src: real, Dst: self, Proto: "udp"})
		}
	}
	for name, side := range map[string]struct {
		capture *lab.Capture
		want    []lab.Tuple
	}{"A": {atA, wantA}, "C": {atC, wantC}} {
		packets, err := side.capture.Stop(t.Context())
		lab.Check(t, err)
		got := lab.Tuples(packets)
		for _, want := range side.want {
			if !slices.Contains(got, want) {
				t.Errorf("%s did not see %v", name, want)
			}
		}
		if len(got) != len(side.want) {
			t.Errorf("%s saw %d pairs of addresses, want %d", name, len(got), len(side.want))
		}
	}
	b.staticErrors()
	b.staticRefusesOthers()
	s := b.status()
	if st := s.Statics[0]; s.State != control.StateReady || st.Connections.Total < 256 || st.Bytes.ToClient == 0 {
		t.Errorf("status is %s %v and says %+v", s.State, s.Reasons, st)
	}
}

// staticErrors has ICMP errors come back: the socket of A gets only those that quote the addresses that it used. Whichever router
// behind B sends them, they come from what was dialled (nf_nat_icmp_reply_translation in net/netfilter/nf_nat_proto.c).
func (b *box) staticErrors() {
	b.t.Helper()
	lab.Check(b.t, b.R.SetMTU("c", 1400))
	for _, p := range staticPairs() {
		dialled := nth(p.external, 7)
		lab.Check(b.t, b.A.Ping(netip.Addr{}, dialled, patience))
		lab.Check(b.t, says(b.t, b.A, "tcp", netip.Addr{}, netip.AddrPortFrom(dialled, 7)))
		closed := netip.AddrPortFrom(dialled, 9)
		if err := says(b.t, b.A, "tcp", netip.Addr{}, closed); !errors.Is(err, syscall.ECONNREFUSED) {
			b.t.Errorf("a closed port: %v, want refused", err)
		}
		for _, tt := range []struct {
			hops, size int
			want       lab.Trouble
		}{
			{64, 10, lab.Trouble{Errno: syscall.ECONNREFUSED, By: dialled}},
			{2, 10, lab.Trouble{Errno: syscall.EHOSTUNREACH, By: dialled}},
			{3, 10, lab.Trouble{Errno: syscall.EHOSTUNREACH, By: dialled}},
			{64, 2000, lab.Trouble{Errno: syscall.EMSGSIZE, By: dialled, MTU: 1400}},
		} {
			if got, err := b.A.Provoke(closed, tt.hops, tt.size, patience); err != nil || got != tt.want {
				b.t.Errorf("%d bytes over %d hops to %v: %v, %v, want %v", tt.size, tt.hops, closed, got, err, tt.want)
			}
		}
	}
}

// staticRefusesOthers wants sources that are not in from to be nobody.
func (b *box) staticRefusesOthers() {
	b.t.Helper()
	for _, p := range staticPairs() {
		mute(b.t, b.C, netip.Addr{}, netip.AddrPortFrom(nth(p.external, 7), 7))
	}
}

// TestStaticInside has hosts behind B be dialled by, and dial, as their external addresses.
func TestStaticInside(t *testing.T) {
	t.Parallel()
	pairs := staticPairs()
	tests := map[string]struct {
		snat string
		seen []netip.Addr // whom the hosts inside see, in each family
	}{
		"auto": {"", []netip.Addr{netip.MustParseAddr("10.100.20.1"), netip.MustParseAddr("fd00:10:100:20::1")}},
		"off":  {`snat = "off"`, []netip.Addr{pairs[0].client, pairs[1].client}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBox(t)
			private, err := b.AddPrivate()
			lab.Check(t, err)
			echo := ownAll(t, private)
			atA, err := b.A.EchoTCP(":7")
			lab.Check(t, err)
			_, err = b.C.EchoTCP(":7")
			lab.Check(t, err)
			for i, p := range pairs {
				lab.Check(t, b.B.AddRoute(p.internal, addrsOf(private)[i]))
			}
			b.start(staticText(tt.snat))
			for i, p := range pairs {
				lab.Check(t, says(t, b.A, "tcp", netip.Addr{}, netip.AddrPortFrom(nth(p.external, 7), 7)))
				lastPeer(t, "the host inside", echo, tt.seen[i])
				inside := nth(p.internal, 9)
				lab.Check(t, says(t, private, "tcp", inside, netip.AddrPortFrom(p.client, 7)))
				lastPeer(t, "A", atA, nth(p.external, 9))
				lab.Check(t, private.Ping(inside, p.client, patience))
				mute(t, private, inside, netip.AddrPortFrom(addrsOf(b.C)[i], 7)) // not in from
			}
			b.staticRefusesOthers()
			if out, _, _ := b.natctl("connections"); !strings.Contains(out, "static  overlap-0") {
				t.Errorf("natctl connections has no static:\n%s", out)
			}
			b.narrowStatic(tt.snat)
		})
	}
}

// lastPeer wants the last client of a server to have had the address.
func lastPeer(t *testing.T, who string, echo *lab.Echo, want netip.Addr) {
	t.Helper()
	peers := echo.Peers()
	if got := peers[len(peers)-1].Addr(); got != want {
		t.Errorf("%s saw %v, want %v", who, got, want)
	}
}

// narrowStatic takes A out of the static's from: what it and the hosts inside had open ends.
func (b *box) narrowStatic(snat string) {
	b.t.Helper()
	dialled := netip.MustParseAddrPort("10.2.64.7:7")
	b.A.Converse(b.t, netip.Addr{}, dialled.String())
	b.reload(strings.Replace(staticText(snat), `from = ["10.1.0.0/16"]`, `from = ["10.4.0.0/16"]`, 1))
	for side, addr := range map[string]string{"--orig-dst": "10.2.64.7", "--orig-src": "192.168.1.9"} {
		if left, err := b.B.Conntrack(b.t.Context(), "-p", "tcp", side, addr); err != nil || len(left) > 0 {
			b.t.Errorf("still tracked: %q, %v", left, err)
		}
	}
	mute(b.t, b.A, netip.Addr{}, dialled)
}

// TestStaticPool gives clients addresses of a pool, each its own.
func TestStaticPool(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	lab.Check(t, b.B.AddExtra(2))
	lab.Check(t, b.A.Own(t.Context(), netip.MustParsePrefix("10.1.7.0/24")))
	echo := ownAll(t, b.C)
	for _, p := range staticPairs() {
		lab.Check(t, b.RouteTo(p.internal, b.C))
	}
	config, _, _ := strings.Cut(staticText(`snat = ["10.2.0.101", "10.2.0.102"]`), "[[static]]\nname = \"overlap-1\"") // that of IPv4
	b.start(config)
	homes := make(map[netip.Addr]netip.Addr)
	for n := range byte(24) {
		client := nth(netip.MustParsePrefix("10.1.7.0/24"), n+1)
		for range 2 {
			lab.Check(t, says(t, b.A, "tcp", client, netip.MustParseAddrPort("10.2.64.7:7")))
			peers := echo.Peers()
			home := peers[len(peers)-1].Addr()
			if homes[client].IsValid() && homes[client] != home {
				t.Errorf("client %v has %v and %v", client, homes[client], home)
			}
			homes[client] = home
		}
	}
	if used := distinct(homes); !slices.Equal(used, []string{"10.2.0.101", "10.2.0.102"}) {
		t.Errorf("the clients have %v", used)
	}
}

// TestStaticOfTheHost wants a static that takes the host's own address, and with it sshd's, to be refused: at the start and at a reload.
func TestStaticOfTheHost(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	sshd, err := b.B.EchoTCP("0.0.0.0:22")
	lab.Check(t, err)
	login := netip.AddrPortFrom(b.B.Addr, 22)
	own := "[[static]]\nname = \"own\"\nexternal = \"10.2.0.100/32\"\ninternal = \"10.3.0.100/32\"\n"
	remedy := "choose other addresses, or set override_local = true"
	b.configure(own)
	b.launch()
	b.awaitStatus(func(s *control.Status) error {
		if st := s.Statics[0]; st.State == control.RelayReady || !strings.Contains(st.Reason, "port 22/tcp") || !strings.Contains(st.Reason, remedy) {
			return fmt.Errorf("static own is %s: %q", st.State, st.Reason)
		}
		return nil
	})
	lab.Check(t, says(t, b.A, "tcp", netip.Addr{}, login))
	b.refuse(own, control.CodeConfig, "natd.toml:3", "port 22/tcp", remedy)
	lab.Check(t, says(t, b.A, "tcp", netip.Addr{}, login))
	_, err = b.C.EchoTCP("10.3.0.100:22")
	lab.Check(t, err)
	b.reload(own + "override_local = true\n")
	b.awaitReady()
	before := len(sshd.Peers())
	lab.Check(t, says(t, b.A, "tcp", netip.Addr{}, login))
	if len(sshd.Peers()) != before {
		t.Error("with override_local the connection came to the host")
	}
	// A service that comes later does not end the static, not even at a restart of natd.
	b.reload(own + "override_local = true\n")
	b.kill()
	b.launch()
	b.awaitReady()
}

// TestOverlappingNetworks reaches two networks with the same addresses, each by an external one of its own: the routes tell them
// apart by the client.
func TestOverlappingNetworks(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	private, err := b.AddPrivate()
	lab.Check(t, err)
	same := netip.MustParsePrefix("192.168.1.0/24")
	for name, h := range map[string]*lab.Host{"of C": b.C, "of P": private} {
		lab.Check(t, h.Own(t.Context(), same))
		_, err := h.TellTCP(":7000", name)
		lab.Check(t, err)
	}
	lab.Check(t, b.RouteTo(same, b.C))
	lab.Check(t, b.B.AddRoute(same, netip.MustParseAddr("10.2.0.1")))
	b.B.Output(t, "ip", "route", "add", same.String(), "via", private.Addr.String(), "table", "77")
	b.B.Output(t, "ip", "rule", "add", "from", "10.3.0.0/16", "lookup", "77")
	b.start(`
[[static]]
name = "c"
external = "10.2.64.0/24"
internal = "192.168.1.0/24"
from = ["10.1.0.0/16"]

[[static]]
name = "p"
external = "10.2.65.0/24"
internal = "192.168.1.0/24"
from = ["10.3.0.0/16"]
`)
	for name, call := range map[string]struct {
		from *lab.Host
		to   string
	}{"of C": {b.A, "10.2.64.7:7000"}, "of P": {b.C, "10.2.65.7:7000"}} {
		calls, err := call.from.Call(t.Context(), lab.Plan{Network: "tcp", To: netip.MustParseAddrPort(call.to), Count: 3})
		lab.Check(t, err)
		if n := calls.Names()[name]; n != 3 {
			t.Errorf("%s: %v of 3 calls reached what is %s: %v", call.to, n, name, calls.Err())
		}
	}
}
