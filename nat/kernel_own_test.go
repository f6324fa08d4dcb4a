package nat

import (
	"net"
	"net/netip"
	"testing"

	"natd/internal/lab"
)

// What the machine itself sends is nobody's to translate, also when its addresses lie in the networks of gateways and statics:
// health checks and logins go on from the address that they chose.
func TestOwnTrafficStays(t *testing.T) {
	t.Parallel()
	eachFamily(t, func(t *testing.T, w *wire, s sides) {
		echo := w.echoes([]string{s.server})[s.server]
		pool := w.pool(s)
		own := func(g *Gateway) { g.From = prefixes(s.clients, s.servers) }
		statics, _ := mapped(s, SNATAuto)
		statics.statics[0].From = nil
		for what, want := range map[string]scenario{
			"masquerade": onlyTo(s, s.server, own),
			"pool":       onlyTo(s, s.server, own, func(g *Gateway) { g.SNAT = SNAT{SNATFixed, addresses(pool[2])} }),
			"static":     statics,
		} {
			w.bring(want.build())
			conn, err := w.say(w.host, pool[1], "tcp", port80(s.server))
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			lab.Check(t, conn.Close())
		}
		if met := metBy(echo); met[pool[1]] != 3 {
			t.Errorf("the server met %v, want three times %s", met, pool[1])
		}
	})
}

// A gateway to everywhere does not lead to what is one host's own: the metadata service answers with this host's credentials.
func TestGatewayLeavesOutServicesOfTheHost(t *testing.T) {
	t.Parallel()
	services := map[string]string{"10.1.0.1": "169.254.169.254", "fd00:1::1": "fd00:ec2::254"}
	eachFamily(t, func(t *testing.T, w *wire, s sides) {
		service := addr(services[s.in])
		lab.Check(t, w.server.AddAddr(lab.Device, netip.PrefixFrom(service, service.BitLen())))
		lab.Check(t, w.host.AddRoute(netip.PrefixFrom(service, service.BitLen()), addr(s.server)))
		w.echoes([]string{s.server})
		_, err := w.server.EchoUDP(net.JoinHostPort(service.String(), "53"))
		lab.Check(t, err)
		everywhere := func(g *Gateway) { g.To = prefixes("0.0.0.0/0", "::/0") }
		w.bring(onlyTo(s, s.server, everywhere).build())
		w.said("", port80(s.server))
		w.silent(w.client, net.JoinHostPort(service.String(), "53"))
		relay := relayOf("dns", 53, service.String(), listen(s.in), protocols(UDP))
		w.bring(scenario{relays: []Relay{relay}, gateways: onlyTo(s, s.server, everywhere).gateways, places: map[string]func(*Placement){"dns": sources(s.out)}}.build())
		_, err = w.say(w.client, "", "udp", net.JoinHostPort(s.in, "53"))
		lab.Check(t, err)
	})
}
