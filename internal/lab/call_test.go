package lab

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// relayRules relay ports of B to three addresses of C: 7 in turn with the weights 2, 1 and 1, 8 by the client's address, and 9
// in turn.
const relayRules = `table inet relay {
	chain pre {
		type nat hook prerouting priority dstnat
		meta l4proto { tcp, udp } th dport 7 dnat ip to numgen inc mod 4 map { 0 : 10.3.0.101, 1 : 10.3.0.102, 2 : 10.3.0.101, 3 : 10.3.0.103 }
		meta l4proto { tcp, udp } th dport 7 dnat ip6 to numgen inc mod 4 map { 0 : fd00:10:3::101, 1 : fd00:10:3::102, 2 : fd00:10:3::101, 3 : fd00:10:3::103 }
		tcp dport 9 dnat ip to numgen inc mod 3 map { 0 : 10.3.0.101, 1 : 10.3.0.102, 2 : 10.3.0.103 }
		tcp dport 9 dnat ip6 to numgen inc mod 3 map { 0 : fd00:10:3::101, 1 : fd00:10:3::102, 2 : fd00:10:3::103 }
		tcp dport 8 dnat ip to jhash ip saddr mod 3 map { 0 : 10.3.0.101, 1 : 10.3.0.102, 2 : 10.3.0.103 }
	}
	chain post {
		type nat hook postrouting priority srcnat
		ct status dnat masquerade
	}
}`

// relayed is the lab with relayRules, and a teller for each port of each of C's extra addresses.
func relayed(t *testing.T) *Peering {
	t.Helper()
	p := New(t)
	Check(t, p.C.AddExtra(3))
	for i := range 3 {
		for _, a := range p.C.Extra(i + 1) {
			name := fmt.Sprintf("backend-%d", i+1)
			for _, port := range []uint16{7, 8} {
				_, err := p.C.TellTCP(netip.AddrPortFrom(a, port).String(), name)
				Check(t, err)
			}
			_, err := p.C.TellUDP(netip.AddrPortFrom(a, 7).String(), name)
			Check(t, err)
		}
	}
	Check(t, p.B.Nft(t.Context(), relayRules))
	Check(t, p.B.forward())
	return p
}

func TestCallsTellWhomTheyReach(t *testing.T) {
	t.Parallel()
	p := relayed(t)
	for _, to := range p.B.addrs() {
		for _, network := range []string{"tcp", "udp"} {
			// UDP needs slack: a port that the kernel chooses twice within 30 s is the same flow, with its old backend.
			const count, slack = 2000, 2000 * 3 / 100
			began := time.Now()
			calls, err := p.A.Call(t.Context(), Plan{Network: network, To: netip.AddrPortFrom(to, 7), Count: count, AtOnce: 4})
			Check(t, err)
			Check(t, calls.Err())
			t.Logf("%s to %v: %d calls in %v", network, to, len(calls), time.Since(began))
			got := calls.Names()
			for name, want := range map[string]int{"backend-1": count / 2, "backend-2": count / 4, "backend-3": count / 4} {
				if n := got[name]; n < want-slack || n > want+slack {
					t.Errorf("%s to %v: %s answered %d of %d, want %d", network, to, name, n, count, want)
				}
			}
		}
	}
}

func TestCallsComeFromManyClients(t *testing.T) {
	t.Parallel()
	p := relayed(t)
	Check(t, p.A.Own(t.Context(), netip.MustParsePrefix("10.1.1.0/24")))
	var clients []netip.Addr
	for a := netip.MustParseAddr("10.1.1.1"); len(clients) < 200; a = a.Next() {
		clients = append(clients, a)
	}
	calls, err := p.A.Call(t.Context(), Plan{Network: "tcp", To: netip.MustParseAddrPort("10.2.0.100:8"), Count: 600, AtOnce: 4, From: clients})
	Check(t, err)
	Check(t, calls.Err())
	got := calls.ByClient()
	if len(got) != 200 || len(calls.Names()) != 3 {
		t.Fatalf("%d clients reached %v, want 200 and three backends", len(got), calls.Names())
	}
	for client, names := range got {
		for name, n := range names {
			if n != 3 || len(names) != 1 {
				t.Fatalf("%v reached %s %d times, and %d backends; want one, three times", client, name, n, len(names))
			}
		}
	}
}

func TestCallsTellWhatFails(t *testing.T) {
	t.Parallel()
	p := New(t)
	server, err := p.B.TellTCP("10.2.0.100:0", "b")
	Check(t, err)
	plan := Plan{Network: "tcp", To: server.Addr, Count: 3}
	calls, err := p.A.Call(t.Context(), plan)
	Check(t, err)
	Check(t, calls.Err())
	stopped := time.Now()
	Check(t, server.Stop())
	more, err := p.A.Call(t.Context(), plan)
	Check(t, err)
	all := append(calls, more...)
	if all.Err() == nil || all.Names()["b"] != 3 || server.Told() != 3 {
		t.Errorf("got %v, %v, and the server answered %d; want three answers and three errors", all.Names(), all.Err(), server.Told())
	}
	if got := all.Since(stopped); len(got) != 3 || got.Err() == nil {
		t.Errorf("%d calls since the end of the server, want 3", len(got))
	}
	for _, network := range []string{"udp", "http"} {
		plan.Network, plan.Within = network, blocked
		calls, err := p.A.Call(t.Context(), plan)
		Check(t, err)
		if len(calls) != 3 || len(calls.Names()) != 0 || calls.Err() == nil {
			t.Errorf("%s: %d calls, answered %v, want three that fail", network, len(calls), calls.Names())
		}
	}
}
