package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// busConfig is a system bus on which everybody may do everything.
const busConfig = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>custom</type><listen>unix:path=%s</listen><auth>EXTERNAL</auth>
  <policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*"/><allow eavesdrop="true"/></policy>
</busconfig>`

// Firewalld is a running firewalld with a bus and a configuration of its own.
type Firewalld struct {
	*Process
	bus  *Process
	host *Host
	dir  string
}

// StartFirewalld starts firewalld in the host. Zone is its zone "public", the default one, in XML; "" is firewalld's own.
func (h *Host) StartFirewalld(ctx context.Context, zone string) (*Firewalld, error) {
	dir, err := h.lab.TempDir("firewalld")
	if err != nil {
		return nil, err
	}
	f := &Firewalld{host: h, dir: dir}
	if err := f.configure(zone); err != nil {
		return nil, fmt.Errorf("preparing firewalld: %w", err)
	}
	if f.bus, err = h.Start("dbus-daemon", "--config-file="+filepath.Join(dir, "bus.conf"), "--nofork"); err != nil {
		return nil, err
	}
	err = f.bus.Await(ctx, serverPatience, func() error {
		_, err := os.Stat(f.socket())
		return err
	})
	if err != nil {
		return nil, err
	}
	daemon := f.command(context.Background(), "firewalld", "--nofork", "--nopid", "--system-config", dir, "--log-file", filepath.Join(dir, "log"))
	f.Process, err = h.StartCmd(daemon)
	return f, err
}

func (f *Firewalld) configure(zone string) error {
	if err := os.WriteFile(filepath.Join(f.dir, "bus.conf"), fmt.Appendf(nil, busConfig, f.socket()), 0o600); err != nil || zone == "" {
		return err
	}
	zones := filepath.Join(f.dir, "zones")
	if err := os.Mkdir(zones, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(zones, "public.xml"), []byte(zone), 0o600)
}

func (f *Firewalld) socket() string { return filepath.Join(f.dir, "bus") }

// command is a program that speaks to the bus.
func (f *Firewalld) command(ctx context.Context, name string, args ...string) *Cmd {
	c := f.host.Command(ctx, name, args...)
	c.Env = append(os.Environ(), "DBUS_SYSTEM_BUS_ADDRESS=unix:path="+f.socket())
	return c
}

// Ready waits until firewalld has loaded its rules.
func (f *Firewalld) Ready(ctx context.Context, within time.Duration) error {
	return f.Await(ctx, within, func() error { return f.Shell(ctx, "firewall-cmd --state") })
}

// Shell runs a command of the shell that calls firewall-cmd.
func (f *Firewalld) Shell(ctx context.Context, command string) error {
	if out, err := f.command(ctx, "sh", "-c", command).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", command, err, out)
	}
	return nil
}

// Stop ends it, which removes its rules, and its bus.
func (f *Firewalld) Stop() error {
	if err := f.Process.Stop(); err != nil {
		return err
	}
	return f.bus.Stop()
}
