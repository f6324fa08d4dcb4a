package nat

import (
	"net"
	"net/netip"
	"testing"

	"natd/internal/lab"
)

// onlyTo is a gateway for the clients to one server.
func onlyTo(s sides, to string, edits ...func(*Gateway)) scenario {
	host := netip.PrefixFrom(addr(to), addr(to).BitLen())
	g := Gateway{Name: "private", From: prefixes(s.clients), To: []netip.Prefix{host}, Enabled: true}
	for _, edit := range edits {
		edit(&g)
	}
	return scenario{gateways: []Gateway{g}}
}

// A gateway lets its hosts out to where they may go, with the machine's address, and nothing else in or out.
func TestGateway(t *testing.T) {
	t.Parallel()
	eachFamily(t, func(t *testing.T, w *wire, s sides) {
		servers := more(t, w.server, s.server, 1)
		echoes := w.echoes(servers)
		for a, h := range map[string]*lab.Host{s.client: w.client, servers[0]: w.server, servers[1]: w.server} {
			_, err := h.EchoUDP(net.JoinHostPort(a, "53"))
			lab.Check(t, err)
		}
		w.bring(onlyTo(s, servers[0]).build())
		for range 3 {
			w.said("", port80(servers[0]))
		}
		if met := metBy(echoes[servers[0]]); met[s.out] != 3 {
			t.Errorf("the server met %v, want %s", met, s.out)
		}
		conn, err := w.say(w.client, "", "udp", net.JoinHostPort(servers[0], "53"))
		lab.Check(t, err)
		if _, err := conn.Write([]byte("more")); err != nil {
			t.Error(err)
		}
		_, err = w.say(w.client, "", "udp", net.JoinHostPort(servers[0], "54"))
		refused(t, "a port where nobody listens: the ICMP error", err)
		w.silent(w.client, net.JoinHostPort(servers[1], "53"))
		w.silent(w.server, net.JoinHostPort(s.client, "53"))
		if got := w.read().Connections().Gateways["private"]; got != 5 {
			t.Errorf("%d connections were counted, want 5", got)
		}
	})
}

// Gateways with an egress are about what leaves by that interface, whatever it is called.
func TestGatewayByInterface(t *testing.T) {
	t.Parallel()
	for device, passes := range map[string]bool{"server": true, "client": false, "a_b:c@d.1": false} {
		t.Run(device, func(t *testing.T) {
			t.Parallel()
			eachFamily(t, func(t *testing.T, w *wire, s sides) {
				pool := []netip.Addr{addr(s.out)}
				for _, snat := range []SNAT{{}, {SNATFixed, pool}} {
					edit := func(g *Gateway) { g.Egress, g.SNAT = device, snat }
					w.bring(onlyTo(s, s.server, edit).build())
					if !passes {
						w.silent(w.client, port80(s.server))
						continue
					}
					_, err := w.say(w.client, "", "tcp", port80(s.server))
					refused(t, "the server where nobody listens", err)
				}
			})
		})
	}
}

func TestPoolOfAGateway(t *testing.T) {
	t.Parallel()
	eachFamily(t, func(t *testing.T, w *wire, s sides) {
		clients, pool := more(t, w.client, s.client, 29), w.pool(s)
		echo := w.echoes([]string{s.server})[s.server]
		w.bring(onlyTo(s, s.server, func(g *Gateway) { g.SNAT = SNAT{SNATFixed, addresses(pool...)} }).build())
		w.keepsOneOf(t, clients, pool, echo, port80(s.server))
		if got := w.read().Connections().Gateways["private"]; got != 90 {
			t.Errorf("%d connections were counted, want 90", got)
		}
	})
}

// pool gives the machine two more addresses towards the server, and returns the three.
func (w *wire) pool(s sides) []string {
	w.t.Helper()
	pool := []string{s.out, addr(s.out).Next().String(), addr(s.out).Next().Next().String()}
	for _, a := range pool[1:] {
		lab.Check(w.t, w.host.AddAddr("server", netip.PrefixFrom(addr(a), addr(a).BitLen())))
	}
	return pool
}

// mapped is a static of the network 198.51.100.0/24 (2001:db8::/64), which the clients reach, to that of the servers.
func mapped(s sides, mode SNATMode, addrs ...string) (scenario, func(server string) string) {
	external := netip.MustParsePrefix("198.51.100.0/24")
	if addr(s.in).Is6() {
		external = netip.MustParsePrefix("2001:db8::/64")
	}
	st := Static{
		Name: "map", External: external, Internal: netip.MustParsePrefix(s.servers), From: prefixes(s.clients),
		SNAT: SNAT{mode, addresses(addrs...)}, Enabled: true,
	}
	return scenario{statics: []Static{st}}, func(server string) string {
		in, out := addr(server).AsSlice(), external.Addr().AsSlice()
		a, _ := netip.AddrFromSlice(append(out[:external.Bits()/8], in[external.Bits()/8:]...))
		return a.String()
	}
}

// Every address of a network becomes the one with the same host part, with ports and ICMP errors as they are, and hosts
// inside are seen with it.
func TestStatic(t *testing.T) {
	t.Parallel()
	eachFamily(t, func(t *testing.T, w *wire, s sides) {
		servers := more(t, w.server, s.server, 2)
		echoes := w.echoes(servers)
		back, err := w.client.EchoTCP(port80(s.client))
		lab.Check(t, err)
		want, external := mapped(s, SNATAuto)
		w.bring(want.build())
		for _, a := range servers {
			w.said("", port80(external(a)))
			if met := metBy(echoes[a]); met[s.out] != 1 || len(met) != 1 {
				t.Errorf("%s met %v, want %s", a, met, s.out)
			}
			_, err := w.say(w.client, "", "udp", port80(external(a)))
			refused(t, "the ICMP error of "+a, err)
			conn, err := w.say(w.server, a, "tcp", port80(s.client))
			lab.Check(t, err)
			lab.Check(t, conn.Close())
			if met := metBy(back); met[external(a)] != 1 {
				t.Errorf("the client met %v, want %s", met, external(a))
			}
		}
		w.silent(w.client, net.JoinHostPort(s.server, "80"))
		if got := w.read().Connections().Statics["map"]; got != 9 {
			t.Errorf("%d connections were counted, want 9", got)
		}
	})
}

func TestStaticSources(t *testing.T) {
	t.Parallel()
	eachFamily(t, func(t *testing.T, w *wire, s sides) {
		clients, pool := more(t, w.client, s.client, 29), w.pool(s)
		echo := w.echoes([]string{s.server})[s.server]
		want, external := mapped(s, SNATOff)
		w.bring(want.build())
		w.said(s.client, port80(external(s.server)))
		if met := metBy(echo); met[s.client] != 1 || len(met) != 1 {
			t.Errorf("without source translation the server met %v, want %s", met, s.client)
		}
		want, _ = mapped(s, SNATFixed, pool...)
		w.bring(want.build())
		w.keepsOneOf(t, clients, pool, echo, port80(external(s.server)))
	})
}
