package main

import (
	"fmt"
	"strings"
	"testing"

	"natd/internal/control"
	"natd/internal/lab"
)

// TestManyRelaysAmongOthers changes one of two thousand relays again and again, while others change tables of their own and natd's. Whatever
// came in between, the kernel holds in the end what a natd that starts then wants.
func TestManyRelaysAmongOthers(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	const n = 2000
	config := func(port int) string {
		return strings.Replace(manyRelays(n, port), `protect = "guard"`, `protect = "off"`, 1)
	}
	b.start(config(7))
	repairs := 0
	for i, step := range []struct {
		what, script string
		drift        bool
	}{
		{"nothing", "", false},
		{"a table of another", "add table ip other; add set ip other s { type ipv4_addr; elements = { 192.0.2.1 }; }", false},
		{"an element of another", "add element ip other s { 192.0.2.2 }", false},
		{"an element deleted", "delete element inet natd listens4 { 10.2.0.100 . tcp . 10500 }", true},
		{"an element added", "add element inet natd relays4 { 10.2.0.100 . tcp . 9 : 10.3.0.66 . 9 }; add element ip other s { 192.0.2.3 }", true},
		{"a map flushed", "flush map inet natd snat4", true},
		{"a rule inserted", "insert rule inet natd forward drop", true},
		{"everything", "flush ruleset", true},
	} {
		if step.script != "" {
			b.nft(step.script)
		}
		b.reload(config(8 + i))
		if step.drift {
			repairs++
		}
		b.awaitStatus(func(s *control.Status) error {
			if s.State != control.StateReady || s.Ruleset.DriftRepairs > repairs {
				return fmt.Errorf("%s: %s, %d repairs", step.what, s.State, s.Ruleset.DriftRepairs)
			}
			return nil
		})
		b.complete(n)
		value := fmt.Sprintf("10.3.0.100 . %d", 8+i)
		if out, err := b.B.Run(t.Context(), "nft", "get", "element", "inet", "natd", "relays4", fmt.Sprintf("{ 10.2.0.100 . tcp . %d }", 10000+n-1)); err != nil || !strings.Contains(out, value) {
			t.Errorf("after %s the relay that changed has %s, want %s (%v)", step.what, out, value, err)
		}
		b.step([]string{"plan", "--exit-code"}, control.CodeOK, "no changes")
	}
	if strings.Contains(b.natd.Log(), "could not be brought in line") {
		t.Errorf("natd failed:\n%s", b.natd.Log())
	}
	lab.Check(t, b.natd.Stop())
}
