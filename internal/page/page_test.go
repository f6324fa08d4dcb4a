package page_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"natd/internal/control"
	"natd/internal/lab"
	"natd/internal/page"
)

// source is a natd that always answers with what make makes.
func source(make func(time.Time) *control.Status) func(context.Context) (*control.Status, error) {
	return func(context.Context) (*control.Status, error) { return make(time.Now()), nil }
}

// get asks a handler.
func get(t *testing.T, h http.Handler, method, target string) *http.Response {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, target, nil))
	return w.Result()
}

// text is the body of an answer.
func text(t *testing.T, h http.Handler, target string) string {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, target, nil))
	return w.Body.String()
}

func TestMethodsAndPaths(t *testing.T) {
	t.Parallel()
	h := page.New(source(healthy))
	for _, c := range []struct {
		method, target string
		want           int
		kind           string
	}{
		{"GET", "/", 200, "text/html; charset=utf-8"},
		{"HEAD", "/", 200, "text/html; charset=utf-8"},
		{"GET", "/?part=main", 200, "text/html; charset=utf-8"},
		{"GET", "/status.json", 200, "application/json"},
		{"GET", "/nothing", 404, "text/plain; charset=utf-8"},
		{"GET", "/assets/page.css", 404, "text/plain; charset=utf-8"},
		{"POST", "/", 405, "text/plain; charset=utf-8"},
		{"DELETE", "/status.json", 405, "text/plain; charset=utf-8"},
		{"OPTIONS", "/", 405, "text/plain; charset=utf-8"},
	} {
		r := get(t, h, c.method, c.target)
		if r.StatusCode != c.want || r.Header.Get("Content-Type") != c.kind {
			t.Errorf("%s %s: %d %s, want %d %s", c.method, c.target, r.StatusCode, r.Header.Get("Content-Type"), c.want, c.kind)
		}
		if allow := r.Header.Get("Allow"); (c.want == 405) != (allow == "GET, HEAD") {
			t.Errorf("%s %s: Allow: %q", c.method, c.target, allow)
		}
		for key, want := range map[string]string{
			"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY",
			"Cross-Origin-Resource-Policy": "same-origin",
		} {
			if got := r.Header.Get(key); got != want {
				t.Errorf("%s %s: %s: %q, want %q", c.method, c.target, key, got, want)
			}
		}
		policy := r.Header.Get("Content-Security-Policy")
		if !strings.HasPrefix(policy, "default-src 'none'; ") || !strings.Contains(policy, "frame-ancestors 'none'") || strings.Contains(policy, "unsafe") {
			t.Errorf("%s %s: the policy is %s", c.method, c.target, policy)
		}
	}
}

// TestNothingOutside wants the page to name no other place, and no style or handler that the policy would have to allow.
func TestNothingOutside(t *testing.T) {
	t.Parallel()
	body := text(t, page.New(source(onEC2)), "/")
	for _, no := range []string{"https:", "src=", " style=", " onclick", " onload", "@import", "url("} {
		if strings.Contains(body, no) {
			t.Errorf("the page has %q", no)
		}
	}
	if got := strings.Count(body, "http:"); got != 1 { // the name space of SVG in the icon, which nobody fetches
		t.Errorf("the page names %d places, want only that of SVG", got)
	}
}

// TestGolden holds the part that changes, for what the docs show and some more.
func TestGolden(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		make   func(time.Time) *control.Status
		target string
	}{
		"healthy": {healthy, "/?part=main"}, "backend-down": {backendDown, "/?part=main"},
		"closed": {onEC2, "/?part=main&open="}, "behind": {healthy, "/?part=main&open=private-subnets,overlap-c"},
		"unwell": {notInSync, "/?part=main&show=unwell&q=10.2.0.100:5432"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { // where it is always the same time
				h := page.New(source(c.make))
				text(t, h, c.target)
				time.Sleep(2 * time.Second) // for the rates
				got := text(t, h, c.target)
				path := filepath.Join("testdata", name+".html")
				if updating() {
					lab.Check(t, os.WriteFile(path, []byte(got), 0o644))
				}
				want, err := os.ReadFile(path)
				lab.Check(t, err)
				if diff := cmp.Diff(string(want), got); diff != "" {
					t.Errorf("not as in %s (-update writes it anew):\n%s", path, diff)
				}
			})
		})
	}
}

// TestEscaped puts HTML wherever a text of the status may come from, and wants none of it in the page.
func TestEscaped(t *testing.T) {
	t.Parallel()
	const evil = `</pre></script><script>alert(1)</script><img src=x onerror=alert(2)>"'`
	h := page.New(source(func(now time.Time) *control.Status {
		s := degrade(onEC2(now), control.RelayDown, evil)
		s.Reasons, s.State, s.Version, s.Config.Path, s.Config.Error = []string{evil}, evil, evil, evil, evil
		s.FlowLog.Path, s.FlowLog.Format, s.FlowLog.Error, s.Relays[0].Faults = evil, evil, evil, control.Faults{Host: evil, Target: evil}
		s.Ruleset.LastError, s.Ruleset.LastDrift.By, s.Ruleset.LastDrift.What = evil, evil, evil
		s.Host.Instance.ID, s.Host.Instance.Error, s.Host.Instance.Interfaces[0].VPC = evil, evil, evil
		r := &s.Relays[0]
		r.Name, r.Egress, r.Listen, r.SNAT, r.From = evil, evil, []string{evil}, []string{evil}, []string{evil}
		r.Backends[0].Name, r.Backends[0].Reason, r.Backends[0].Address, r.Backends[0].State = evil, evil, evil, evil
		s.Gateways[0].Reason, s.Gateways[0].State, s.Gateways[0].To = evil, control.RelayDegraded, []string{evil}
		s.Statics[0].Internal = evil
		return s
	}))
	for _, target := range []string{"/?open=web,overlap-c,private-subnets", "/?q=%3Cscript%3Ealert(1)%3C/script%3E&open=%22%3E%3Cscript%3Ealert(1)%3C/script%3E", "/?part=main"} {
		body := text(t, h, target)
		if strings.Contains(body, "<script>alert") || strings.Contains(body, "<img") {
			t.Errorf("%s: a text of the status became part of the page", target)
		}
	}
	if body := text(t, h, "/"); !strings.Contains(body, "&lt;script&gt;alert(1)") {
		t.Error("the text is not in the page at all")
	}
}

func TestStatusJSON(t *testing.T) {
	t.Parallel()
	now := time.Now().UTC().Round(0)
	var got control.Status
	lab.Check(t, json.Unmarshal([]byte(text(t, page.New(source(func(time.Time) *control.Status { return backendDown(now) })), "/status.json")), &got))
	if diff := cmp.Diff(backendDown(now), &got); diff != "" {
		t.Error(diff)
	}
}

// TestBounds wants a page that stays small, whatever natd relays, and that the filter looks at all of it.
func TestBounds(t *testing.T) {
	t.Parallel()
	all := many(time.Now(), 100_000)
	all.Relays[99_990].Backends = make([]control.Backend, 5000)
	for i := range all.Relays[99_990].Backends {
		all.Relays[99_990].Backends[i] = control.Backend{Address: "10.9.9.9:1", State: control.BackendUp}
	}
	h := page.New(func(context.Context) (*control.Status, error) { return all, nil })
	body := text(t, h, "/")
	if !strings.Contains(body, "and 99800 more: filter, or <code>natctl status</code>") || len(body) > 300<<10 {
		t.Errorf("the page of 100,000 relays has %d bytes", len(body))
	}
	if !strings.Contains(body, `id="row-service-09967"`) || strings.Contains(body, `id="row-service-00000"`) {
		t.Error("what is not well does not come first")
	}
	if body := text(t, h, "/?q=SERVICE-99999"); strings.Count(body, "<tr role=\"row\" class=\"ok\"") != 1 {
		t.Error("the filter does not find the last one alone")
	}
	if body := text(t, h, "/?q=service-99990&open=service-99990"); !strings.Contains(body, "and 4900 more backends") || strings.Count(body, "10.9.9.9:1") > 120 {
		t.Error("all backends are in the page")
	}
	body = text(t, h, "/?open="+strings.Repeat("service-00001,", 5000)+"&q="+strings.Repeat("x", 5000))
	if !strings.Contains(body, "None of 100000 is like that") || len(body) > 1<<16 {
		t.Errorf("an absurd address makes %d bytes", len(body))
	}
}

// TestOpen wants what is not well to be open by itself, and then what the reader says.
func TestOpen(t *testing.T) {
	t.Parallel()
	for target, want := range map[string]string{
		"/": "service-00017 service-00067", "/?open=": "", "/?open=service-00001": "service-00001",
		"/?open=service-00001,nobody": "service-00001", "/?show=unwell&open=service-00001": "",
	} {
		var open []string
		body := text(t, page.New(source(func(now time.Time) *control.Status { return many(now, 200) })), target)
		for _, row := range strings.Split(body, `aria-expanded="true">`)[1:] {
			name, _, _ := strings.Cut(row, "<")
			open = append(open, name)
		}
		if got := strings.Join(open, " "); got != want {
			t.Errorf("%s: %q is open, want %q", target, got, want)
		}
	}
}

// BenchmarkPage shows what a page costs, and how large it is.
func BenchmarkPage(b *testing.B) {
	for _, n := range []int{2, 1000, 100_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			s := many(time.Now(), n)
			h := page.New(func(context.Context) (*control.Status, error) { return s, nil })
			for b.Loop() {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/", nil))
				b.ReportMetric(float64(w.Body.Len()), "bytes")
			}
		})
	}
}

// FuzzStatus throws documents at the page: whatever natd says, it is shown, and as text.
func FuzzStatus(f *testing.F) {
	for _, make := range []func(time.Time) *control.Status{healthy, backendDown, everyBackendDown, withheld, noRoute, notInSync, onEC2} {
		seed, err := json.Marshal(make(time.Unix(1, 0)))
		lab.Check(f, err)
		f.Add(seed, "/?q=web&open=web")
	}
	f.Add([]byte(`{"relays":[{"name":"<script>","state":"ready","backends":[{}]}],"ruleset":{"last_drift":{}}}`), "/?open=%3Cscript%3E")
	f.Fuzz(func(t *testing.T, document []byte, query string) {
		var s control.Status
		if json.Unmarshal(document, &s) != nil {
			t.Skip()
		}
		h := page.New(func(context.Context) (*control.Status, error) { return &s, nil })
		request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		_, request.URL.RawQuery, _ = strings.Cut(query, "?")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, request)
		if w.Code != http.StatusOK || strings.Count(w.Body.String(), "<script") != 1 {
			t.Errorf("%d:\n%s", w.Code, w.Body)
		}
	})
}
