package main

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"natd/internal/control"
	"natd/internal/diagnose"
	"natd/internal/lab"
)

// TestDiagnoseLegacy has a chain of the old iptables drop what is forwarded. No dump shows it, so nothing is called whole, and what becomes
// of a client's packets tells.
func TestDiagnoseLegacy(t *testing.T) {
	t.Parallel()
	lab.Require(t, "iptables-legacy")
	b := newBox(t)
	_, err := b.C.StartNginx(t.Context(), netip.MustParseAddrPort("10.3.0.100:80"))
	lab.Check(t, err)
	b.start(webRelay("off"))
	b.B.Output(t, "iptables-legacy", "-P", "FORWARD", "DROP")
	r, code := b.diagnose("web")
	p := &r.Paths[0]
	if told := strings.Join(p.NotSeen, "\n"); code != control.CodeOK || p.Standing != diagnose.StandsOpen || len(codes(r)) > 0 || !strings.Contains(told, "iptables-legacy -t filter -S FORWARD") {
		t.Errorf("while nobody tries: exit %d, %s %q:\n%s", code, p.Standing, p.StatusMessage, indented(r))
	}
	want := func(how string, r *diagnose.Report, code int) {
		t.Helper()
		all := r.Paths[0].Explanations
		if code != control.CodeDegraded || len(all) != 1 || all[0].ExplanationCode != diagnose.ForwardDrop || all[0].Confidence != diagnose.Likely || all[0].Component.ID != "chain ip filter FORWARD" {
			t.Errorf("%s: exit %d:\n%s", how, code, indented(r))
		}
	}
	r, code = b.watch(func() { _ = b.fetch(t.Context()) }, "web")
	want("watched", r, code)
	ended := make(chan error, 1)
	go func() {
		_, err := b.A.Curl(t.Context(), "http://10.2.0.100/", "--max-time", "8")
		ended <- err
	}()
	b.awaitStatus(func(s *control.Status) error { // the first packet has come, and the next one comes within the look
		if s.Relays[0].Connections.Total < 2 {
			return errors.New("nobody has tried")
		}
		return nil
	})
	r, code = b.diagnose("web")
	want("while a client tries", r, code)
	if <-ended == nil {
		t.Error("the client gets through in spite of the chain")
	}
	b.B.Output(t, "sh", "-ec", r.Paths[0].Explanations[0].Remedy[1])
	lab.Eventually(t, patience, func() error { return b.fetch(t.Context()) })
	busy, rest := make(chan error, 1), make(chan struct{})
	go func() { // others get through while one is asked about who does not try
		var err error
		for stop := false; !stop && err == nil; {
			err = b.fetch(t.Context())
			select {
			case <-rest:
				stop = true
			default:
			}
		}
		busy <- err
	}()
	r, code = b.diagnose("web", "--from", "10.1.0.77")
	close(rest)
	lab.Check(t, <-busy)
	if p := &r.Paths[0]; code != control.CodeOK || p.Standing != diagnose.StandsOpen || len(p.Explanations) > 0 {
		t.Errorf("mended: exit %d, %s:\n%s", code, p.Standing, indented(r))
	}
}
