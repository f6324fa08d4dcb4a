package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"natd/internal/control"
	"natd/internal/lab"
)

// The networks of the lab's private host.
const (
	privateNet  = "10.100.20.0/24"
	privateNet6 = "fd00:10:100:20::/64"
)

// edgeBox is a box whose host B has a private host behind it and the internet in front of it, and is all that keeps the two apart.
type edgeBox struct {
	*box
	private, internet *lab.Host
	servers           []netip.AddrPort // echo, in the internet: TCP and UDP
	echo              []*lab.Echo      // of TCP
}

func newEdge(t testing.TB) *edgeBox {
	t.Helper()
	b := newBox(t)
	private, err := b.AddPrivate()
	lab.Check(t, err)
	internet, err := b.AddInternet(t.Context())
	lab.Check(t, err)
	e := &edgeBox{box: b, private: private, internet: internet}
	for _, a := range addrsOf(internet) {
		tcp, err := internet.EchoTCP(netip.AddrPortFrom(a, 7).String())
		lab.Check(t, err)
		_, err = internet.EchoUDP(netip.AddrPortFrom(a, 7).String())
		lab.Check(t, err)
		e.servers, e.echo = append(e.servers, tcp.Addr), append(e.echo, tcp)
	}
	return e
}

// addrsOf is the host's address in each family.
func addrsOf(h *lab.Host) (addrs []netip.Addr) {
	for _, a := range []netip.Addr{h.Addr, h.Addr6} {
		if a.IsValid() {
			addrs = append(addrs, a)
		}
	}
	return addrs
}

// gatewayText is the gateway of the private host's networks; lines are added to it.
func gatewayText(lines ...string) string {
	return fmt.Sprintf("[[gateway]]\nname = \"out\"\nfrom = [%q, %q]\n%s\n", privateNet, privateNet6, strings.Join(lines, "\n"))
}

// says dials an echo server and hears it, from an address of the host or any when from is the zero Addr.
func says(t testing.TB, h *lab.Host, network string, from netip.Addr, to netip.AddrPort) error {
	t.Helper()
	c, err := h.DialFrom(t.Context(), network, from, to.String())
	if err != nil {
		return err
	}
	defer c.Close()
	lab.Check(t, c.SetDeadline(time.Now().Add(patience)))
	if _, err := c.Write([]byte("natd")); err != nil {
		return err
	}
	_, err = c.Read(make([]byte, 4))
	return err
}

// mute wants nobody to answer.
func mute(t testing.TB, h *lab.Host, from netip.Addr, to netip.AddrPort) {
	t.Helper()
	calls, err := h.Call(t.Context(), lab.Plan{Network: "tcp", To: to, Count: 1, From: sources(from), Within: 300 * time.Millisecond})
	lab.Check(t, err)
	if timeout, ok := errors.AsType[net.Error](calls[0].Err); !ok || !timeout.Timeout() {
		t.Errorf("%s from %v to %v: %v, want silence", h.Name, from, to, calls[0].Err)
	}
}

func sources(from netip.Addr) []netip.Addr {
	if !from.IsValid() {
		return nil
	}
	return []netip.Addr{from}
}

// translated wants everything that left B for the internet to have had an address of B's VPC.
func (e *edgeBox) translated() {
	e.t.Helper()
	n, err := e.Untranslated(e.t.Context())
	lab.Check(e.t, err)
	if n != 0 {
		e.t.Errorf("%d packets left B for the internet untranslated", n)
	}
}

// TestGateway lets a private host reach the internet, in all ways that the network speaks, and nothing else through.
func TestGateway(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	for _, s := range e.servers {
		mute(t, e.private, netip.Addr{}, s)
	}
	e.start(gatewayText())
	routers := []netip.Addr{netip.MustParseAddr("10.2.0.1"), netip.MustParseAddr("fd00:10:2::1")}
	for i, s := range e.servers {
		for _, network := range []string{"tcp", "udp"} {
			lab.Check(t, says(t, e.private, network, netip.Addr{}, s))
		}
		lab.Check(t, e.private.Ping(netip.Addr{}, s.Addr(), patience))
		for _, peer := range e.echo[i].Peers() {
			if peer.Addr() != addrsOf(e.B)[i] {
				t.Errorf("the internet saw %v, want B", peer)
			}
		}
		closed := netip.AddrPortFrom(s.Addr(), 9)
		if err := says(t, e.private, "tcp", netip.Addr{}, closed); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("a closed port: %v, want refused", err)
		}
		for _, tt := range []struct {
			hops int
			want lab.Trouble
		}{{2, lab.Trouble{Errno: syscall.EHOSTUNREACH, By: routers[i]}}, {64, lab.Trouble{Errno: syscall.ECONNREFUSED, By: s.Addr()}}} {
			if got, err := e.private.Provoke(closed, tt.hops, 10, patience); err != nil || got != tt.want {
				t.Errorf("over %d hops: %v, %v, want %v", tt.hops, got, err, tt.want)
			}
		}
	}
	e.translated()
	g := e.status().Gateways[0]
	if want := uint64(len(e.servers) * 6); g.State != control.StateReady || g.Connections.Total < want || g.Bytes.ToClient == 0 {
		t.Errorf("status says %+v, want at least %d connections, and bytes", g, want)
	}
}

// TestGatewayHoldsBack takes the router's protection away: then B alone keeps the internet from the private host, and others from the
// internet.
func TestGatewayHoldsBack(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	e.start(gatewayText())
	strange := netip.MustParseAddr("10.100.21.5") // of a network that the gateway is not for
	lab.Check(t, e.private.AddAddr(lab.Device, netip.PrefixFrom(strange, 24)))
	lab.Check(t, e.B.AddRoute(netip.MustParsePrefix("10.100.21.0/24"), e.private.Addr))
	mute(t, e.private, strange, e.servers[0])
	e.translated()
	for i, net := range []string{privateNet, privateNet6}[:len(e.servers)] {
		lab.Check(t, e.Expose(t.Context(), netip.MustParsePrefix(net)))
		inside := netip.AddrPortFrom(addrsOf(e.private)[i], 7)
		_, err := e.private.EchoTCP(inside.String())
		lab.Check(t, err)
		lab.Check(t, says(t, e.B, "tcp", netip.Addr{}, inside))
		mute(t, e.internet, netip.Addr{}, inside)
		lab.Check(t, says(t, e.private, "tcp", netip.Addr{}, e.servers[i]))
	}
	// An answer to what the private host never asked is no answer.
	if err := e.internet.Ping(netip.Addr{}, e.private.Addr, 300*time.Millisecond); err == nil {
		t.Error("the internet pings the private host")
	}
	lab.Check(t, e.private.Ping(netip.Addr{}, e.internet.Addr, patience))
}

// TestGatewayPool wants a pool to be used whole, and each client to keep one address of it.
func TestGatewayPool(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	lab.Check(t, e.B.AddExtra(4))
	lab.Check(t, e.private.Own(t.Context(), netip.MustParsePrefix("10.100.20.128/25")))
	pool := []string{"10.2.0.101", "10.2.0.102", "10.2.0.103"}
	config := func(snat string) string {
		return fmt.Sprintf("[[gateway]]\nname = \"out\"\nfrom = [%q]\nsnat = %q\n", privateNet, snat)
	}
	e.start(config("10.2.0.101-10.2.0.103"))
	// seen is the address that each of 30 clients has in the internet.
	seen := func() map[netip.Addr]netip.Addr {
		t.Helper()
		homes := make(map[netip.Addr]netip.Addr)
		client := netip.MustParseAddr("10.100.20.130")
		for range 30 {
			client = client.Next()
			for range 3 {
				before := len(e.echo[0].Peers())
				lab.Check(t, says(t, e.private, "tcp", client, e.servers[0]))
				peers := e.echo[0].Peers()[before:]
				if home := peers[0].Addr(); homes[client].IsValid() && homes[client] != home {
					t.Errorf("client %v has %v and %v", client, homes[client], home)
				}
				homes[client] = peers[0].Addr()
			}
		}
		return homes
	}
	homes := seen()
	if used := distinct(homes); !slices.Equal(used, pool) {
		t.Errorf("30 clients use %v, want all of %v", used, pool)
	}
	entries, err := e.B.Conntrack(t.Context(), "-p", "tcp", "--src", "10.100.20.131")
	lab.Check(t, err)
	if want := "dst=" + homes[netip.MustParseAddr("10.100.20.131")].String(); len(entries) != 3 || !strings.Contains(entries[0], want) {
		t.Errorf("conntrack has %q, want 3 with %s", entries, want)
	}

	// An address that goes takes no connections, and its clients are with the others.
	lab.Check(t, e.B.DelAddr(lab.Device, netip.MustParsePrefix("10.2.0.102/24")))
	e.awaitGateway("out", `snat address 10.2.0.102 is on no interface`)
	if used := distinct(seen()); !slices.Equal(used, []string{"10.2.0.101", "10.2.0.103"}) {
		t.Errorf("without 10.2.0.102 the clients use %v", used)
	}
	lab.Check(t, e.B.AddAddr(lab.Device, netip.MustParsePrefix("10.2.0.102/24")))
	e.awaitReady()
	for client, home := range seen() {
		if home != homes[client] {
			t.Errorf("client %v has %v, and had %v before an address went and came back", client, home, homes[client])
		}
	}
	e.translated()
}

// distinct is the values, each once and in order.
func distinct(homes map[netip.Addr]netip.Addr) (used []string) {
	for _, home := range homes {
		used = append(used, home.String())
	}
	slices.Sort(used)
	return slices.Compact(used)
}

// awaitGateway waits until the gateway is degraded with a reason that contains the text, or ready when that is empty.
func (b *box) awaitGateway(name, reason string) {
	b.t.Helper()
	b.awaitStatus(func(s *control.Status) error {
		i := slices.IndexFunc(s.Gateways, func(g control.Gateway) bool { return g.Name == name })
		if i < 0 {
			return fmt.Errorf("status has no gateway %q", name)
		}
		g := &s.Gateways[i]
		if (g.State == control.RelayReady) != (reason == "") || !strings.Contains(g.Reason, reason) {
			return fmt.Errorf("gateway %s is %s: %q, want a reason with %q", name, g.State, g.Reason, reason)
		}
		return nil
	})
}

// killedBetween leaves what a natd leaves that is killed when its rules are new, and the connections of the gateway that is not among them
// have not been ended.
func (e *edgeBox) killedBetween(config string) {
	e.kill()
	e.configure(config)
	rules, errs, code := e.natctl("rules", e.configPath())
	if code != 0 {
		e.t.Fatal(errs)
	}
	e.nft("delete table inet natd\n" + rules)
	lab.Check(e.t, os.WriteFile(filepath.Join(e.dir, "state", "leaving.json"), []byte(`[{"Src":"10.100.20.100/32","Dst":"0.0.0.0/0","To":""}]`), 0o600))
	e.launch()
	e.awaitReady()
}

// TestGatewayEnds wants connections to live as long as their gateway: over reloads and restarts of natd, and no longer.
func TestGatewayEnds(t *testing.T) {
	t.Parallel()
	two := func(enabled ...string) (text string) {
		for _, host := range enabled {
			text += fmt.Sprintf("[[gateway]]\nname = \"out-%s\"\nfrom = [\"10.100.20.%s/32\"]\n", host, host)
		}
		return text + "[[relay]]\nname = \"other\"\nlisten = \"10.2.0.100:80\"\nto = [\"10.3.0.100:80\"]\n"
	}
	first, second := netip.MustParseAddr("10.100.20.100"), netip.MustParseAddr("10.100.20.101")
	tests := map[string]func(e *edgeBox){
		"reload": func(e *edgeBox) {
			e.configure(two("101"))
			if out, errs, _ := e.natctl("plan"); !strings.Contains(out, "end the connections from 10.100.20.100/32 to 0.0.0.0/0\n") {
				e.t.Errorf("natctl plan does not tell which connections end:\n%s%s", out, errs)
			}
			e.reload(two("101"))
		},
		"narrowed": func(e *edgeBox) {
			e.reload(strings.Replace(two("100", "101"), "100/32\"]", "100/32\"]\nto = [\"192.0.2.0/24\"]", 1))
		},
		"disabled": func(e *edgeBox) {
			e.reload(strings.Replace(two("100", "101"), "100/32\"]", "100/32\"]\nenabled = false", 1))
		},
		"restarted":                            func(e *edgeBox) { e.kill(); e.start(two("101")) },
		"killed between rules and connections": func(e *edgeBox) { e.killedBetween(two("101")) },
	}
	for name, end := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEdge(t)
			lab.Check(t, e.private.AddAddr(lab.Device, netip.PrefixFrom(second, 24)))
			e.start(two("100", "101"))
			ends := e.private.Converse(t, first, e.servers[0].String())
			stays := e.private.Converse(t, second, e.servers[0].String())
			e.reload(two("101", "100"))
			e.kill()
			e.launch()
			e.awaitReady()
			for _, c := range []*lab.Conversation{ends, stays} {
				c.GoesOn(t)
			}
			end(e)
			lab.Eventually(t, patience, func() error {
				left, err := e.B.Conntrack(t.Context(), "--src", first.String())
				if err == nil && len(left) > 0 {
					err = fmt.Errorf("still tracked: %q", left)
				}
				return err
			})
			mute(t, e.private, first, e.servers[0])
			stays.End(t)
			e.translated()
		})
	}
}
