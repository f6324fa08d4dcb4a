package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"natd/internal/config"
	"natd/internal/control"
	"natd/nat"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	good := configFile(t, validConfig)
	run(t, "check", good).want(t, control.CodeOK, "OK: "+good+": 1 relay\n", "")
	run(t, "check", good, "--socket", "/nowhere").want(t, control.CodeOK, "OK: "+good+": 1 relay\n", "")

	idle := configFile(t, validConfig+"enabled = false\n")
	run(t, "check", idle).want(t, control.CodeOK, "OK: "+idle+": 1 relay, 1 disabled\n", "")

	doc := run(t, "check", "--json", good).document(t)
	for path, want := range map[string]any{"path": good, "valid": true, "relays": 1.0, "gateways": 0.0, "statics": 0.0, "disabled": 0.0} {
		if got, _ := at(doc, path); got != want {
			t.Errorf("%s = %v, want %v", path, got, want)
		}
	}
	if got, ok := doc["errors"].([]any); !ok || len(got) != 0 {
		t.Errorf("errors = %v, want an empty list", doc["errors"])
	}
}

func TestCheckedText(t *testing.T) {
	t.Parallel()
	spec := nat.Spec{
		Relays: []nat.Relay{{Enabled: true}, {}}, Gateways: []nat.Gateway{{Enabled: true}, {}, {}}, Statics: []nat.Static{{Enabled: true}, {}},
	}
	c := checked{Path: "a.toml", Relays: 2, Gateways: 3, Statics: 1, Disabled: disabled(&spec)}
	if got, want := c.text(), "OK: a.toml: 2 relays, 3 gateways, 1 static, 4 disabled\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestCheckMistakes(t *testing.T) {
	t.Parallel()
	bad := configFile(t, strings.Replace(validConfig, "10.2.0.100:80", "10.2.0.100:70000", 1)+"lisen = 1\n")
	plain := run(t, "check", bad)
	plain.wantError(t, control.CodeConfig, "natctl: the configuration is invalid:\n"+bad+":4: relay \"web\": listen = \"10.2.0.100:70000\"")
	if got := strings.Count(plain.stderr, "\n"+bad+":"); got != 2 || plain.stdout != "" {
		t.Errorf("%d mistakes, want 2: %+v", got, plain)
	}
	machine := run(t, "check", "--json", bad)
	machine.wantError(t, control.CodeConfig, bad)
	doc := machine.document(t)
	for path, want := range map[string]any{
		"valid": false, "error.code": 3.0, "errors.0.file": bad, "errors.0.line": 4.0, "errors.0.table": `relay "web"`,
		"errors.0.key": "listen", "errors.0.value": `"10.2.0.100:70000"`, "errors.1.line": 6.0, "errors.1.key": "lisen",
	} {
		if got, _ := at(doc, path); got != want {
			t.Errorf("%s = %v, want %v", path, got, want)
		}
	}
}

func TestCheckNoFile(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "natd.toml")
	run(t, "check", missing).wantError(t, control.CodeConfig, missing)
}

// kernel is a local that knows one configuration and what it would change.
func kernel(changes []string, err error) local {
	return local{
		rules: func(_ context.Context, c *config.Config, _ *control.Known) (string, error) {
			return fmt.Sprintf("table inet natd { # %s }", c.NAT.Relays[0].Name), err
		},
		plan: func(_ context.Context, load loading, _ *control.Known) (*control.Outcome, error) {
			if _, err := load(); err != nil {
				return nil, err
			}
			return &control.Outcome{SchemaVersion: 1, Changes: changes}, err
		},
		flush: func(_ context.Context, state string) (*control.Outcome, error) {
			return &control.Outcome{SchemaVersion: 1, Changes: []string{"state " + state}}, err
		},
	}
}

func TestPlanAndRules(t *testing.T) {
	t.Parallel()
	path := configFile(t, validConfig)
	changes := kernel([]string{"add relay web", "remove relay old"}, nil)
	tests := map[string]struct {
		local local
		args  string
		code  int
		want  string
	}{
		"rules":                       {changes, "rules", 0, "table inet natd { # web }\n"},
		"plan":                        {changes, "plan", 0, "add relay web\nremove relay old\n"},
		"plan, exit code":             {changes, "plan --exit-code", control.CodeNotInSync, "add relay web\nremove relay old\n"},
		"plan, no changes":            {kernel(nil, nil), "plan", 0, "no changes: the kernel holds exactly this\n"},
		"plan, no changes, exit code": {kernel(nil, nil), "plan --exit-code", 0, "no changes: the kernel holds exactly this\n"},
		"plan, JSON":                  {kernel(nil, nil), "plan --json", 0, "{\n  \"schema_version\": 1,\n  \"path\": \"" + path + "\",\n  \"changes\": [],\n  \"notes\": []\n}\n"},
		"rules, JSON":                 {changes, "rules --json", 0, "{\n  \"schema_version\": 1,\n  \"path\": \"" + path + "\",\n  \"ruleset\": \"table inet natd { # web }\"\n}\n"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runWith(t, test.local, append(strings.Fields(test.args), path)...).want(t, test.code, test.want, "")
		})
	}
}

// Without FILE it is the configuration that the running natd says it uses. It need not put a whole status together to say so.
func TestRulesOfTheRunningConfiguration(t *testing.T) {
	t.Parallel()
	s := healthy()
	s.Config.Path = configFile(t, strings.Replace(validConfig, "web", "running", 1))
	natd := &fake{status: s}
	socket := serve(t, natd)
	runWith(t, kernel(nil, nil), "rules", "--socket", socket).want(t, 0, "table inet natd { # running }\n", "")
	if n := natd.rounds(); n > 0 {
		t.Errorf("natd was asked for its status %d times", n)
	}

	s.Config.Path = filepath.Join(t.TempDir(), "gone.toml")
	socket = serve(t, &fake{status: s})
	runWith(t, kernel(nil, nil), "rules", "--socket", socket).wantError(t, control.CodeConfig, s.Config.Path)
}

// What its own file would change natd tells, and of another natctl finds it out, as it does where natd is too old to be asked.
func TestPlanOfTheRunningConfiguration(t *testing.T) {
	t.Parallel()
	s := healthy()
	s.Config.Path = configFile(t, validConfig)
	natd := &fake{status: s, did: control.Outcome{Changes: []string{"add relay told"}}}
	socket := serve(t, natd)
	changes := kernel([]string{"add relay found"}, nil)
	runWith(t, changes, "plan", "--socket", socket).want(t, 0, "add relay told\n", "")
	runWith(t, changes, "plan", "--socket", socket, s.Config.Path).want(t, 0, "add relay told\n", "")
	runWith(t, changes, "plan", "--socket", socket, configFile(t, validConfig)).want(t, 0, "add relay found\n", "")
	natd.err = control.Errorf(control.CodeUsage, "unknown operation")
	runWith(t, changes, "plan", "--socket", socket).want(t, 0, "add relay found\n", "")
	natd.err = control.Errorf(control.CodeConfig, "%s:1: a reload would be refused", s.Config.Path)
	runWith(t, changes, "plan", "--socket", socket).wantError(t, control.CodeConfig, "a reload would be refused")
}

func TestPlanFailures(t *testing.T) {
	t.Parallel()
	path := configFile(t, validConfig)
	denied := kernel(nil, fmt.Errorf("open a netlink socket: %w", unix.EPERM))
	runWith(t, denied, "plan", path).wantError(t, control.CodeNotPermitted, "you need to be root")
	runWith(t, denied, "plan", "--exit-code", path).wantError(t, control.CodeNotPermitted, "you need to be root")
	broken := kernel(nil, errors.New("no route"))
	runWith(t, broken, "rules", path).wantError(t, control.CodeFailed, "build the ruleset for "+path+": no route")
	bad := configFile(t, "[[relay]]\n")
	runWith(t, broken, "plan", bad).wantError(t, control.CodeConfig, bad+":1: ")
}

func TestReload(t *testing.T) {
	t.Parallel()
	some := control.Outcome{SchemaVersion: 1, Changes: []string{"added relay web", "removed relay old"}, Notes: []string{"relay dns waits for ens6"}}
	tests := map[string]struct {
		did  control.Outcome
		want string
	}{
		"changes": {some, "2 changes\n  added relay web\n  removed relay old\nnote: relay dns waits for ens6\n"},
		"one":     {control.Outcome{Changes: []string{"added relay web"}}, "1 change\n  added relay web\n"},
		"none":    {control.Outcome{}, "nothing to change in the kernel\n"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, "reload", "--socket", serve(t, &fake{did: test.did})).want(t, 0, test.want, "")
		})
	}
	doc := run(t, "reload", "--json", "--socket", serve(t, &fake{did: some})).document(t)
	if got, _ := at(doc, "changes.1"); got != "removed relay old" {
		t.Errorf("changes.1 = %v", got)
	}
}

func TestFlush(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "natd.sock")

	daemon := &fake{did: control.Outcome{Changes: []string{"removed table inet natd"}}}
	run(t, "flush", "--socket", serve(t, daemon)).want(t, 0, "1 change\n  removed table inet natd\n", "")
	if daemon.rounds() != 1 {
		t.Errorf("asked %v", daemon.asked)
	}
	runWith(t, kernel(nil, nil), "flush", "--socket", missing).want(t, 0, "1 change\n  state /var/lib/natd\n", "")
	runWith(t, kernel(nil, nil), "flush", "--socket", missing, "--state", "/tmp/s").want(t, 0, "1 change\n  state /tmp/s\n", "")
	denied := kernel(nil, &fs.PathError{Op: "open", Path: "/proc/sys", Err: unix.EACCES})
	runWith(t, denied, "flush", "--socket", missing).wantError(t, control.CodeNotPermitted, "you need to be root")
}

func TestDrainAndEnable(t *testing.T) {
	t.Parallel()
	some := control.Outcome{Changes: []string{"delete from ways4 { ... }"}, Notes: []string{`relay "web": every backend is drained: new connections are refused`}}
	tests := map[string]struct {
		args, asked string
		did         control.Outcome
		want        string
	}{
		"one backend":  {"drain web 10.3.0.100:80", "drain web 10.3.0.100:80", control.Outcome{Changes: some.Changes}, "1 change\n  delete from ways4 { ... }\n"},
		"all":          {"drain web", "drain web ", some, "1 change\n  delete from ways4 { ... }\nnote: relay \"web\": every backend is drained: new connections are refused\n"},
		"back":         {"enable web c.test", "enable web c.test", some, "1 change\n  delete from ways4 { ... }\nnote: relay \"web\": every backend is drained: new connections are refused\n"},
		"all back":     {"enable web", "enable web ", control.Outcome{}, "nothing to change\n"},
		"drained long": {"drain web 10.3.0.100", "drain web 10.3.0.100", control.Outcome{}, "nothing to change\n"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &fake{did: test.did}
			run(t, append(strings.Fields(test.args), "--socket", serve(t, f))...).want(t, 0, test.want, "")
			if f.asked[0] != test.asked {
				t.Errorf("asked %q, want %q", f.asked, test.asked)
			}
		})
	}
}

// A daemon that hangs would put back what natctl removes, so natctl does not.
func TestFlushLeavesHangingDaemonAlone(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "natd.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		if conn, err := l.Accept(); err == nil {
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close() })
	runWith(t, kernel(nil, nil), "flush", "--socket", socket).wantError(t, control.CodeFailed, "natd hung up")
}

func TestConnections(t *testing.T) {
	t.Parallel()
	f := &fake{list: control.ConnectionList{SchemaVersion: 1, Truncated: true, Connections: []control.Connection{
		{
			Kind: control.KindRelay, Relay: "web", Protocol: "tcp", State: "ESTABLISHED", Client: "10.1.0.100:40000", Listen: "10.2.0.100:80",
			SNAT: "10.2.0.100:40000", Target: "10.3.0.100:80", Timeout: 431999, Bytes: control.Volume{ToTarget: 512, ToClient: 2048},
		},
		{Kind: control.KindStatic, Relay: "dns", Protocol: "udp", State: "unreplied", Client: "10.1.0.100:5353", Listen: "10.2.0.100:53", SNAT: "10.2.0.100:5353", Target: "10.3.0.53:53", Timeout: 9},
	}}}
	socket := serve(t, f)
	run(t, "connections", "--socket", socket, "--relay", "web").want(t, 0, `
KIND    NAME  PROTO  STATE        CLIENT            LISTEN         SNAT              TARGET         BYTES→   BYTES←   TIMEOUT
relay   web   tcp    ESTABLISHED  10.1.0.100:40000  10.2.0.100:80  10.2.0.100:40000  10.3.0.100:80   512 B  2.0 KiB  431999 s
static  dns   udp    unreplied    10.1.0.100:5353   10.2.0.100:53  10.2.0.100:5353   10.3.0.53:53      0 B      0 B       9 s
there are more than these 2; --relay and the other filters narrow the list
`[1:], "")
	if f.asked[0] != "connections web" {
		t.Errorf("asked %q", f.asked)
	}
	doc := run(t, "connections", "--json", "--socket", socket).document(t)
	for path, want := range map[string]any{"truncated": true, "connections.0.relay": "web", "connections.1.kind": "static", "connections.0.timeout_seconds": 431999.0, "connections.0.bytes.to_client": 2048.0} {
		if got, _ := at(doc, path); got != want {
			t.Errorf("%s = %v, want %v", path, got, want)
		}
	}
}

func TestNoConnections(t *testing.T) {
	t.Parallel()
	socket := serve(t, &fake{})
	run(t, "connections", "--socket", socket).want(t, 0, "no connections\n", "")
	run(t, "connections", "--socket", socket, "--relay", "web").want(t, 0, "no connections of web\n", "")
}

func TestVersion(t *testing.T) {
	t.Parallel()
	socket := serve(t, &fake{status: healthy()})
	got := run(t, "version", "--socket", socket)
	if got.code != 0 || !strings.HasPrefix(got.stdout, "natctl  dev (") || !strings.HasSuffix(got.stdout, "\nnatd    1.2.3 (pid 812)\n") {
		t.Errorf("got %+v", got)
	}
	doc := run(t, "version", "--json", "--socket", socket).document(t)
	for path, want := range map[string]any{"natctl.version": "dev", "natd.version": "1.2.3", "natd.pid": 812.0} {
		if got, _ := at(doc, path); got != want {
			t.Errorf("%s = %v, want %v", path, got, want)
		}
	}
}

func TestVersionWithoutDaemon(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "natd.sock")
	got := run(t, "version", "--socket", missing)
	if got.code != 0 || !strings.Contains(got.stdout, "natd    unknown: natd does not answer on "+missing) {
		t.Errorf("got %+v", got)
	}
	doc := run(t, "version", "--json", "--socket", missing).document(t)
	if natd, ok := doc["natd"]; !ok || natd != nil {
		t.Errorf("natd = %v, want null", natd)
	}
}

func TestBuildString(t *testing.T) {
	t.Parallel()
	for want, b := range map[string]build{
		"1.0 (go1.26)":                        {Version: "1.0", Go: "go1.26"},
		"1.0 (0123456789ab, go1.26)":          {Version: "1.0", Go: "go1.26", Revision: "0123456789abcdef"},
		"1.0 (0123456789ab modified, go1.26)": {Version: "1.0", Go: "go1.26", Revision: "0123456789abcdef", Modified: true},
	} {
		if got := b.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
