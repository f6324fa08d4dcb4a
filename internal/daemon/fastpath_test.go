package daemon

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"natd/internal/config"
	"natd/internal/lab"
	"natd/nat"
	"natd/netconf"
)

// fastFacts is hostFacts with more interfaces, and the default way by ens7.
func fastFacts() *facts {
	f := hostFacts()
	f.live.slow = func([]fastLink) string { return "" }
	f.ways[netip.MustParseAddr("192.0.2.1")] = &way{route: netconf.Route{Link: "ens7"}}
	f.ways[netip.MustParseAddr("10.9.0.1")] = &way{route: netconf.Route{Link: "ens8"}}
	f.ways[netip.MustParseAddr("10.3.0.7")] = &way{route: netconf.Route{Link: "tun0", Source: netip.MustParseAddr("10.2.0.100")}}
	var devices []netconf.Device
	for i, name := range []string{"lo", "ens9", "ens8", "ens7", "ens6", "ens5", "tun0"} {
		devices = append(devices, netconf.Device{Name: name, Index: i + 1, Loopback: name == "lo", Ethernet: name != "tun0"})
	}
	f.devices = fastDevices(devices)
	return f
}

// The interfaces that carry what is relayed, and no other: not what is only there, no loopback, no tunnel.
func TestFastLinks(t *testing.T) {
	t.Parallel()
	prefix := netip.MustParsePrefix
	gateway := nat.Gateway{Name: "out", From: []netip.Prefix{prefix("10.9.0.0/24")}, To: []netip.Prefix{prefix("0.0.0.0/0")}, Enabled: true}
	static := nat.Static{Name: "one", External: prefix("10.2.9.9/32"), Internal: prefix("10.3.0.100/32"), Enabled: true}
	off := gateway
	off.Enabled = false
	for name, c := range map[string]struct {
		spec nat.Spec
		want string
	}{
		"nothing":             {nat.Spec{}, ""},
		"one interface":       {nat.Spec{Relays: []nat.Relay{relay("web", "10.2.0.100:80")}}, "ens5:6"},
		"in and out":          {nat.Spec{Relays: []nat.Relay{relay("web", "10.2.9.1:80")}}, "ens5:6 ens6:5"},
		"every local address": {nat.Spec{Relays: []nat.Relay{relay("web", ":80")}}, "ens5:6 ens6:5"},
		"to the host itself":  {nat.Spec{Relays: []nat.Relay{relay("web", "10.2.9.1:80", to("10.2.0.100"))}}, ""},
		"by a tunnel":         {nat.Spec{Relays: []nat.Relay{relay("web", "10.2.9.1:80", to("10.3.0.7"))}}, "ens6:5"},
		"disabled":            {nat.Spec{Relays: []nat.Relay{relay("web", "10.2.9.1:80", func(r *nat.Relay) { r.Enabled = false })}}, ""},
		"a gateway":           {nat.Spec{Gateways: []nat.Gateway{gateway}}, "ens7:4 ens8:3"},
		"a disabled gateway":  {nat.Spec{Gateways: []nat.Gateway{off}}, ""},
		"a static":            {nat.Spec{Statics: []nat.Static{static}}, "ens5:6 ens7:4"},
	} {
		c.spec.FastPath = true
		p := placeOn(fastFacts(), &c.spec, nil)
		var got []string
		for _, l := range p.fast.links {
			got = append(got, fmt.Sprintf("%s:%d", l.name, l.index))
		}
		if diff := cmp.Diff(c.want, strings.Join(got, " ")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if (p.fast.why == "") != (c.want != "") {
			t.Errorf("%s: why is %q", name, p.fast.why)
		}
		c.spec.FastPath = false
		if p := placeOn(fastFacts(), &c.spec, nil); len(p.fast.links) > 0 || p.fast.why != "" {
			t.Errorf("%s: not wanted, and %+v", name, p.fast)
		}
	}
}

// An interface that is made anew under its old name is another fact, and other places: it must be hooked again.
func TestFastLinkAnew(t *testing.T) {
	t.Parallel()
	spec := &nat.Spec{Relays: []nat.Relay{relay("web", "10.2.0.100:80")}, FastPath: true}
	before, now := fastFacts(), fastFacts()
	if !now.same(before) || !placeOn(now, spec, nil).same(placeOn(before, spec, nil)) {
		t.Error("the same interfaces are other facts")
	}
	now.devices[0].index = 99
	if now.same(before) || placeOn(now, spec, nil).same(placeOn(before, spec, nil)) {
		t.Error("another interface under the same name is not noticed")
	}
}

// What is known of the table is not believed of the flowtable: the kernel changes that without a change of the ruleset.
func TestFlowtableIsReadAgain(t *testing.T) {
	t.Parallel()
	f := fastFacts()
	spec := &nat.Spec{Relays: []nat.Relay{relay("web", "10.2.0.100:80")}, FastPath: true}
	lab.Check(t, lab.NewHost(t).Do(func() error {
		kernel, err := nat.Open()
		if err != nil {
			return err
		}
		defer kernel.Close()
		d := &Daemon{kernel: kernel, hold: nat.Hold{Protect: nat.ProtectOff, Port: kernel.Port()}, looks: newLooks()}
		d.placed = *placeOn(f, spec, nil)
		fast := d.placed.all()
		slow := *fast
		slow.FastLinks = nil
		have, err := kernel.Read()
		if err != nil {
			return err
		}
		if err := kernel.Apply(nat.Diff(nat.Build(spec, &slow), have, d.hold), have.Generation, d.hold); err != nil {
			return err
		}
		if d.sync.mirror, err = kernel.Read(); err != nil {
			return err
		}
		d.want = nat.Build(spec, fast)
		d.sync.mirror.FastPath = &nat.FastPath{Links: d.want.FastPath.Links} // as it was, before the kernel took it away
		have, plan, err := d.compare()
		if err != nil {
			return err
		}
		if steps := plan.Steps(1); have != d.sync.mirror || !slices.Equal(steps[:1], []string{"make flowtable fast on ens5"}) {
			t.Errorf("the table was read as a whole: %v; the plan begins with %q", have != d.sync.mirror, steps)
		}
		return nil
	}))
}

// Status tells of the flowtable that was seen last, not of the one that is wanted.
func TestFastStatus(t *testing.T) {
	t.Parallel()
	d := &Daemon{cfg: &config.Config{NAT: nat.Spec{FastPath: true}}, want: new(nat.Ruleset)}
	for _, links := range [][]string{nil, {"ens5", "ens6"}, nil} {
		have := new(nat.Table)
		if links != nil {
			have.FastPath = &nat.FastPath{Links: links}
		}
		d.remember(have)
		if s := d.fastStatus(); s.Wanted != "auto" || s.On != (links != nil) || !slices.Equal(s.Interfaces, links) {
			t.Errorf("with %q status says %+v", links, s)
		}
	}
}

// What the kernel refuses of the fast path alone costs nothing but the fast path, and is not tried again with the same interfaces.
func TestWithoutFastPath(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	d := &Daemon{Options: Options{Log: slog.New(slog.NewTextHandler(&log, nil))}}
	d.cfg = &config.Config{NAT: nat.Spec{Relays: []nat.Relay{relay("web", "10.2.0.100:80")}, FastPath: true}}
	d.fast = fastPath{asked: true}
	f := fastFacts()
	f.live.slow = d.fast.slow
	place := func() {
		d.placed = *placeOn(f, &d.cfg.NAT, nil)
		d.want = nat.Build(&d.cfg.NAT, d.placed.all())
	}
	place()
	if d.want.FastPath == nil {
		t.Fatal("there is no fast path to begin with")
	}
	other := errors.New("no memory")
	if err := d.withoutFastPath(other); !errors.Is(err, other) || errors.Is(err, nat.ErrStale) || d.want.FastPath == nil {
		t.Errorf("another refusal became %v", err)
	}
	refusal := fmt.Errorf("%w: no such device", nat.ErrFastPath)
	if err := d.withoutFastPath(refusal); !errors.Is(err, nat.ErrStale) || d.want.FastPath != nil {
		t.Errorf("the refusal became %v, and what is wanted has %+v", err, d.want.FastPath)
	}
	place()
	if d.placed.fast.why != refusal.Error() || d.want.FastPath != nil {
		t.Errorf("the same interfaces are tried again: %+v", d.placed.fast)
	}
	if d.runs(d.cfg) {
		t.Error("a reload of the same file would not try again")
	}
	f.devices[0].index = 99
	place()
	if d.placed.fast.why != "" || d.want.FastPath == nil {
		t.Errorf("other interfaces are not tried: %+v", d.placed.fast)
	}
	if n := strings.Count(log.String(), "without the fast path"); n != 1 {
		t.Errorf("it is logged %d times:\n%s", n, log.String())
	}
}
