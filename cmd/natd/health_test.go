package main

import (
	"errors"
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
			lab.Check(t, b.A.SayOnce(t.Context(), webListen))
		}
		if _, _, code := b.natctl("status"); code != control.CodeDegraded {
			t.Errorf("natctl status exits %d, want %d", code, control.CodeDegraded)
		}
	}
}

// TestRestartKeepsHealth wants a backend that is down to stay out when natd is killed and starts again, and one that came back
// meanwhile to be taken as soon as it answers.
func TestRestartKeepsHealth(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	to := append(b.echoes(1, 80, 0), "10.3.0.101:81") // where nothing listens
	b.configure(pool(quoted(to), `health = {type = "tcp", interval = "2s", timeout = "200ms", rise = 2, fall = 2}`))
	b.launch()
	b.awaitBackends("up", "down")
	b.kill()
	b.launch()
	b.awaitStatus(func(s *control.Status) error {
		if !s.Ruleset.InSync {
			return errors.New(s.Ruleset.LastError)
		}
		return nil
	})
	if r, err := relayOf(b.status(), "web"); err != nil || r.Backends[1].InUse {
		t.Errorf("after the restart the backend that is down takes connections: %+v, %v", r, err)
	}
	for range 6 {
		lab.Check(t, b.A.SayOnce(t.Context(), webListen))
	}
	b.kill()
	echo(t, b.C, "tcp", to[1])
	b.launch()
	b.awaitBackends("up", "up")
}
