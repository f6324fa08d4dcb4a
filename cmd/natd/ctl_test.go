package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"natd/internal/control"
	"natd/internal/lab"
)

// statusShape is what every status has at least: a value of the right kind in each place. The elements of an array are all of
// the kind of the one here, and there is one.
const statusShape = `{"schema_version":1,"version":"","state":"",
 "config":{"path":"","sha256":"","loaded_at":"","error":""},
 "host":{"ip_forward":true,"conntrack":{"entries":0,"max":0}},
 "ruleset":{"in_sync":true,"last_sync":"","drift_repairs":0,"last_drift":{"at":"","by":"","what":""},"last_error":""},
 "relays":[{"name":"","state":"","reason":"","listen":[""],"protocol":[""],
   "egress":"","snat":[""],
   "backends":[{"name":"","address":"","state":"","since":""}],
   "connections":{"total":0,"active":0,"unreplied":0},
   "bytes":{"to_target":0,"to_client":0},"packets":{"to_target":0,"to_client":0}}],
 "gateways":[],"statics":[],"tunnels":[],"routes":[]}`

// lacks lists where a document differs in kind from its shape.
func lacks(path string, shape, got any) []string {
	if fmt.Sprintf("%T", shape) != fmt.Sprintf("%T", got) {
		return []string{fmt.Sprintf("%s is %v (%T), want a %T", path, got, got, shape)}
	}
	var wrong []string
	switch shape := shape.(type) {
	case map[string]any:
		fields, _ := got.(map[string]any)
		for name, field := range shape {
			wrong = append(wrong, lacks(path+"."+name, field, fields[name])...)
		}
	case []any:
		elements, _ := got.([]any)
		if len(shape) == 0 {
			return nil
		}
		if len(elements) == 0 {
			return []string{path + " is empty"}
		}
		for i, element := range elements {
			wrong = append(wrong, lacks(fmt.Sprintf("%s[%d]", path, i), shape[0], element)...)
		}
	}
	return wrong
}

// document decodes JSON as strangers to the program do.
func document(t testing.TB, text string) any {
	t.Helper()
	var d any
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		t.Fatalf("%q is no JSON: %v", text, err)
	}
	return d
}

// TestStatusDocument wants every field of the status, with values that are true.
func TestStatusDocument(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.start("[daemon]\nprotect = \"guard\"\n" + echoRelay(`from = ["10.1.0.0/16"]`))
	_, client, source := b.connected()
	b.nft("delete chain inet natd postrouting")
	b.awaitStatus(func(s *control.Status) error {
		if s.Ruleset.DriftRepairs == 0 {
			return fmt.Errorf("no drift repaired yet")
		}
		return nil
	})
	out, _, code := b.natctl("status", "--json")
	if code != control.CodeOK {
		t.Errorf("natctl status exits %d", code)
	}
	for _, wrong := range lacks("status", document(t, statusShape), document(t, out)) {
		t.Error(wrong)
	}
	r, err := relayOf(b.status(), "echo")
	lab.Check(t, err)
	if r.Connections.Total != 1 || r.Connections.Active != 1 || r.Bytes.ToTarget == 0 || r.Bytes.ToClient == 0 ||
		r.Packets.ToTarget == 0 || r.Packets.ToClient == 0 || r.Egress != lab.Device || !slices.Equal(r.SNAT, []string{"10.2.0.100"}) {
		t.Errorf("the relay has one connection and says %+v", r)
	}
	var list control.ConnectionList
	out, _, _ = b.natctl("connections", "--relay", "echo", "--json")
	lab.Check(t, json.Unmarshal([]byte(out), &list))
	if len(list.Connections) != 1 || list.Connections[0].Client != client.String() || list.Connections[0].SNAT != source.String() ||
		list.Connections[0].Listen != "10.2.0.100:7" || list.Connections[0].Target != "10.3.0.100:7" {
		t.Errorf("natctl connections shows %+v, want the one from %s by %s", list, client, source)
	}
}

// TestVerbs runs every verb in every state of natd, and looks at the exit code.
func TestVerbs(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.start(echoRelay())
	bad := filepath.Join(b.dir, "bad.toml")
	lab.Check(t, os.WriteFile(bad, []byte("[[relay]]\nname = \"x\"\n"), 0o600))
	steps := []struct {
		args []string
		code int
		want string // in what it writes
	}{
		{[]string{"status"}, control.CodeOK, "natd ready"},
		{[]string{"connections"}, control.CodeOK, "no connections"},
		{[]string{"connections", "--relay", "none"}, control.CodeFailed, `there is no relay, gateway or static "none"`},
		{[]string{"check", b.configPath()}, control.CodeOK, "OK: "},
		{[]string{"plan"}, control.CodeOK, "no changes"},
		{[]string{"plan", "--exit-code"}, control.CodeOK, "no changes"},
		{[]string{"rules"}, control.CodeOK, "table inet natd {"},
		{[]string{"version"}, control.CodeOK, "natctl"},
		{[]string{"completion", "bash"}, control.CodeOK, "natctl"},
		{[]string{}, control.CodeUsage, "Usage"},
		{[]string{"statsu"}, control.CodeUsage, "did you mean status?"},
		{[]string{"status", "--no-such-flag"}, control.CodeUsage, "no-such-flag"},
		{[]string{"status", "web"}, control.CodeUsage, "web"},
		{[]string{"check", bad}, control.CodeConfig, bad + ":1: "},
		{[]string{"plan", bad}, control.CodeConfig, bad + ":1: "},
		{[]string{"rules", bad}, control.CodeConfig, bad + ":1: "},
		{[]string{"check", filepath.Join(b.dir, "none.toml")}, control.CodeConfig, "no such file"},
		{[]string{"reload"}, control.CodeOK, "nothing to change"},
		{[]string{"flush"}, control.CodeOK, "delete table inet natd"},
		{[]string{"status"}, control.CodeNotInSync, "natctl reload"},
		{[]string{"status", "--json"}, control.CodeNotInSync, `"in_sync": false`},
		{[]string{"plan", "--exit-code"}, control.CodeNotInSync, "make table inet natd"},
		{[]string{"flush"}, control.CodeOK, ""},
		{[]string{"reload"}, control.CodeOK, "make table inet natd"},
		{[]string{"status"}, control.CodeOK, "natd ready"},
	}
	for _, step := range steps {
		b.step(step.args, step.code, step.want)
	}
	lab.Check(t, b.natd.Stop())
	for _, verb := range []string{"status", "reload", "connections"} {
		b.step([]string{verb}, control.CodeUnreachable, b.socketPath())
	}
	b.step([]string{"rules", b.configPath()}, control.CodeOK, "table inet natd {")
	b.step([]string{"plan", b.configPath()}, control.CodeOK, "")
	b.step([]string{"flush", "--state", filepath.Join(b.dir, "state")}, control.CodeOK, "delete table inet natd")
	if rules := b.B.Output(t, "nft", "list", "ruleset"); rules != "" {
		t.Errorf("flush without natd left:\n%s", rules)
	}
	if value, err := b.B.Sysctl("net.ipv4.ip_forward"); err != nil || value != "0" {
		t.Errorf("flush without natd left net.ipv4.ip_forward at %s (%v)", value, err)
	}
}

// step runs natctl, which must exit with the code and write the text.
func (b *box) step(args []string, want int, text string) {
	b.t.Helper()
	out, errs, code := b.natctl(args...)
	if code != want || !strings.Contains(out+errs, text) {
		b.t.Errorf("natctl %q exits %d, want %d and %q:\n%s%s", args, code, want, text, out, errs)
	}
}

// TestPlan compares a changed file and a changed kernel with each other, and changes neither.
func TestPlan(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.start(echoRelay())
	table := func() string { return b.B.Output(t, "nft", "list", "ruleset") }
	before := table()
	b.configure(echoRelay() + relayText("more", "10.2.0.100:99", "tcp"))
	b.step([]string{"plan"}, control.CodeOK, "10.2.0.100 . tcp . 99")
	b.step([]string{"plan", "--exit-code"}, control.CodeNotInSync, "more")
	b.configure("[daemon]\n")
	b.step([]string{"plan"}, control.CodeOK, "end the connections through 10.2.0.100:7/tcp (relay echo)")
	if after := table(); after != before {
		t.Errorf("plan changed the kernel:\n%s", after)
	}
	b.configure(echoRelay())
	b.step([]string{"plan", "--exit-code"}, control.CodeOK, "no changes")

	lab.Check(t, b.natd.Stop()) // a running one would repair it first
	b.nft("delete element inet natd relays4 { 10.2.0.100 . tcp . 7 }")
	before = table()
	b.step([]string{"plan", "--exit-code", b.configPath()}, control.CodeNotInSync, "relays4")
	b.nft("delete table inet natd")
	b.step([]string{"plan", "--exit-code", b.configPath()}, control.CodeNotInSync, "make table inet natd")
	if after := table(); after != "" || before == "" {
		t.Errorf("plan changed the kernel:\n%s", after)
	}
}

// TestPlanWaitsForNatd asks a natd that is busy: the file to compare is the one that runs, however long it takes to say so.
func TestPlanWaitsForNatd(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.start(echoRelay())
	lab.Check(t, b.natd.Signal(syscall.SIGSTOP))
	var wg sync.WaitGroup
	wg.Go(func() { b.step([]string{"plan", "--exit-code"}, control.CodeOK, "no changes") })
	time.Sleep(2500 * time.Millisecond) // longer than natctl waits for what is only convenient to know
	lab.Check(t, b.natd.Signal(syscall.SIGCONT))
	wg.Wait()
}

// TestRulesAreNft gives the text of the rules to nft: it must take it, and list it as it lists the table that natd made.
func TestRulesAreNft(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.start("[daemon]\nprotect = \"off\"\n" + echoRelay(`from = ["10.1.0.0/16", "10.1.2.3"]`, "log = true") +
		"[[relay]]\nname = \"range\"\nlisten = \"10.2.0.100:9000-9009\"\nprotocol = [\"tcp\", \"udp\"]\nto = [\"10.3.0.100\"]\n")
	text, _, code := b.natctl("rules")
	if code != control.CodeOK {
		t.Fatalf("natctl rules exits %d", code)
	}
	_, err := b.B.RunInput(t.Context(), text, "nft", "-c", "-f", "-")
	lab.Check(t, err)
	lab.Check(t, b.C.Nft(t.Context(), text))
	list := []string{"-s", "list", "table", "inet", "natd"} // -s: without the counts
	if natd, nft := b.B.Output(t, "nft", list...), b.C.Output(t, "nft", list...); natd != nft {
		t.Errorf("natd made\n%s\nand nft made of natctl rules\n%s", natd, nft)
	}
}

// TestExample checks the file that is installed as the first one.
func TestExample(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.step([]string{"check", filepath.Join("..", "..", "config.example.toml")}, control.CodeOK, "OK: ")
}

// TestHostileClients keeps strangers of all kinds on the socket while natctl asks for the status.
func TestHostileClients(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.start(echoRelay())
	open := func() (c net.Conn) {
		lab.Eventually(t, patience, func() (err error) { // the kernel refuses more than wait to be accepted: connect(2), EAGAIN
			c, err = new(net.Dialer).DialContext(t.Context(), "unix", b.socketPath())
			return err
		})
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	answers := func(while string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		var s control.Status
		if err := control.Call(ctx, b.socketPath(), control.OpStatus, nil, &s); err != nil || s.State != control.StateReady {
			t.Errorf("%s: status is %q: %v", while, s.State, err)
		}
	}
	junk := bytes.Repeat([]byte("\x00\xff{\"[\r"), 4096)
	for name, bytes := range map[string][]byte{
		"junk": junk, "junk with a line break": append(junk, '\n'), "a line of 10 MB": bytes.Repeat([]byte("a"), 10<<20),
		"half a line": []byte(`{"version":1,"op":"sta`), "nothing and a line break": []byte("\n"),
		"deep JSON": bytes.Repeat([]byte("["), 60000),
	} {
		c := open()
		_, _ = c.Write(bytes) // natd may hang up before the end
		answers(name)
	}
	idle := make([]net.Conn, 200)
	for i := range idle {
		idle[i] = open()
	}
	answers("200 idle connections")
	for _, c := range idle {
		_, _ = c.Write([]byte(`{"version":1,"op":"status"}` + "\n"))
		_ = c.Close() // before the answer
	}
	b.awaitReady()
}

// TestHostileConfigs reloads what is no configuration file.
func TestHostileConfigs(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.start(echoRelay())
	running := b.status().Config.SHA256
	c, _, _ := b.connected()
	path := b.configPath()
	tests := []struct {
		name string
		make func() error
		want string
	}{
		{"directory", func() error { return os.Mkdir(path, 0o700) }, "it is a directory"},
		{"FIFO", func() error { return unix.Mkfifo(path, 0o600) }, "it is a FIFO"},
		{"device", func() error { return os.Symlink("/dev/zero", path) }, "it is a device"},
		{"socket", func() error { return os.Symlink(b.socketPath(), path) }, "it is a socket"},
		{"dangling link", func() error { return os.Symlink("/no/such/file", path) }, "/no/such/file"},
		{"link to itself", func() error { return os.Symlink(path, path) }, "too many levels"},
		{"absent", func() error { return nil }, "no such file"},
		{"unreadable", func() error { return os.Symlink("/proc/self/mem", path) }, "cannot be read"},
		{"10 MiB of garbage", func() error { return os.WriteFile(path, bytes.Repeat([]byte("\xffgarbage\x00"), 10<<20/9), 0o600) }, "UTF-8"},
		{"1 GiB of nothing", func() error {
			return os.WriteFile(path, nil, 0o600)
		}, "limit"},
		{"half a file", func() error { return os.WriteFile(path, []byte(echoRelay()[:40]), 0o600) }, path + ":3"},
	}
	for _, tt := range tests {
		lab.Check(t, os.RemoveAll(path))
		lab.Check(t, tt.make())
		if tt.want == "limit" {
			lab.Check(t, os.Truncate(path, 1<<30))
		}
		_, errs, code := b.natctl("reload")
		if code != control.CodeConfig || !strings.Contains(errs, path) || !strings.Contains(errs, tt.want) {
			t.Errorf("%s: natctl reload exits %d, want %d and %q:\n%s", tt.name, code, control.CodeConfig, tt.want, errs)
		}
		if s := b.status(); s.Config.SHA256 != running || s.Config.Error == "" || s.State != control.StateReady {
			t.Errorf("%s: natd runs on as %s with %+v", tt.name, s.State, s.Config)
		}
		lab.Check(t, exchange(c, patience))
	}
	lab.Check(t, os.RemoveAll(path))
	b.reload(echoRelay())
	if s := b.status(); s.Config.Error != "" {
		t.Errorf("after a good reload the status still says %q", s.Config.Error)
	}
}

// TestReplacedWhileRead reloads a file that an editor replaces all the time: natd takes one or the other, never a mix.
func TestReplacedWhileRead(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	texts := []string{echoRelay(), echoRelay() + relayText("more", "10.2.0.100:99", "tcp") + strings.Repeat("# a long comment\n", 1000)}
	b.start(texts[0])
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			b.configure(texts[i%2])
			time.Sleep(time.Millisecond)
		}
	})
	for range 20 {
		if _, errs, code := b.natctl("reload"); code != control.CodeOK {
			t.Errorf("natctl reload exits %d: %s", code, errs)
		}
		if s := b.status(); s.State != control.StateReady || len(s.Relays) < 1 || len(s.Relays) > 2 {
			t.Errorf("natd is %s with %d relays: %v", s.State, len(s.Relays), s.Reasons)
		}
	}
	cancel()
	wg.Wait()
}
