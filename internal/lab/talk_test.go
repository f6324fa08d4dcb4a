package lab

import (
	"errors"
	"net/netip"
	"testing"
)

// TestTalkOverBothFamilies has a conversation and a load go on through a hand-written relay, in each family.
func TestTalkOverBothFamilies(t *testing.T) {
	t.Parallel()
	p := relayed(t)
	for i, to := range p.B.addrs() {
		for n := range 3 {
			_, err := p.C.EchoTCP(netip.AddrPortFrom(p.C.Extra(n + 1)[i], 9).String())
			Check(t, err)
		}
		target := netip.AddrPortFrom(to, 9).String()
		talk := p.A.Converse(t, p.A.addrs()[i], target)
		load := p.A.Load(t, target)
		Eventually(t, patience, func() error {
			if load.Made() < 20 {
				return errors.New("no load yet")
			}
			return nil
		})
		if _, failed := load.End(); len(failed) > 0 {
			t.Errorf("%s: %v", target, failed)
		}
		talk.End(t)
	}
}

// TestAskFollowsTheServer asks from one port all the time.
func TestAskFollowsTheServer(t *testing.T) {
	t.Parallel()
	p := New(t)
	for _, addr := range p.B.addrs() {
		to := netip.AddrPortFrom(addr, 9).String()
		client, err := p.A.Dial(t.Context(), "udp", to)
		Check(t, err)
		defer client.Close()
		for _, name := range []string{"first", "second"} {
			server, err := p.B.TellUDP(to, name)
			Check(t, err)
			got, err := Ask(client, patience)
			if err != nil || got != name {
				t.Errorf("%s: got %q (%v), want %q", to, got, err, name)
			}
			Check(t, server.Stop())
		}
		if got, err := Ask(client, blocked); err == nil {
			t.Errorf("%s: got %q from nobody", to, got)
		}
	}
}
