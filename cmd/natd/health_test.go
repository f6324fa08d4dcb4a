package main

import (
	"fmt"
	"slices"
	"testing"

	"natd/internal/control"
	"natd/internal/lab"
)

// TestReloadKeepsHealth wants a backend that is down to stay out when a reload changes how it is checked: what is known of it is as
// true as before, and a check that goes on to fail is no news that anything would follow.
func TestReloadKeepsHealth(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	to := append(b.echoes(1, 80, 0), "10.3.0.101:81") // where nothing listens
	b.configure(pool(quoted(to), quickHealth))
	b.launch()
	b.awaitBackends("up", "down")
	for i := range 3 {
		b.reload(pool(quoted(to), fmt.Sprintf(`health = {type = "tcp", interval = "%ds", timeout = "200ms", rise = 2, fall = 3}`, 5+i)))
		r, err := relayOf(b.status(), "web")
		lab.Check(t, err)
		if got := statesOf(r); !slices.Equal(got, []string{control.BackendUp, control.BackendDown}) || r.Backends[1].InUse {
			t.Errorf("after the reload the backends are %v (in use: %v), want what they were", got, r.Backends[1].InUse)
		}
		for range 6 {
			lab.Check(t, b.A.SayOnce(t.Context(), webListen.String()))
		}
		if _, _, code := b.natctl("status"); code != control.CodeDegraded {
			t.Errorf("natctl status exits %d, want %d", code, control.CodeDegraded)
		}
	}
}
