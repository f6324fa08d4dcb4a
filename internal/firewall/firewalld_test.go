package firewall

import (
	"fmt"
	"testing"

	"natd/internal/lab"
)

// firewalld runs the real one in the box, and returns a way to run firewall-cmd.
func (b *box) firewalld() (cmd func(command string) error) {
	b.t.Helper()
	f, err := b.host.StartFirewalld(b.t.Context(), "")
	lab.Check(b.t, err)
	lab.Check(b.t, f.Ready(b.t.Context(), 6*patience))
	return func(command string) error { return f.Shell(b.t.Context(), command) }
}

// Firewalld lets through what was translated here, whoever did it; in its strict mode, which has not that rule, it refuses
// all but what it translated itself. A policy for the way opens it.
func TestFirewalld(t *testing.T) {
	t.Parallel()
	lab.Require(t, "firewalld", "firewall-cmd", "dbus-daemon") // TestOwners has its rules without them
	b := newBox(t)
	b.nft(relayed)
	_, err := b.server.EchoTCP("10.3.0.100:8080")
	lab.Check(t, err)
	cmd := b.firewalld()
	if all := b.forward(translatedSYN()); foretold(all) != yes || all[len(all)-1].Rule != "ct status dnat accept" {
		t.Errorf("through firewalld as it comes: %+v", all)
	}
	if !b.reaches() {
		t.Error("firewalld as it comes stops the relay")
	}
	checkText(t, b.host)

	strict := func() {
		for _, c := range b.read().chains {
			for _, r := range c.rules {
				if c.name == "filter_FORWARD" && r.text("inet") == "ct status dnat accept" {
					b.nft(fmt.Sprintf("delete rule inet firewalld filter_FORWARD handle %d", r.handle))
				}
			}
		}
	}
	strict()
	f := stopper(b.forward(translatedSYN()))
	if f == nil || f.Owner != "firewalld" || f.Outcome != Reject || f.Rule != "reject with icmpx admin-prohibited" {
		t.Fatalf("in strict mode: %+v", b.forward(translatedSYN()))
	}
	if b.reaches() {
		t.Error("strict mode stops nothing")
	}
	checkText(t, b.host)

	lab.Check(t, cmd(f.Remedy[1]))
	strict() // as after every reload in that mode
	if all := b.forward(translatedSYN()); foretold(all) != yes {
		t.Errorf("with a policy for it: %+v", all)
	}
	if !b.reaches() {
		t.Error("the policy does not help")
	}
}
