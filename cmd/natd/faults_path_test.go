package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"natd/internal/diagnose"
	"natd/internal/lab"
)

// faultsOfSize has a path that carries small packets only, and says nothing about it.
func faultsOfSize(t *testing.T) {
	t.Helper()
	l := newFaultLab(t)
	_, err := l.Narrow(t.Context(), 1400)
	lab.Check(t, err)
	lab.Check(t, l.nginx.Publish("large", strings.Repeat("natd ", 20_000)))
	l.suffer(t, sizeFaults())
}

// fetchLarge fetches what takes large packets.
func fetchLarge(l *faultLab, within time.Duration) error {
	_, err := l.A.Curl(l.t.Context(), "http://10.2.0.100/large", "--max-time", fmt.Sprint(within.Seconds()))
	return err
}

// sizeFaults are those of a path that is narrow for good, so what is mended is the relay: the usual one has mss = "auto", by which the
// host's own interface counts, and is broken.
func sizeFaults() []fault {
	narrow := func(f fault) fault {
		f.dial, f.want, f.leg, f.stays = fetchLarge, diagnose.MTUBlackhole, diagnose.LegReturn, true
		return f
	}
	return []fault{
		narrow(fault{name: "large packets vanish", config: web(`mss = "auto"`), shows: "1400 bytes pass"}),
		narrow(fault{name: "large packets vanish, and mss is off", config: web(`mss = "off"`)}),
		narrow(fault{name: "large packets vanish, and mss is too large", config: web("mss = 1400")}),
		narrow(fault{name: "large packets vanish, watched", config: web(`mss = "off"`), watch: true}),
		{
			name: "two: large packets vanish, and the target's firewall drops", harms: []harm{filter("C", "input", "tcp dport 80 drop")}, dial: fetchLarge, stays: true,
			want: diagnose.TargetNoReply, leg: diagnose.LegTarget, also: []diagnose.Code{diagnose.MTUBlackhole},
		},
		{name: "large packets vanish, and mss fits", config: web("mss = 1360"), dial: fetchLarge, works: true, stays: true},
	}
}

// faultsOfTwoHosts has two relays in a row: B sends to another natd in C, which sends to D.
func faultsOfTwoHosts(t *testing.T) {
	t.Helper()
	l := newFaultLab(t)
	d, err := l.Host("D")
	lab.Check(t, err)
	l.hosts["D"] = d
	lab.Check(t, lab.Connect(
		lab.End{Host: d, Name: lab.Device, Addrs: []netip.Prefix{netip.MustParsePrefix("10.4.0.100/24")}},
		lab.End{Host: l.C, Name: "ens6", Addrs: []netip.Prefix{netip.MustParsePrefix("10.4.0.1/24")}}))
	_, err = d.StartNginx(t.Context(), netip.MustParseAddrPort("10.4.0.100:80"))
	lab.Check(t, err)
	l.second("[[relay]]\nname = \"second\"\nlisten = \"10.3.0.100:90\"\nto = [\"10.4.0.100:80\"]\n")
	l.suffer(t, twoHostFaults())
}

// second starts another natd, in host C.
func (l *faultLab) second(config string) {
	l.t.Helper()
	dir, err := l.Lab.TempDir("second")
	lab.Check(l.t, err)
	path := filepath.Join(dir, "natd.toml")
	lab.Check(l.t, os.WriteFile(path, []byte(config), 0o600))
	p, err := l.C.Start(filepath.Join(l.bin, "natd"), "--config", path, "--socket", filepath.Join(dir, "natd.sock"), "--state", filepath.Join(dir, "state"))
	lab.Check(l.t, err)
	l.t.Cleanup(func() { l.noRace(p) })
	lab.Check(l.t, p.AwaitLog(l.t.Context(), patience, "msg=ready"))
}

// twoHostFaults are seen by the first natd as far as the second one shows them: it answers as its own target does.
func twoHostFaults() []fault {
	row := func(f fault) fault {
		f.config = usual + "\n[[relay]]\nname = \"first\"\nlisten = \"10.2.0.100:90\"\nto = [\"10.3.0.100:90\"]\n"
		f.dial, f.ask, f.leg = fetchFrom("10.2.0.100:90"), []string{"first"}, diagnose.LegTarget
		return f
	}
	return []fault{
		row(fault{name: "two relays in a row", works: true}),
		row(fault{name: "two relays in a row: behind the second the service refuses", harms: []harm{filter("D", "input", "tcp dport 80 reject with tcp reset")}, want: diagnose.TargetRefused}),
		row(fault{name: "two relays in a row: behind the second a firewall drops", harms: []harm{filter("D", "input", "tcp dport 80 drop")}, want: diagnose.TargetNoReply}),
		// The second natd takes a relay that has no way out of the kernel, so its host itself refuses.
		row(fault{name: "two relays in a row: the second has no route", harms: []harm{on("C", "ip route add unreachable 10.4.0.100", "ip route del unreachable 10.4.0.100")}, want: diagnose.TargetRefused}),
	}
}

// faultsOfRoom uses up the source ports towards one target. The limit of the connection tracking table is that of all namespaces, so
// a full one is for the virtual machines.
func faultsOfRoom(t *testing.T) {
	t.Helper()
	l := newFaultLab(t)
	lab.Check(t, l.A.AddExtra(1))
	lab.Check(t, l.B.SetSysctl("net.netfilter.nf_conntrack_udp_timeout", "300")) // a slow machine shall not see the first ones go
	l.suffer(t, roomFaults())
}

func roomFaults() []fault {
	return []fault{{
		name: "every source port towards the target is taken", harms: []harm{crowd()}, dial: dialAnew, ask: []string{"dns"},
		want: diagnose.SNATPortExhausted, leg: diagnose.LegHost, direction: diagnose.Egress, shows: "64512",
	}}
}

// crowd takes all source ports that B has towards the target.
func crowd() harm {
	return harm{
		act: func(l *faultLab) error {
			return sprinkle(l.A, 1024, 64512, &unix.SockaddrInet4{Port: 53, Addr: l.B.Addr.As4()})
		},
		cure: func(l *faultLab) error {
			_, err := l.B.Run(context.WithoutCancel(l.t.Context()), "conntrack", "-F")
			return err
		},
	}
}

// dialAnew asks from another address of the client, whose ports are all free.
func dialAnew(l *faultLab, within time.Duration) error {
	from := l.A.Extra(1)[0]
	c, err := l.A.DialFrom(l.t.Context(), "udp", from, "10.2.0.100:53")
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = lab.Ask(c, within)
	return err
}
