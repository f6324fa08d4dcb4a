package daemon

import (
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"natd/internal/config"
	"natd/internal/control"
	"natd/internal/lab"
	"natd/nat"
	"natd/netconf"
)

// atHost lets the test have a natd that does nothing by itself, on a host with two interfaces to 10.9.0.0/24, of which one is used.
func atHost(t *testing.T, text string, test func(d *Daemon, run func(args ...string)) error) {
	t.Helper()
	h := lab.NewHost(t)
	run := func(args ...string) {
		t.Helper()
		_, err := h.Run(t.Context(), args[0], args[1:]...)
		lab.Check(t, err)
	}
	for link, addr := range map[string]string{"one": "10.2.0.100/24", "two": "10.2.9.1/24"} {
		run("ip", "link", "add", link, "type", "veth", "peer", "name", link+"-end")
		run("ip", "link", "set", link+"-end", "up")
		run("ip", "addr", "add", addr, "dev", link)
		run("ip", "link", "set", link, "up")
	}
	run("ip", "route", "add", "10.9.0.0/24", "dev", "one")
	path := filepath.Join(t.TempDir(), "natd.toml")
	lab.Check(t, os.WriteFile(path, []byte(text), 0o600))
	lab.Check(t, h.Do(func() error {
		cfg, err := config.Load(path)
		if err != nil {
			return err
		}
		d := &Daemon{
			Options: Options{Log: slog.New(slog.DiscardHandler), StateDir: t.TempDir(), Level: new(slog.LevelVar)}, startedAt: time.Now(),
			repairs: rate.NewLimiter(repairRate, repairBurst), looks: newLooks(), table: newTable(), wake: make(chan struct{}, 1), tidy: newTidy(),
		}
		defer d.tidy.stop()
		d.resets, d.flowlog, d.meter = newResets(d.Log), newFlowLog(d.Log, os.Stdout, d.poke), newMeter(d)
		d.metadata, d.probes = newMetadata(d.Log, d.poke), newProbes(d.Options, netip.AddrPort{}, d.poke, d.poke)
		d.web.open(d.Log, d.site().handler(), d.poke)
		if err := d.open(); err != nil {
			return err
		}
		defer d.close() //nolint:errcheck // its host may be closed by the test
		if err := d.adopt(t.Context(), cfg); err != nil {
			return err
		}
		return test(d, run)
	}))
}

const toNine = "[daemon]\nprotect = \"off\"\n\n[[relay]]\nname = \"web\"\nlisten = \"10.2.0.100:80\"\nto = [\"10.9.0.5:80\", \"10.9.0.6:80\"]\n"

// A way that nobody needed when the network changed is asked for again by who needs it then.
func TestForgottenWays(t *testing.T) {
	t.Parallel()
	atHost(t, toNine, func(d *Daemon, run func(args ...string)) error {
		there := netip.MustParseAddr("10.9.0.5")
		link := func(spec *nat.Spec, anew bool) (string, error) {
			f, err := d.factsFor(spec, anew)
			if err != nil {
				return "", err
			}
			d.facts = f
			return f.way(there).route.Link, nil
		}
		first, err := link(&d.cfg.NAT, true)
		if err != nil {
			return err
		}
		known := d.facts
		run("ip", "route", "replace", "10.9.0.0/24", "dev", "two")
		if _, err := link(new(nat.Spec), true); err != nil {
			return err
		}
		second, err := link(&d.cfg.NAT, false)
		if first != "one" || second != "two" || d.facts != known {
			t.Errorf("the way was by %s and is by %s; the facts are the same: %t", first, second, d.facts == known)
		}
		return err
	})
}

// An address that comes is the host's also where no relay follows it, and when something else changes later.
func TestIndexFollowsTheHost(t *testing.T) {
	t.Parallel()
	atHost(t, toNine, func(d *Daemon, run func(args ...string)) error {
		lab.Check(t, d.pass())
		run("ip", "addr", "add", "10.2.9.2/24", "dev", "two")
		d.network.Store(true)
		lab.Check(t, d.pass())
		d.drains.set("web", []string{"10.9.0.5:80"}, true)
		d.live.Store(true)
		lab.Check(t, d.pass())
		if !d.index.Local(netip.MustParseAddr("10.2.9.2")) {
			t.Error("the address is taken for another's")
		}
		return nil
	})
}

// What changed by itself while the host did not answer is followed when it does.
func TestLiveIsNotForgotten(t *testing.T) {
	t.Parallel()
	atHost(t, toNine, func(d *Daemon, _ func(args ...string)) error {
		if err := d.pass(); err != nil {
			return err
		}
		d.drains.set("web", []string{"10.9.0.5:80"}, true)
		d.network.Store(true)
		d.live.Store(true)
		d.host.Close()
		if err := d.pass(); err == nil {
			t.Error("the host answers all the same")
		}
		var err error
		if d.host, err = netconf.Open(); err != nil {
			return err
		}
		if err := d.pass(); err != nil {
			return err
		}
		draining := func(b backend) bool { return b.state == control.BackendDraining }
		if !slices.ContainsFunc(d.placed.relays[0].backends, draining) {
			t.Error("the backend is not drained")
		}
		return nil
	})
}
