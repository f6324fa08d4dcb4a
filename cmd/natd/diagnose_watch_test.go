package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"natd/internal/diagnose"
	"natd/internal/lab"
)

// watch runs natctl diagnose --watch on host B, and try when it waits.
func (b *box) watch(try func(), args ...string) (*diagnose.Report, int) {
	b.t.Helper()
	all := append([]string{"--socket", b.socketPath(), "diagnose", "--json", "--watch"}, args...)
	cmd := b.B.Command(b.t.Context(), filepath.Join(b.bin, "natctl"), all...)
	p, err := b.B.StartCmd(cmd)
	lab.Check(b.t, err)
	lab.Check(b.t, p.AwaitLog(b.t.Context(), patience, "waiting up to"))
	try()
	<-p.Done()
	var r diagnose.Report
	_, document, _ := strings.Cut(p.Log(), "\n{") // behind what it says while it waits
	if err := json.Unmarshal([]byte("{"+document), &r); err != nil {
		b.t.Fatalf("natctl diagnose --watch: %v\n%s", err, p.Log())
	}
	return &r, lab.ExitCode(p.Err())
}

// TestDiagnoseWatchAll sees attempts at any port of a range, of the second protocol.
func TestDiagnoseWatchAll(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	_, err := b.C.EchoUDP("10.3.0.100:7003")
	lab.Check(t, err)
	b.start(calmRelays)
	r, _ := b.watch(func() { lab.Check(t, reach(t, b.A, "udp", "10.2.0.100:7003", patience)) }, "echo", "--timeout", "10s")
	if p := r.Paths[0]; p.Protocol != "udp" || p.Listen != "10.2.0.100:7003" || p.Target != "10.3.0.100:7003" || p.Source != "10.1.0.100" || len(blamed(p.Explanations)) > 0 {
		t.Errorf("it says\n%s", indented(r))
	}
}
