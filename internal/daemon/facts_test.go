package daemon

import (
	"testing"
	"time"

	"natd/internal/lab"
	"natd/nat"
	"natd/netconf"
)

// Another time is another placement, so that the rule for repeated SYN-ACK follows it.
func TestAnsweredPlacesAnew(t *testing.T) {
	t.Parallel()
	of := func(answered time.Duration) *placed { return placeOn(&facts{answered: answered}, new(nat.Spec), nil) }
	if !of(time.Minute).same(of(time.Minute)) || of(time.Minute).same(of(10*time.Second)) {
		t.Error("placements are the same, or not, whatever the time")
	}
}

// The rule for repeated SYN-ACK must never take the first one for a second: it goes by the shortest time that the kernel may give it.
func TestAnswered(t *testing.T) {
	t.Parallel()
	h := lab.NewHost(t)
	is := func(want time.Duration) {
		t.Helper()
		lab.Check(t, h.Do(func() error {
			sysctls, err := netconf.OpenSysctls("")
			if err != nil {
				return err
			}
			if got := answered(sysctls); got != want {
				t.Errorf("answered is %v, want %v", got, want)
			}
			return nil
		}))
	}
	is(time.Minute)
	for _, step := range []struct {
		key, value string
		want       time.Duration
	}{
		{"syn_recv", "90", 90 * time.Second},
		{"unacknowledged", "40", 40 * time.Second},
		{"max_retrans", "20", 20 * time.Second},
		{"syn_recv", "10", 10 * time.Second},
	} {
		lab.Check(t, h.SetSysctl(sysctlConntrackPrefix+"tcp_timeout_"+step.key, step.value))
		is(step.want)
	}
}
