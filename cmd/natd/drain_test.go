package main

import (
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"natd/internal/control"
	"natd/internal/lab"
)

// TestDrain drains backends by hand: new connections go elsewhere, the old ones go on, natd is killed and remembers.
func TestDrain(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	to := b.echoes(3, 80, 0)
	b.start(pool(quoted(to), quickHealth))
	b.awaitBackends("up", "up", "up")
	old := b.established(webListen, to[1])
	ready := time.Now()
	b.step([]string{"drain", "web", "10.3.0.102"}, control.CodeOK, "drained backend 10.3.0.102:80 of relay web")
	drained := b.status().Relays[0].Backends[1].Since
	if drained.Before(ready) {
		t.Errorf("drained since %v, before natd was ready at %v", drained, ready)
	}
	b.step([]string{"drain", "web", "10.3.0.102:80"}, control.CodeOK, "")
	b.step([]string{"status"}, control.CodeOK, "draining")
	b.step([]string{"plan", "--exit-code"}, control.CodeOK, "no changes")
	b.avoids(to[1])
	lab.Check(t, exchange(old, patience))

	b.kill()
	b.launch()
	b.awaitBackends("up", "draining", "up")
	if again := b.status().Relays[0].Backends[1].Since; !again.Equal(drained) {
		t.Errorf("after a restart drained since %v, before it since %v", again, drained)
	}
	b.avoids(to[1])
	lab.Check(t, exchange(old, patience))
	lab.Check(t, b.natd.Stop())
	b.launch()
	b.awaitBackends("up", "draining", "up")
	b.reload(pool(quoted(to), quickHealth, `balance = "random"`))
	b.avoids(to[1])
	lab.Check(t, exchange(old, patience))

	b.step([]string{"drain", "web"}, control.CodeOK, "every backend is drained, so new connections are refused: natctl enable web")
	b.step([]string{"status"}, control.CodeDegraded, "every backend is drained, so new connections are refused: natctl enable web")
	refusedAtOnce(t, lab.Plan{Network: "tcp", To: netip.MustParseAddrPort(webListen), Count: 3}, b.A)
	lab.Check(t, exchange(old, patience))
	b.step([]string{"enable", "web", "10.3.0.102"}, control.CodeOK, "enabled backend 10.3.0.102:80 of relay web")
	lab.Check(t, b.A.SayOnce(t.Context(), webListen))
	b.step([]string{"enable", "web"}, control.CodeOK, "")
	b.awaitBackends("up", "up", "up")
	b.step([]string{"status"}, control.CodeOK, "3/3 up")
	lab.Check(t, exchange(old, patience))

	b.step([]string{"drain", "nope"}, control.CodeFailed, `there is no relay "nope"`)
	b.step([]string{"drain", "web", "10.3.0.200"}, control.CodeFailed, `relay web has no backend "10.3.0.200"; it has: `+strings.Join(to, ", "))
}

// avoids wants twelve new connections to go to others than the backend.
func (b *box) avoids(backend string) {
	b.t.Helper()
	var clients []string
	for range 12 {
		c, err := b.A.DialFrom(b.t.Context(), "tcp", netip.Addr{}, webListen)
		lab.Check(b.t, err)
		lab.Check(b.t, exchange(c, patience))
		clients = append(clients, c.LocalAddr().String())
		b.t.Cleanup(func() { _ = c.Close() })
	}
	for _, c := range b.connections("--relay", "web") {
		if c.Target == backend && slices.Contains(clients, c.Client) {
			b.t.Errorf("a new connection went to %s: %+v", backend, c)
		}
	}
}

// TestDrainOutlivesRefusedReload wants a reload that the kernel does not take, here because another program writes all the
// time, to leave what was drained by hand as it was: the old configuration goes on.
func TestDrainOutlivesRefusedReload(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.start(pool(quoted(b.echoes(2, 80, 0))))
	whole, err := os.ReadFile(b.configPath())
	lab.Check(t, err)
	b.step([]string{"drain", "web", "10.3.0.102"}, control.CodeOK, "drained")
	churn, err := b.B.Start("sh", "-c", `(echo 'add table ip churning'; yes 'add table ip churn; delete table ip churn') | nft -i`)
	lab.Check(t, err)
	lab.Eventually(t, patience, func() error { return b.B.Command(t.Context(), "nft", "list", "table", "ip", "churning").Run() })
	b.configure("[[relay]]\nname = \"other\"\nlisten = \"10.2.0.100:10000-29999\"\nto = [\"10.3.0.101\"]\n") // takes a while to read back
	if _, errs, code := b.natctl("reload"); code != control.CodeFailed || !strings.Contains(errs, "the old one goes on") {
		t.Fatalf("natctl reload exits %d and says %q, want it refused", code, errs)
	}
	lab.Check(t, churn.Kill())
	b.configure(string(whole))
	b.awaitReady()
	b.step([]string{"status"}, control.CodeOK, "draining")
}
