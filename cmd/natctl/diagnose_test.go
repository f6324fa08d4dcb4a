package main

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"natd/internal/control"
	"natd/internal/diagnose"
	"natd/nat"
	"natd/netconf"
)

// disabledRelay is evidence that needs little: a relay that is switched off.
func disabledRelay(l *diagnose.Looker, q diagnose.Question) *diagnose.Evidence {
	ev := &diagnose.Evidence{
		At: now(), Asked: q, Daemon: diagnose.Daemon{Running: l.Status != nil, InSync: true, Config: "/etc/natd/natd.toml"},
		Table: diagnose.Table{Exists: true}, Host: diagnose.Host{Conntrack: diagnose.Conntrack{Entries: 1, Max: 2000}},
	}
	if l.Silence != nil {
		ev.Daemon.Silence = l.Silence.Error()
	}
	ev.Ways = []diagnose.Way{{
		Relay: &nat.Relay{Name: "old", Listen: nat.Listen{Addr: netip.MustParseAddr("10.2.0.100"), Ports: nat.PortRange{First: 80, Last: 80}}}, Protocol: nat.TCP,
		Listen: netip.MustParseAddrPort("10.2.0.100:80"), Target: netip.MustParseAddrPort("10.3.0.100:80"), Out: diagnose.Route{Route: netconf.Route{Link: "ens5"}},
	}}
	return ev
}

// runDiagnose runs the command with evidence that was gathered before.
func runDiagnose(t *testing.T, gather func(*diagnose.Looker, diagnose.Question) (*diagnose.Evidence, error), args ...string) result {
	t.Helper()
	l := noLocal()
	l.look = func(_ context.Context, looker *diagnose.Looker, q diagnose.Question) (*diagnose.Evidence, error) {
		return gather(looker, q)
	}
	return runWith(t, l, append([]string{"diagnose"}, args...)...)
}

const diagnosisText = `broken  old tcp  client -> 10.2.0.100:80 -> 10.3.0.100:80
   RELAY_DISABLED: relay old is switched off: enabled = false
   client -> host
     1 ✗ who may use relay old: everyone who reaches the address

RELAY_DISABLED  certain, client -> ingress
  relay old is switched off: enabled = false
  seen: /etc/natd/natd.toml says so
      # set enabled = true for relay old in /etc/natd/natd.toml, then:
      natctl reload

the path is broken
`

func TestDiagnoseText(t *testing.T) {
	t.Parallel()
	socket := serve(t, &fake{status: troubled()})
	got := runDiagnose(t, func(l *diagnose.Looker, q diagnose.Question) (*diagnose.Evidence, error) {
		return disabledRelay(l, q), nil
	}, "old", "--socket", socket)
	if diff := cmp.Diff(diagnosisText, got.stdout); got.code != control.CodeDegraded || diff != "" {
		t.Errorf("exit %d (-want +got):\n%s", got.code, diff)
	}
}

// TestDiagnoseNobody wants an answer that has no path to begin with its cause.
func TestDiagnoseNobody(t *testing.T) {
	t.Parallel()
	got := runDiagnose(t, func(l *diagnose.Looker, q diagnose.Question) (*diagnose.Evidence, error) {
		ev := disabledRelay(l, q)
		ev.Ways, ev.Asked.Relay = nil, "10.2.0.100:81"
		return ev, nil
	}, "10.2.0.100:81", "--socket", serve(t, &fake{status: troubled()}))
	if got.code != control.CodeDegraded || !strings.HasPrefix(got.stdout, "RELAY_NOT_CONFIGURED  certain") {
		t.Errorf("exit %d:\n%s", got.code, got.stdout)
	}
}

// TestDiagnoseJSON wants the names of AWS's analysis, and lists that are there when they are empty.
func TestDiagnoseJSON(t *testing.T) {
	t.Parallel()
	socket := serve(t, &fake{status: troubled()})
	got := runDiagnose(t, func(l *diagnose.Looker, q diagnose.Question) (*diagnose.Evidence, error) {
		return disabledRelay(l, q), nil
	}, "old", "--json", "--socket", socket)
	doc := got.document(t)
	for path, want := range map[string]any{
		"NetworkPathFound": false, "Status": "succeeded", "StartDate": "2026-03-01T12:00:00Z", "schema_version": float64(1),
		"Paths.0.Relay": "old", "Paths.0.Explanations.0.ExplanationCode": "RELAY_DISABLED", "Paths.0.Explanations.0.Leg": "client",
		"Paths.0.Explanations.0.Direction": "ingress", "Paths.0.Explanations.0.Confidence": "certain",
		"Paths.0.ForwardPathComponents.0.SequenceNumber": float64(1), "Paths.0.ForwardPathComponents.0.Verdict": "broken",
		"Paths.0.ForwardPathComponents.0.OutboundHeader.DestinationAddresses.0": "10.2.0.100",
	} {
		if value, _ := at(doc, path); value != want {
			t.Errorf("%s is %v, want %v", path, value, want)
		}
	}
	if strings.Contains(got.stdout, "SchemaVersion") {
		t.Errorf("the version has two names:\n%s", got.stdout)
	}
	for _, list := range []string{`"ReturnPathComponents": []`, `"NotSeen": []`, `"Explanations": []`} {
		if !strings.Contains(got.stdout, list) {
			t.Errorf("there is no %s in\n%s", list, got.stdout)
		}
	}
}

// TestDiagnoseWithoutDaemon goes by the configuration that --config names.
func TestDiagnoseWithoutDaemon(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "natd.sock")
	gather := func(l *diagnose.Looker, q diagnose.Question) (*diagnose.Evidence, error) {
		if l.Config == nil || len(l.Config.NAT.Relays) != 1 || l.Silence == nil {
			return nil, errors.New("there is no configuration, or no reason")
		}
		return disabledRelay(l, q), nil
	}
	got := runDiagnose(t, gather, "--socket", missing, "--config", configFile(t, validConfig))
	if got.code != control.CodeDegraded || !strings.Contains(got.stdout, "RELAY_DISABLED") || !strings.Contains(got.stdout, "NATD_NOT_RUNNING") {
		t.Errorf("got %+v", got)
	}
	runDiagnose(t, gather, "--socket", missing, "--config", configFile(t, "nonsense")).wantError(t, control.CodeConfig, "the configuration is invalid")
	refused := func(*diagnose.Looker, diagnose.Question) (*diagnose.Evidence, error) { return nil, fs.ErrPermission }
	runDiagnose(t, refused, "--socket", missing, "--config", configFile(t, validConfig)).wantError(t, control.CodeNotPermitted, "you need to be root")
}
