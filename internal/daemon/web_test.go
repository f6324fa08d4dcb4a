package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"natd/internal/control"
	"natd/internal/metrics"
	"natd/internal/page"
)

// testSite is a site whose natd says what status says.
func testSite(status func(context.Context) (*control.Status, error)) *site {
	s := &site{version: "1.2.3", status: status, runtime: metrics.NewRuntime(), pulse: new(pulse), page: page.New(status)}
	s.pulse.begin(time.Minute)
	return s
}

func telling(s *control.Status) func(context.Context) (*control.Status, error) {
	return func(context.Context) (*control.Status, error) { return s, nil }
}

// get asks the site, with a header for each pair of texts.
func get(s *site, method, path string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	s.handler().ServeHTTP(w, r)
	return w
}

func TestReadiness(t *testing.T) {
	t.Parallel()
	inUse, held := []control.Backend{{}, {InUse: true}}, []control.Backend{{}, {}}
	noAddress := control.Faults{Host: "no such address"}
	status := &control.Status{
		State: control.StateDegraded, Reasons: []string{"relay db: no route"}, Ruleset: control.Ruleset{InSync: true},
		Relays: []control.Relay{
			{Name: "web", State: control.RelayReady, Backends: inUse},
			{Name: "db", State: control.RelayDown, Reason: "no route", Backends: held},
			{Name: "ssh", State: control.RelayDisabled},
			{Name: "lost", State: control.RelayDegraded, Reason: "no such address", Faults: noAddress, Backends: inUse},
			{Name: "held", State: control.RelayDegraded, Reason: "the port is taken", Backends: held},
			{Name: "open", State: control.RelayDown, Reason: "every backend is down", Faults: control.Faults{Target: "every backend is down"}, Backends: inUse},
		},
		Gateways: []control.Gateway{{Name: "gone", State: control.RelayDegraded, Reason: "no such address", Faults: noAddress}, {Name: "out", State: control.RelayDegraded, Reason: "slow"}}, Statics: []control.Static{{Name: "one", State: control.RelayReady}},
	}
	failed := *status
	failed.State, failed.Ruleset.InSync, failed.Reasons = control.StateFailed, false, []string{"permission denied"}
	for _, tt := range []struct {
		path   string
		status *control.Status
		code   int
		body   string
	}{
		{"/healthz", nil, 200, "ok\n"},
		{"/readyz", status, 200, "degraded\nrelay db: no route\n"},
		{"/readyz", &failed, 503, "failed\npermission denied\n"},
		{"/readyz", nil, 503, "busy\n"},
		{"/readyz/web", status, 200, "ready\n"},
		{"/readyz/web", &failed, 503, "ready\n"},
		{"/readyz/db", status, 503, "down\nno route\n"},
		{"/readyz/ssh", status, 503, "disabled\n"},
		{"/readyz/lost", status, 503, "degraded\nno such address\n"},
		{"/readyz/held", status, 503, "degraded\nthe port is taken\n"},
		{"/readyz/open", status, 200, "down\nevery backend is down\n"},
		{"/readyz/gone", status, 503, "degraded\nno such address\n"},
		{"/readyz/out", status, 200, "degraded\nslow\n"},
		{"/readyz/one", status, 200, "ready\n"},
		{"/readyz/no", status, 404, "there is no such relay, gateway or static\n"},
		{"/readyz/web", nil, 503, "busy\n"},
		{"/nothing", status, 404, "there is no such page; the status is at /\n"},
	} {
		s := testSite(func(context.Context) (*control.Status, error) {
			if tt.status == nil {
				return nil, errors.New("busy")
			}
			return tt.status, nil
		})
		w := get(s, http.MethodGet, tt.path)
		if w.Code != tt.code || w.Body.String() != tt.body {
			t.Errorf("%s: %d %q, want %d %q", tt.path, w.Code, w.Body, tt.code, tt.body)
		}
		if h := w.Header(); h.Get("X-Content-Type-Options") != "nosniff" || !strings.HasPrefix(h.Get("Content-Type"), "text/plain") {
			t.Errorf("%s: headers %v", tt.path, h)
		}
	}
}

// TestReadOnly tries to do more than to look.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	s := testSite(telling(&control.Status{}))
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions, http.MethodConnect, "NAT"} {
		if w := get(s, method, "/metrics"); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: %d %v", method, w.Code, w.Header())
		}
	}
	if w := get(s, http.MethodHead, "/"); w.Code != http.StatusOK {
		t.Errorf("HEAD: %d", w.Code)
	}
}

func TestHangs(t *testing.T) {
	t.Parallel()
	s := testSite(telling(&control.Status{}))
	s.pulse.last.Store(time.Now().Add(-2 * time.Minute).UnixNano())
	if w := get(s, http.MethodGet, "/healthz"); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "hangs") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	s.pulse.beat()
	if w := get(s, http.MethodGet, "/healthz"); w.Code != http.StatusOK {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// TestLateScrape scrapes a natd that does not answer. The scrape ends before Prometheus gives up.
func TestLateScrape(t *testing.T) {
	t.Parallel()
	s := testSite(func(ctx context.Context) (*control.Status, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	w := get(s, http.MethodGet, "/metrics", "X-Prometheus-Scrape-Timeout-Seconds", "0.6")
	if body := w.Body.String(); w.Code != http.StatusOK || !strings.Contains(body, "\nnatd_up 0\n") || !strings.Contains(body, "\ngo_goroutines ") {
		t.Errorf("%d:\n%s", w.Code, body)
	}
}

func TestPatienceOf(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]time.Duration{"": scrapePatience, "3": 2500 * time.Millisecond, "0.2": 100 * time.Millisecond, "-1": scrapePatience, "1e9": scrapePatience, "x": scrapePatience, "NaN": scrapePatience} {
		r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
		r.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", header)
		if got := patienceOf(r); got != want {
			t.Errorf("%q: %v, want %v", header, got, want)
		}
	}
}

// TestShared has many ask at the same time, then once more, and once more after the status has become old.
func TestShared(t *testing.T) {
	t.Parallel()
	asked, answerNow := 0, make(chan struct{})
	s := &shared{ask: func(context.Context) (*control.Status, error) {
		asked++
		<-answerNow
		return &control.Status{Version: fmt.Sprint(asked)}, nil
	}}
	began := time.Now()
	first := s.join(began)
	if s.join(began.Add(time.Hour)) != first {
		t.Error("a second question was asked while the first is under way")
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.status(gone); !errors.Is(err, context.Canceled) {
		t.Errorf("whoever does not wait gets %v", err)
	}
	close(answerNow)
	<-first.done
	if q := s.join(began.Add(statusAge - 1)); q.status != first.status {
		t.Errorf("%+v is not the answer to the first", q)
	}
	second := s.join(began.Add(statusAge))
	if <-second.done; second.status.Version != "2" || asked != 2 {
		t.Errorf("%+v after %d questions", second, asked)
	}
}

// TestSharedFails has a question fail: whoever comes next asks anew.
func TestSharedFails(t *testing.T) {
	t.Parallel()
	errs := []error{errors.New("busy"), nil}
	s := &shared{ask: func(context.Context) (*control.Status, error) {
		err := errs[0]
		errs = errs[1:]
		if err != nil {
			return nil, err
		}
		return &control.Status{}, nil
	}}
	if _, err := s.status(t.Context()); err == nil {
		t.Error("no error")
	}
	if _, err := s.status(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestTiming(t *testing.T) {
	t.Parallel()
	var counts timing
	for _, took := range []time.Duration{0, time.Millisecond, time.Millisecond + 1, time.Minute} {
		counts.add(took)
	}
	h := counts.histogram()
	if h.Count != 4 || h.Sum < 60.002 || h.Sum > 60.003 || h.Buckets[0] != (control.Bucket{Most: 0.001, Count: 2}) ||
		h.Buckets[timingBounds-1] != (control.Bucket{Most: 10, Count: 3}) {
		t.Errorf("%+v", h)
	}
}
