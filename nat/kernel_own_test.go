package nat

import (
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
