package nat

import (
	"maps"
	"net/netip"
	"slices"
	"testing"

	"natd/internal/lab"
)

// Connections one after the other follow the weights to the connection, and are counted by backend.
func TestTurnsFollowTheWeights(t *testing.T) {
	t.Parallel()
	eachFamily(t, func(t *testing.T, w *wire, s sides) {
		servers := more(t, w.server, s.server, 2)
		echoes := w.echoes(servers)
		relay := relayed(s, servers)
		relay.places["web"] = func(p *Placement) {
			weights(1, 2, 5)(p)
			sources(s.out)(p)
		}
		w.bring(relay.build())
		for range 80 {
			w.said("", port80(s.in))
		}
		counted := w.read().TargetConnections()["web"]
		for i, want := range []int{10, 20, 50} {
			if got := len(echoes[servers[i]].Peers()); got != want {
				t.Errorf("the backend of weight %d got %d of 80 connections, want %d", want/10, got, want)
			}
			if got := counted[netip.AddrPortFrom(addr(servers[i]), 80)]; got != uint64(want) {
				t.Errorf("%d connections to %s were counted, want %d", got, servers[i], want)
			}
			if met := metBy(echoes[servers[i]]); met[s.out] != want {
				t.Errorf("%s met %v, want nobody but %s", servers[i], met, s.out)
			}
		}
		if got := w.read().Connections().Relays["web"]; got != 80 {
			t.Errorf("%d connections of the relay were counted, want 80", got)
		}
	})
}

// Two relays that are dialled by turns take their turns by themselves: with one counter for both, each would meet one
// backend only.
func TestRelaysTakeTurnsByThemselves(t *testing.T) {
	t.Parallel()
	w, s := newWire(t, 1500, 1500), sides4()
	servers := more(t, w.server, s.server, 1)
	echoes := w.echoes(servers)
	relay := relayed(s, servers)
	other := relayOf("other", 81, servers[0], listen(s.in), also(1, servers[1]))
	for i := range other.Backends {
		other.Backends[i].Ports = ports(80, 80)
	}
	relay.relays = append(relay.relays, other)
	relay.places["other"] = sources(s.out)
	w.bring(relay.build())
	for range 10 {
		w.said("", port80(s.in))
		w.said("", s.in+":81")
	}
	counts := w.read().TargetConnections()
	for _, name := range []string{"web", "other"} {
		for _, a := range servers {
			if got := counts[name][netip.AddrPortFrom(addr(a), 80)]; got != 5 {
				t.Errorf("relay %s: %d connections to %s, want 5", name, got, a)
			}
		}
	}
	if n := len(echoes[servers[0]].Peers()); n != 10 {
		t.Errorf("%s met %d, want 10", servers[0], n)
	}
}

// A client stays with its backend; when one backend leaves, its clients move, and no others.
func TestSourceStays(t *testing.T) {
	t.Parallel()
	eachFamily(t, func(t *testing.T, w *wire, s sides) {
		servers, clients := more(t, w.server, s.server, 2), more(t, w.client, s.client, 29)
		echoes := w.echoes(servers)
		relay := relayed(s, servers, balanced(Source))
		relay.places["web"] = sources() // the backends see the clients
		w.bring(relay.build())
		first := w.where(t, clients, echoes, port80(s.in))
		if used := slices.Compact(slices.Sorted(maps.Values(first))); len(first) != 30 || len(used) != 3 {
			t.Fatalf("30 clients are at %v", first)
		}
		relay.places["web"] = func(p *Placement) {
			sources()(p)
			weights(1, 0, 1)(p)
		}
		w.bring(relay.build())
		second := w.where(t, clients, echoes, port80(s.in))
		for client, was := range first {
			if is := second[client]; is == servers[1] || was != servers[1] && is != was {
				t.Errorf("client %s went from %s to %s when %s left", client, was, is, servers[1])
			}
		}
	})
}

// where lets every client come three times, and says which backend each came to.
func (w *wire) where(t *testing.T, clients []string, echoes map[string]*lab.Echo, to string) map[string]string {
	t.Helper()
	before := make(map[string]map[string]int)
	for a, e := range echoes {
		before[a] = metBy(e)
	}
	for range 3 {
		for _, c := range clients {
			w.said(c, to)
		}
	}
	at := make(map[string]string)
	for a, e := range echoes {
		for client, n := range metBy(e) {
			if n -= before[a][client]; n != 0 && n != 3 {
				t.Errorf("client %s came to %s %d of 3 times", client, a, n)
			} else if n == 3 {
				at[client] = a
			}
		}
	}
	return at
}

// A pool is used whole, and one client keeps one address of it.
func TestPoolOfARelay(t *testing.T) {
	t.Parallel()
	eachFamily(t, func(t *testing.T, w *wire, s sides) {
		clients, pool := more(t, w.client, s.client, 29), w.pool(s)
		echo := w.echoes([]string{s.server})[s.server]
		relay := relayed(s, []string{s.server})
		relay.places["web"] = sources(pool...)
		w.bring(relay.build())
		w.keepsOneOf(t, clients, pool, echo, port80(s.in))
	})
}

// keepsOneOf asserts that every client is seen with one address of the pool, and that all of the pool is used.
func (w *wire) keepsOneOf(t *testing.T, clients, pool []string, echo *lab.Echo, to string) {
	t.Helper()
	used := make(map[string]bool)
	for _, c := range clients {
		before := metBy(echo)
		for range 3 {
			w.said(c, to)
		}
		for a, n := range metBy(echo) {
			if n -= before[a]; n == 3 && slices.Contains(pool, a) {
				used[a] = true
			} else if n != 0 {
				t.Errorf("client %s had the address %s %d of 3 times", c, a, n)
			}
		}
	}
	if len(used) != len(pool) {
		t.Errorf("of the pool %v only %v is used", pool, used)
	}
}
