package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"natd/internal/control"
)

// healthy is the status of a daemon that has nothing to complain about.
func healthy() control.Status {
	return control.Status{
		SchemaVersion: control.SchemaVersion,
		Version:       "1.2.3",
		State:         control.StateReady,
		PID:           812,
		StartedAt:     now().Add(-75 * time.Hour),
		Config:        control.Config{Path: "/etc/natd/natd.toml", LoadedAt: now().Add(-2 * time.Hour)},
		Host:          control.Host{IPForward: true, Conntrack: control.Conntrack{Entries: 12, Max: 262144}},
		Ruleset:       control.Ruleset{InSync: true, Protect: "own", LastSync: now().Add(-3 * time.Second)},
		Relays: []control.Relay{{
			Name: "web", State: control.RelayReady, Listen: []string{"10.2.0.100:80"}, Protocol: []string{"tcp"},
			Egress: "ens5", SNAT: []string{"10.2.0.100"},
			Backends:    []control.Backend{{Address: "10.3.0.100:80", State: control.BackendUnknown}},
			Connections: control.Connections{Total: 14, Active: 2},
			Bytes:       control.Volume{ToTarget: 1536, ToClient: 3 << 30},
		}},
	}
}

// TestStatusObserved shows how natd tells what it relays, each in a line.
func TestStatusObserved(t *testing.T) {
	t.Parallel()
	s := healthy()
	s.Accounting = control.Accounting{Exact: true, Since: now().Add(-72 * time.Hour), Lost: 2}
	s.FlowLog = &control.FlowLog{
		Path: "/var/log/natd/flow.log", Format: "${srcaddr} ${dstaddr}", Interval: "1m0s", Records: 1200, Dropped: 3, LastWrite: now().Add(-5 * time.Second),
		Error: "no space left on device",
	}
	s.Reasons = []string{"the flow log is not written: " + s.FlowLog.Error}
	s.Metrics = &control.Metrics{Listen: "127.0.0.1:9469", Error: "address already in use"}
	s.Relays[0].Connections.Refused = 7
	text := run(t, "status", "--socket", serve(t, &fake{status: s})).stdout
	for _, want := range []string{
		"\n  reason    the flow log is not written: no space left on device\n",
		"\n  counts    every connection of the last 3 d; the kernel dropped events 2 times, so connections may be missing\n",
		"\n  flow log  /var/log/natd/flow.log, own format every 1 min, 1200 records, last 5 s ago, 3 not written\n",
		"\n  metrics   http://127.0.0.1:9469/metrics: address already in use\n",
		"\n  └ connections that the backend refused: 7\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

// troubled is the status of a daemon that has everything to complain about.
func troubled() control.Status {
	s := healthy()
	s.State = control.StateDegraded
	s.Reasons = []string{`relay "dns": interface ens6 does not exist`, "the newer configuration was refused"}
	s.Config.Error = "/etc/natd/natd.toml:3: relay \"web\": lisen: unknown key\n/etc/natd/natd.toml:9: relay \"web\": to: missing"
	s.Host.Sysctls = []control.Sysctl{{Key: "net.ipv4.ip_forward", Old: "0", New: "1"}, {Key: "net.netfilter.nf_conntrack_max", Old: "65536", New: "262144"}}
	s.Ruleset.DriftRepairs = 3
	s.Ruleset.LastDrift = &control.Drift{At: now().Add(-2 * time.Minute), By: "nft (pid 12)", What: "table inet natd was deleted"}
	s.Ruleset.LastError = "netlink: no buffer space"
	s.Relays = append(s.Relays, control.Relay{
		Name: "dns", State: control.RelayDown, Reason: "interface ens6 does not exist:\nmake it, or set egress = \"auto\"",
		Listen: []string{"10.2.0.100:53", "10.2.0.101:53", "10.2.0.102:53"}, Protocol: []string{"tcp", "udp"},
		Backends: []control.Backend{{Name: "dns.internal", Address: "10.3.0.53:53", State: control.BackendDown}},
	}, control.Relay{Name: "old", State: control.RelayDisabled, Listen: []string{":8080"}, Protocol: []string{"tcp"}})
	return s
}

func TestStatusGolden(t *testing.T) {
	t.Parallel()
	none := healthy()
	none.Relays, none.Config.LoadedAt, none.Ruleset.LastDrift = nil, time.Time{}, &control.Drift{At: now(), What: "a rule"}
	tests := map[string]struct {
		status control.Status
		code   int
		want   string
	}{
		"ready": {healthy(), control.CodeOK, `
natd ready  version 1.2.3, up 3 d, pid 812
  config    /etc/natd/natd.toml, loaded 2 h ago
  host      ip_forward on, conntrack 12/262144
  ruleset   in sync (read 3 s ago), protect own, 0 drift repairs

NAME  STATE  LISTEN         PROTO  BACKEND        SNAT        EGRESS  CONNS  TOTAL   BYTES→   BYTES←
web   ready  10.2.0.100:80  tcp    10.3.0.100:80  10.2.0.100  ens5        2     14  1.5 KiB  3.0 GiB
`},
		"degraded": {troubled(), control.CodeDegraded, `
natd degraded  version 1.2.3, up 3 d, pid 812
  reason    the newer configuration was refused
  config    /etc/natd/natd.toml, loaded 2 h ago
            the last reload was refused:
            /etc/natd/natd.toml:3: relay "web": lisen: unknown key
            /etc/natd/natd.toml:9: relay "web": to: missing
  host      ip_forward on, conntrack 12/262144, 2 sysctls changed (--json lists them)
  ruleset   in sync (read 3 s ago), protect own, 3 drift repairs, last by nft (pid 12) 2 min ago: table inet natd was deleted
            last error: netlink: no buffer space

NAME  STATE     LISTEN            PROTO    BACKEND                           SNAT        EGRESS  CONNS  TOTAL   BYTES→   BYTES←
web   ready     10.2.0.100:80     tcp      10.3.0.100:80                     10.2.0.100  ens5        2     14  1.5 KiB  3.0 GiB
dns   down      10.2.0.100:53 +2  tcp,udp  10.3.0.53:53 (dns.internal) down  -           -           0      0      0 B      0 B
  └ interface ens6 does not exist:
    make it, or set egress = "auto"
old   disabled  :8080             tcp      -                                 -           -           0      0      0 B      0 B
`},
		"no relays": {none, control.CodeOK, `
natd ready  version 1.2.3, up 3 d, pid 812
  config    /etc/natd/natd.toml, loaded never
  host      ip_forward on, conntrack 12/262144
  ruleset   in sync (read 3 s ago), protect own, 0 drift repairs, last 0 s ago: a rule

no relay, gateway or static is configured
`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			socket := serve(t, &fake{status: test.status})
			run(t, "status", "--socket", socket).want(t, test.code, test.want[1:], "")
		})
	}
}

// Nothing is wrong where every relay is disabled, but nothing works.
func TestStatusOfDisabledRelays(t *testing.T) {
	t.Parallel()
	idle := healthy()
	idle.Relays = troubled().Relays[2:]
	got := run(t, "status", "--socket", serve(t, &fake{status: idle}))
	want := "old   disabled  :8080   tcp    -        -     -           0      0     0 B     0 B\nnote: every relay is disabled\n"
	if got.code != control.CodeOK || !strings.HasSuffix(got.stdout, want) {
		t.Errorf("got %+v, want %q at its end", got, want)
	}
}

func TestInstanceText(t *testing.T) {
	t.Parallel()
	eni := func(device, mac, id string) control.NetworkInterface {
		return control.NetworkInterface{Device: device, MAC: mac, ID: id, VPC: "vpc-0b", Subnet: "subnet-0b"}
	}
	first, second := eni("ens5", "02:00:00:00:00:02", "eni-0abc"), eni("", "02:00:00:00:00:01", "eni-0def")
	tests := map[string]struct {
		instance control.Instance
		want     string
	}{
		"usual": {
			control.Instance{ID: "i-0123", Type: "t3.nano", Zone: "eu-west-1a", AsOf: now().Add(-time.Minute), Interfaces: []control.NetworkInterface{first}},
			"i-0123 t3.nano in eu-west-1a, ens5 = eni-0abc (vpc-0b, subnet-0b)",
		},
		"little is known": {control.Instance{ID: "i-0123", AsOf: now()}, "i-0123"},
		"three interfaces, one of them without a driver": {
			control.Instance{ID: "i-0123", Type: "t3.nano", AsOf: now(), Interfaces: []control.NetworkInterface{first, second, first}},
			"i-0123 t3.nano, ens5 = eni-0abc (vpc-0b, subnet-0b), 02:00:00:00:00:01 = eni-0def (vpc-0b, subnet-0b), and 1 more (--json lists them)",
		},
		"a failure just now": {control.Instance{ID: "i-0123", AsOf: now().Add(-time.Minute), Error: "time-out"}, "i-0123"},
		"old":                {control.Instance{ID: "i-0123", AsOf: now().Add(-time.Hour), Error: "time-out"}, "i-0123; as of 1 h ago, since then: time-out"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := healthy()
			s.Host.Instance = &test.instance
			got := run(t, "status", "--socket", serve(t, &fake{status: s}))
			if line := "\n  instance  " + test.want + "\n"; !strings.Contains(got.stdout, line) {
				t.Errorf("no line %q in:\n%s", line, got.stdout)
			}
		})
	}
}

func TestStatusExitCodes(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		state  string
		inSync bool
		want   int
	}{
		"ready":                {control.StateReady, true, control.CodeOK},
		"degraded":             {control.StateDegraded, true, control.CodeDegraded},
		"failed, in sync":      {control.StateFailed, true, control.CodeDegraded},
		"failed, not in sync":  {control.StateFailed, false, control.CodeNotInSync},
		"ready, not in sync":   {control.StateReady, false, control.CodeNotInSync},
		"state of a newer one": {"dreaming", true, control.CodeDegraded},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := healthy()
			s.State, s.Ruleset.InSync = test.state, test.inSync
			socket := serve(t, &fake{status: s})
			for _, args := range [][]string{{"status"}, {"status", "--json"}} {
				got := run(t, append(args, "--socket", socket)...)
				if got.code != test.want || got.stderr != "" {
					t.Errorf("%v: exit %d, want %d; stderr %q", args, got.code, test.want, got.stderr)
				}
				if !strings.Contains(got.stdout, test.state) {
					t.Errorf("%v: the state is not told: %s", args, got.stdout)
				}
			}
		})
	}
}

// The names are a promise to scripts: none may go, or change its kind.
func TestStatusJSONSchema(t *testing.T) {
	t.Parallel()
	s := troubled()
	s.Host.Forward6 = true
	s.Gateways, s.Statics = []control.Gateway{gateway()}, []control.Static{static()}
	web := &s.Relays[0]
	web.Balance, web.Refused.Rate = "round-robin", 7
	web.Ports = &control.PortUse{Source: "10.2.0.100", Target: "10.3.0.100:80", Used: 2, Max: 64512}
	web.Backends[0] = control.Backend{Address: "10.3.0.100:80", State: control.BackendUnknown, Weight: 1, InUse: true, Total: 14, Active: 2}
	doc := run(t, "status", "--json", "--socket", serve(t, &fake{status: s})).document(t)
	for path, want := range map[string]any{
		"version": "1.2.3", "state": "degraded", "pid": 812.0, "reasons.0": `relay "dns": interface ens6 does not exist`,
		"config.path": "/etc/natd/natd.toml", "config.sha256": "", "config.loaded_at": "2026-03-01T10:00:00Z",
		"host.ip_forward": true, "host.conntrack.entries": 12.0, "host.conntrack.max": 262144.0, "host.sysctls.0.key": "net.ipv4.ip_forward",
		"ruleset.in_sync": true, "ruleset.last_sync": "2026-03-01T11:59:57Z", "ruleset.drift_repairs": 3.0, "ruleset.protect": "own",
		"ruleset.last_drift.at": "2026-03-01T11:58:00Z", "ruleset.last_drift.by": "nft (pid 12)", "ruleset.last_drift.what": "table inet natd was deleted",
		"ruleset.last_error": "netlink: no buffer space",
		"relays.0.name":      "web", "relays.0.state": "ready", "relays.0.reason": "", "relays.0.listen.0": "10.2.0.100:80", "relays.0.protocol.0": "tcp",
		"relays.0.egress": "ens5", "relays.0.snat.0": "10.2.0.100", "relays.0.backends.0.name": "", "relays.0.backends.0.address": "10.3.0.100:80",
		"relays.0.backends.0.state": "unknown", "relays.0.backends.0.since": "0001-01-01T00:00:00Z",
		"relays.0.connections.total": 14.0, "relays.0.connections.active": 2.0, "relays.0.connections.unreplied": 0.0,
		"relays.0.bytes.to_target": 1536.0, "relays.0.bytes.to_client": float64(3 << 30), "relays.0.packets.to_target": 0.0, "relays.0.packets.to_client": 0.0,
		"host.ip6_forward": true, "relays.0.balance": "round-robin", "relays.0.ports.source": "10.2.0.100", "relays.0.ports.target": "10.3.0.100:80",
		"relays.0.ports.used": 2.0, "relays.0.ports.max": 64512.0, "relays.1.ports": nil,
		"relays.0.refused.max_connections": 0.0, "relays.0.refused.max_per_source": 0.0, "relays.0.refused.rate": 7.0,
		"relays.0.backends.0.reason": "", "relays.0.backends.0.weight": 1.0, "relays.0.backends.0.backup": false,
		"relays.0.backends.0.in_use": true, "relays.0.backends.0.total": 14.0, "relays.0.backends.0.active": 2.0,
		"gateways.0.name": "private", "gateways.0.state": "ready", "gateways.0.reason": "", "gateways.0.from.0": "10.100.20.0/24",
		"gateways.0.to.0": "0.0.0.0/0", "gateways.0.snat.0": "auto", "gateways.0.egress": "auto", "gateways.0.connections.total": 9.0,
		"gateways.0.bytes.to_target": 512.0, "gateways.0.packets.to_client": 0.0,
		"statics.0.name": "overlap-c", "statics.0.state": "degraded", "statics.0.reason": "no route", "statics.0.external": "10.2.64.0/24",
		"statics.0.internal": "192.168.1.0/24", "statics.0.from": nil, "statics.0.snat.0": "off", "statics.0.connections.active": 1.0,
		"statics.0.bytes.to_client": 0.0, "statics.0.packets.to_target": 0.0,
		"tunnels": nil, "routes": nil,
	} {
		got, ok := at(doc, path)
		if absent := path == "relays.1.ports"; ok == absent || got != want {
			t.Errorf("%s = %v, want %v", path, got, want)
		}
	}
}

// at walks a JSON document by names and indexes.
func at(doc any, path string) (any, bool) {
	for step := range strings.SplitSeq(path, ".") {
		switch node := doc.(type) {
		case map[string]any:
			next, ok := node[step]
			if !ok {
				return nil, false
			}
			doc = next
		case []any:
			var i int
			if _, err := fmt.Sscan(step, &i); err != nil || i >= len(node) {
				return nil, false
			}
			doc = node[i]
		default:
			return nil, false
		}
	}
	return doc, true
}

// Names of processes are chosen by others, and must not steer the terminal.
func TestStatusIsHarmless(t *testing.T) {
	t.Parallel()
	s := troubled()
	evil := "\x1b]0;owned\x07\x1b[2J\r\u009b1m"
	s.Ruleset.LastDrift.By, s.Ruleset.LastError, s.State, s.Version = evil, evil, evil, evil
	s.Reasons, s.Config.Path, s.Relays[0].Name, s.Relays[1].Reason = []string{evil}, evil, evil, evil
	s.Relays[0].Backends = []control.Backend{{Name: evil, State: evil, Reason: evil}, {State: control.BackendDown}}
	s.Relays[0].Ports = &control.PortUse{Source: evil, Target: evil, Used: 1, Max: 1}
	s.Gateways, s.Statics = []control.Gateway{{Name: evil, Reason: evil}}, []control.Static{{External: evil}}
	got := run(t, "status", "--socket", serve(t, &fake{status: s}))
	if strings.ContainsAny(got.stdout, "\x1b\x07\r\u009b") {
		t.Errorf("control characters came through: %q", got.stdout)
	}
}
