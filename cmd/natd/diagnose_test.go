package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"natd/internal/control"
	"natd/internal/diagnose"
	"natd/internal/lab"
)

// diagnose runs natctl diagnose --json on host B.
func (b *box) diagnose(args ...string) (*diagnose.Report, int) {
	b.t.Helper()
	out, errs, code := b.natctl(append([]string{"diagnose", "--json", "--config", b.configPath()}, args...)...)
	var r diagnose.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		b.t.Fatalf("natctl diagnose exits %d: %v\n%s%s", code, err, out, errs)
	}
	return &r, code
}

// wantWhole wants no explanation.
func (b *box) wantWhole(args ...string) {
	b.t.Helper()
	r, code := b.diagnose(args...)
	if code != control.CodeOK || !r.NetworkPathFound || len(codes(r)) > 0 {
		b.t.Errorf("diagnose %v exits %d and says %v:\n%s", args, code, codes(r), indented(r))
	}
}

// wantCodes wants these explanations, the first one first.
func (b *box) wantCodes(want []diagnose.Code, args ...string) {
	b.t.Helper()
	r, code := b.diagnose(args...)
	if got := fmt.Sprint(codes(r)); code != control.CodeDegraded || got != fmt.Sprint(want) {
		b.t.Errorf("diagnose %v exits %d and says %s, want %v:\n%s", args, code, got, want, indented(r))
	}
}

// codes is the explanations of the first path, or of the host if there is none.
func codes(r *diagnose.Report) (all []diagnose.Code) {
	list := r.Explanations
	if len(r.Paths) > 0 {
		list = r.Paths[0].Explanations
	}
	for _, e := range list {
		all = append(all, e.ExplanationCode)
	}
	return all
}

func indented(r *diagnose.Report) string {
	text, _ := json.MarshalIndent(r, "", " ")
	return string(text)
}

// TestDiagnose looks at a relay that works and at a handful of faults, with the text for people.
func TestDiagnose(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	nginx, err := b.C.StartNginx(t.Context(), netip.MustParseAddrPort("10.3.0.100:80"))
	lab.Check(t, err)
	b.start(webRelay("auto"))
	lab.Check(t, b.fetch(t.Context()))
	before := b.untouched()
	b.wantWhole()
	b.wantWhole("web")
	b.wantWhole("web", "--from", "10.1.0.100")
	b.wantWhole("10.2.0.100:80")
	b.wantCodes([]diagnose.Code{diagnose.RelaySourceDenied}, "web", "--from", "10.9.0.1")
	b.wantCodes([]diagnose.Code{diagnose.RelayNotConfigured}, "10.2.0.100:81")
	if _, code := b.diagnose("nope"); code != control.CodeFailed {
		t.Errorf("a relay that is not there: exit %d", code)
	}
	lab.WantSame(t, before, b.untouched())

	out, errs, code := b.natctl("diagnose", "web")
	t.Logf("exit %d\n%s%s", code, out, errs)
	lab.Check(t, nginx.Stop())
	b.wantCodes([]diagnose.Code{diagnose.TargetRefused}, "web")
	lab.Check(t, b.C.Nft(t.Context(), "table inet f { chain input { type filter hook input priority 0; policy drop; }; }"))
	b.wantCodes([]diagnose.Code{diagnose.TargetNoReply, diagnose.NoReturnRoute}, "web")
	out, errs, code = b.natctl("diagnose", "web")
	t.Logf("exit %d\n%s%s", code, out, errs)
}

// untouched is what a diagnosis must leave alone: rules, settings, addresses, routes, and connections of others.
func (b *box) untouched() string {
	b.t.Helper()
	text := b.B.State(b.t)
	for _, what := range []string{"address", "route", "rule"} {
		text += b.B.Output(b.t, "ip", "-d", what, "show")
	}
	entries, err := b.B.Conntrack(b.t.Context(), "-o", "id")
	lab.Check(b.t, err)
	for _, e := range entries {
		if strings.Contains(e, "src=10.1.0.100") { // natctl's own attempts are of the host itself
			text += "tracked " + e[strings.Index(e, "src="):] + "\n"
		}
	}
	return text
}
