package nat

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"natd/internal/lab"
)

// Connections that were counted stay counted, through a change of the relay and through a table that is made anew.
func TestKernelCountersStay(t *testing.T) {
	t.Parallel()
	m := newMachine(t, ProtectOff)
	m.bring(damaged())
	m.nft(`
delete element inet natd relays4 { 10.2.0.100 . tcp . 80 }
add element inet natd relays4 { 10.2.0.100 . tcp . 80 counter packets 12 bytes 720 comment "web" : 10.3.0.100 . 80 }
`)
	if p := m.plan(damaged()); !p.Empty() {
		t.Errorf("an element that has counted needs %q", p.Steps(5))
	}
	for _, harm := range []string{"add table inet other", "add chain inet natd mine"} {
		for _, want := range []*Ruleset{damaged(), build(web(backendPort(8080)))} {
			m.nft(harm)
			m.bring(want)
			e := m.read().set(t, "relays4").Elements[0]
			if e.Count == nil || *e.Count != (Count{12, 720}) {
				t.Errorf("after %q: %v, want 12 packets and 720 bytes", harm, e.Count)
			}
		}
	}
	if got := m.read().Connections().Relays["web"]; got != 12 {
		t.Errorf("relay web had %d connections, want 12", got)
	}
}

// What a removed relay listened on stays in the kernel until its connections are gone, also for a natd that comes after.
func TestRetiredListensOutliveNatd(t *testing.T) {
	t.Parallel()
	for _, protect := range []Protect{ProtectOff, ProtectGuard, ProtectOwn} {
		t.Run(protect.String(), func(t *testing.T) {
			t.Parallel()
			m := newMachine(t, protect)
			m.needs(protect)
			m.bring(damaged())
			m.bring(build())
			m.reopen()
			m.hold.Port = m.Port()
			m.bring(build(relayOf("new", 99, "10.3.0.1")))
			p := m.plan(build(relayOf("new", 99, "10.3.0.1")))
			want := []string{
				"10.2.0.100:53/tcp (relay dns)", "10.2.0.100:80/tcp (relay web)", "10.2.0.100:53/udp (relay dns)",
			}
			if diff := cmp.Diff(want, retired(p)); diff != "" {
				t.Errorf("retired (-want +got):\n%s", diff)
			}
			lab.Check(t, m.Release(p.Retired))
			if left := m.read().Listens(); len(left) != 1 {
				t.Errorf("after the release it listens on %v", left)
			}
		})
	}
}
