package main

import (
	"encoding/json"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"natd/internal/control"
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

// TestDiagnoseWatch explains single attempts of a client.
func TestDiagnoseWatch(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	_, err := b.C.StartNginx(t.Context(), netip.MustParseAddrPort("10.3.0.100:80"))
	lab.Check(t, err)
	b.start(webRelay("off"))
	router := func(script string) func() { return func() { lab.Check(t, b.R.Nft(t.Context(), script)) } }
	host := func(script string) func() { return func() { b.nft(script) } }
	nothing := func() {}
	for _, tt := range []struct {
		name         string
		inject, mend func()
		args         []string
		want         []diagnose.Code
		evidence     string
	}{
		{"well", nothing, nothing, nil, nil, ""},
		{
			"answers are lost behind the host", router("table ip f { chain forward { type filter hook forward priority -1; oifname a drop; }; }"), router("delete table ip f"),
			nil,
			[]diagnose.Code{diagnose.ReplyNotArrived},
			"Flags [S.]",
		},
		{
			"nothing arrives", router("table ip f { chain forward { type filter hook forward priority -1; iifname a drop; }; }"), router("delete table ip f"),
			[]string{"--timeout", "1s"},
			[]diagnose.Code{diagnose.NoPacketsFromClient},
			"",
		},
		{
			"a chain of the host", host("table inet f { chain forward { type filter hook forward priority 10; jump deep; }; chain deep { tcp dport 80 drop; }; }"),
			host("delete table inet f"), nil,
			[]diagnose.Code{diagnose.ForwardDrop},
			"chain deep",
		},
		{
			"another source", func() { b.reload(strings.Replace(webRelay("off"), "10.1.0.0/16", "10.9.0.0/16", 1)) }, func() { b.reload(webRelay("off")) },
			nil,
			[]diagnose.Code{diagnose.RelaySourceDenied},
			"from = ",
		},
	} {
		tt.inject()
		r, code := b.watch(func() { _ = b.fetch(t.Context()) }, append([]string{"web"}, tt.args...)...)
		tt.mend()
		wantCode := control.CodeDegraded
		if tt.want == nil {
			wantCode = control.CodeOK
		}
		got := codes(r)
		if code != wantCode || !slices.Equal(got, tt.want) {
			t.Errorf("%s: exit %d, %v, want %v:\n%s", tt.name, code, got, tt.want, indented(r))
			continue
		}
		if len(got) > 0 && !strings.Contains(strings.Join(r.Paths[0].Explanations[0].Evidence, "\n"), tt.evidence) {
			t.Errorf("%s: the evidence is %q, want %q in it", tt.name, r.Paths[0].Explanations[0].Evidence, tt.evidence)
		}
		if len(tt.want) == 0 && r.Paths[0].Source != "10.1.0.100" {
			t.Errorf("%s: the client is %q", tt.name, r.Paths[0].Source)
		}
	}
}
