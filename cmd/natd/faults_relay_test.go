package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"natd/internal/control"
	"natd/internal/diagnose"
	"natd/internal/lab"
)

// faultsOfRelay configures relays that cannot work, or not for everybody.
func faultsOfRelay(t *testing.T) {
	t.Helper()
	l := newFaultLab(t)
	_, err := l.C.EchoTCP("10.3.0.100:7")
	lab.Check(t, err)
	l.suffer(t, relayFaults())
}

// dialEcho speaks to an echo server by the relay on port 90.
func dialEcho(l *faultLab, within time.Duration) error {
	return reach(l.t, l.A, "tcp", "10.2.0.100:90", within)
}

// hold keeps a connection to the relay on port 90 open for as long as the fault is there.
func hold() harm {
	var held net.Conn
	return harm{
		act: func(l *faultLab) (err error) {
			if held, err = l.A.Dial(l.t.Context(), "tcp", "10.2.0.100:90"); err == nil {
				err = exchange(held, patience)
			}
			return err
		},
		cure: func(*faultLab) error {
			if held == nil {
				return nil
			}
			return held.Close()
		},
	}
}

// listener is a service of host B that listens and says nothing.
func listener(addr string) harm {
	var l net.Listener
	return harm{
		act: func(f *faultLab) (err error) {
			l, err = f.B.Listen("tcp", addr)
			return err
		},
		cure: func(*faultLab) error { return l.Close() },
	}
}

// drained is an operation on a relay.
func drained(relay string) harm {
	natctl := func(verb string) func(*faultLab) error {
		return func(l *faultLab) error {
			if out, errs, code := l.natctl(verb, relay); code != control.CodeOK {
				return fmt.Errorf("natctl %s exits %d: %s%s", verb, code, out, errs)
			}
			return nil
		}
	}
	return harm{act: natctl("drain"), cure: natctl("enable")}
}

// unhealthy waits until natd knows that the target does not answer.
func unhealthy() harm {
	return harm{act: func(l *faultLab) error {
		return l.awaitRelay(func(r *control.Relay) error {
			for i := range r.Backends {
				if r.Backends[i].State == control.BackendDown {
					return nil
				}
			}
			return errors.New("no backend is down")
		})
	}}
}

// awaitRelay waits until the relay web is as cond wants it.
func (l *faultLab) awaitRelay(cond func(*control.Relay) error) error {
	return lab.Await(l.t.Context(), patience, func() error {
		s, err := l.tryStatus()
		if err != nil {
			return err
		}
		r, err := relayOf(s, "web")
		if err != nil {
			return err
		}
		return cond(r)
	})
}

// nameServers is a name server on the router that knows the target as c.lab.
func nameServers() harm {
	var dns *lab.DNS
	return harm{
		act: func(l *faultLab) (err error) {
			dns, err = l.R.StartDNS(l.t.Context(), netip.MustParseAddrPort("10.2.0.1:53"), map[string][]netip.Addr{"c.lab": {netip.MustParseAddr("10.3.0.100")}})
			return err
		},
		cure: func(*faultLab) error { return dns.Stop() },
	}
}

// relayFaults are those of natd's configuration, of the limits that it sets, and of backends that it does not use.
func relayFaults() []fault {
	const client, ingress = diagnose.LegClient, diagnose.Ingress
	echoes := func(lines string) string {
		return usual + "\n[[relay]]\nname = \"echo\"\nlisten = \"10.2.0.100:90\"\nto = [\"10.3.0.100:7\"]\n" + lines + "\n"
	}
	limit := func(f fault) fault {
		f.dial, f.want, f.leg, f.direction = dialEcho, diagnose.RelayLimitReached, client, ingress
		return f
	}
	return []fault{
		{
			name: "the client is no source", config: web(`from = ["10.9.0.0/16"]`), ask: []string{"web", "--from", "10.1.0.100"},
			want: diagnose.RelaySourceDenied, leg: client, direction: ingress, shows: "10.9.0.0/16",
		},
		{
			name: "the client is no source, watched", config: web(`from = ["10.9.0.0/16"]`), watch: true,
			want: diagnose.RelaySourceDenied, leg: client, direction: ingress, shows: "10.1.0.100",
		},
		{name: "the relay is disabled", config: web("enabled = false"), want: diagnose.RelayDisabled, leg: client, direction: ingress},
		{
			name: "no relay has the port", dial: fetchFrom("10.2.0.100:81"), ask: []string{"10.2.0.100:81"}, want: diagnose.RelayNotConfigured, leg: client, direction: ingress,
			config: usual,
		},
		{
			name: "a local service has the port", harms: []harm{listener("10.2.0.100:90"), restarted(echoes(""))}, dial: dialEcho, ask: []string{"echo"}, config: usual,
			want: diagnose.RelayPortShadows, leg: client, direction: ingress,
		},
		limit(fault{name: "max_connections is reached", config: echoes("max_connections = 1"), harms: []harm{hold()}, ask: []string{"echo"}, shows: "1 of 1"}),
		limit(fault{name: "max_per_source is reached", config: echoes("max_per_source = 1"), harms: []harm{hold()}, ask: []string{"echo", "--from", "10.1.0.100"}, shows: "10.1.0.100"}),
		limit(fault{
			name: "rate is reached, watched", config: echoes(`rate = "1/m"`), harms: []harm{hold()}, ask: []string{"echo"}, watch: true,
		}),
		{
			name: "a source address is not the host's", config: web(`snat = "10.2.0.55"`), want: diagnose.SNATNotLocal, leg: diagnose.LegHost, direction: diagnose.Egress, shows: "10.2.0.55",
		},
		{
			name: "the source is kept, and the target does not answer by this host", config: web(`snat = "off"`), want: diagnose.Asymmetric, leg: diagnose.LegReturn,
		},
		// natd refuses a relay to its own relay, unless it is one for every address.
		{
			name: "the target is a relay of this host", config: usual + "\n[[relay]]\nname = \"all\"\nlisten = \":91\"\nto = [\"10.3.0.100:80\"]\n[[relay]]\nname = \"loop\"\nlisten = \"10.2.0.100:90\"\nto = [\"10.2.0.100:91\"]\n",
			dial: fetchFrom("10.2.0.100:90"), ask: []string{"loop"}, want: diagnose.RelayLoop, leg: diagnose.LegHost,
		},
		{
			name: "the target sends everything back", config: usual + "\n[[relay]]\nname = \"loop\"\nlisten = \"10.2.0.100:90\"\nto = [\"10.3.0.100:90\"]\n",
			harms: []harm{on("C", "sysctl -qw net.ipv4.ip_forward=1; nft -f - <<'END'\ntable ip fault { chain pre { type nat hook prerouting priority dstnat; tcp dport 90 dnat to 10.2.0.100:90; };"+
				" chain post { type nat hook postrouting priority srcnat; masquerade; }; }\nEND\n", "nft delete table ip fault; sysctl -qw net.ipv4.ip_forward=0")},
			dial: fetchFrom("10.2.0.100:90"), ask: []string{"loop"}, want: diagnose.RelayLoop, leg: diagnose.LegHost,
		},
		{
			name: "every backend is drained", config: usual, harms: []harm{drained("web")}, want: diagnose.BackendsDrained, leg: diagnose.LegTarget, paste: "natctl enable web",
		},
		{
			name: "every backend is down, and fail = closed", config: web(`health = {type="tcp", interval="200ms", timeout="200ms", rise=1, fall=1}`, `fail = "closed"`),
			harms: []harm{stopNginx(), unhealthy()}, want: diagnose.TargetRefused, leg: diagnose.LegTarget,
		},
		{
			name: "one of two backends refuses", config: web(`to = ["10.3.0.100:80", "10.3.0.100:81"]`, `balance = "source"`), want: diagnose.TargetRefused, leg: diagnose.LegTarget, dial: anotherBackend,
		},
		{
			name: "the backend's name has never had an address", config: web(`to = ["c.lab:80"]`), want: diagnose.TargetNameUnknown, leg: diagnose.LegTarget, shows: "10.2.0.1:53",
		},
	}
}

// anotherBackend fetches the page until one attempt of three fails: the backends take turns.
func anotherBackend(l *faultLab, within time.Duration) error {
	for range 3 {
		if err := fetchFrom("10.2.0.100")(l, within); err != nil {
			return err
		}
	}
	return nil
}

// restarted starts natd again with a configuration that it would refuse to load as it runs.
func restarted(config string) harm {
	return harm{
		act: func(l *faultLab) error {
			l.kill()
			l.configure(config)
			l.launch()
			l.awaitDegraded("")
			return nil
		},
		cure: func(l *faultLab) error {
			l.take(usual)
			return nil
		},
	}
}

// TestDiagnoseLastAnswer asks about a relay whose name server has gone: its last answer works, and that is no fault.
func TestDiagnoseLastAnswer(t *testing.T) {
	t.Parallel()
	l := newFaultLab(t)
	h := nameServers()
	lab.Check(t, h.act(l))
	l.take(web(`to = ["c.lab:80"]`))
	l.awaitReady()
	l.reaches(&fault{})
	l.wantHealthy(&fault{})
	lab.Check(t, h.cure(l))
	lab.Check(t, l.awaitRelay(func(r *control.Relay) error {
		if r.Reason == "" {
			return errors.New("it has noticed nothing")
		}
		return nil
	}))
	r, code := l.diagnose("web")
	if all := explanations(r); code != control.CodeOK || !r.NetworkPathFound || len(all) != 1 || all[0].ExplanationCode != diagnose.TargetNameUnknown || all[0].Confidence != diagnose.Possible {
		t.Errorf("diagnose exits %d and says:\n%s", code, indented(r))
	}
}
