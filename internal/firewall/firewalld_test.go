package firewall

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"natd/internal/lab"
)

// busConfig is a system bus on which everybody may do everything.
const busConfig = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>custom</type><listen>unix:path=%s</listen><auth>EXTERNAL</auth>
  <policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*"/><allow eavesdrop="true"/></policy>
</busconfig>`

// firewalld runs the real one in the box, with a bus and a configuration of its own, and returns a way to run firewall-cmd.
func (b *box) firewalld() (cmd func(command string) error) {
	b.t.Helper()
	dir, err := b.host.Lab().TempDir("firewalld")
	lab.Check(b.t, err)
	bus := filepath.Join(dir, "bus")
	config := filepath.Join(dir, "bus.conf")
	lab.Check(b.t, os.WriteFile(config, []byte(fmt.Sprintf(busConfig, bus)), 0o600))
	_, err = b.host.Start("dbus-daemon", "--config-file="+config, "--nofork")
	lab.Check(b.t, err)
	lab.Eventually(b.t, patience, func() error {
		_, err := os.Stat(bus)
		return err
	})
	env := append(os.Environ(), "DBUS_SYSTEM_BUS_ADDRESS=unix:path="+bus)
	daemon := b.host.Command(context.Background(), "firewalld", "--nofork", "--nopid", "--system-config", dir, "--log-file", filepath.Join(dir, "log"))
	daemon.Env = env
	_, err = b.host.StartCmd(daemon)
	lab.Check(b.t, err)
	cmd = func(command string) error {
		c := b.host.Command(b.t.Context(), "sh", "-c", command)
		c.Env = env
		out, err := c.CombinedOutput()
		if err != nil {
			b.t.Logf("%s: %s", command, out)
		}
		return err
	}
	lab.Eventually(b.t, 6*patience, func() error {
		c := b.host.Command(b.t.Context(), "firewall-cmd", "--state")
		c.Env = env
		return c.Run()
	})
	return cmd
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
