package daemon

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"natd/internal/control"
	"natd/internal/metrics"
	"natd/internal/page"
)

// site is what is served where [metrics] listens. Everything in it is for reading.
type site struct {
	version string
	status  func(context.Context) (*control.Status, error)
	runtime *metrics.Runtime
	pulse   *pulse
	page    http.Handler // what people see, at / and below
}

// site is the one of this natd.
func (d *Daemon) site() *site {
	s := &shared{ask: d.lastingStatus}
	return &site{version: d.Version, status: s.status, runtime: metrics.NewRuntime(), pulse: &d.pulse, page: page.New(s.status)}
}

// lastingStatus is the status, with counts that are on disk before anybody sees them: they are not to fall when natd is killed. One that is
// on no disk yet, because that is full or slow, is shown all the same: the meter reports that.
func (d *Daemon) lastingStatus(ctx context.Context) (*control.Status, error) {
	s, err := handler{d}.Status(ctx, new(control.StatusArgs))
	if err == nil {
		_ = d.meter.secure(ctx)
	}
	return s, err
}

// handler answers GET and HEAD alone.
func (s *site) handler() http.Handler {
	free := make(chan struct{}, turns)
	busy := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusServiceUnavailable, "too many ask at the same time\n")
	})
	silent := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { s.writeMetrics(w, nil) })
	mux := http.NewServeMux()
	mux.Handle("/metrics", pack(inTurn(free, http.HandlerFunc(s.metrics), silent)))
	mux.HandleFunc("/healthz", s.healthz)
	mux.HandleFunc("/readyz", s.readyz)
	mux.HandleFunc("/readyz/{name}", s.readyzOf)
	mux.Handle("/", pack(inTurn(free, s.page, busy)))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		switch {
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "natd is only for reading here", http.StatusMethodNotAllowed)
		case strangeName(r):
			http.Error(w, "on the loopback interface natd answers to addresses and to localhost, not to other names", http.StatusMisdirectedRequest)
		default:
			mux.ServeHTTP(w, r)
		}
	})
}

// How long an answer may be waited for: what Prometheus says that it waits, less what it takes to write, half of it at most, or else this. Prometheus gives
// up after 10 s (scrape_timeout), and whoever checks health within 2 to 10.
const (
	scrapePatience = 9 * time.Second
	readyPatience  = 5 * time.Second
	scrapeMargin   = 500 * time.Millisecond
)

// metrics answers a scrape. A natd that is late is told as natd_up 0.
func (s *site) metrics(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), patienceOf(r))
	defer cancel()
	status, _ := s.status(ctx) // natd_up says so
	s.writeMetrics(w, status)
}

// writeMetrics writes what the status says; nil = there is none.
func (s *site) writeMetrics(w http.ResponseWriter, status *control.Status) {
	w.Header().Set("Content-Type", metrics.ContentType)
	w.Header().Set("Cache-Control", "no-store")
	if metrics.Write(w, s.version, status) == nil {
		_ = s.runtime.Write(w) // whoever scrapes is gone
	}
}

// patienceOf is how long whoever scrapes waits.
func patienceOf(r *http.Request) time.Duration {
	seconds, err := strconv.ParseFloat(r.Header.Get("X-Prometheus-Scrape-Timeout-Seconds"), 64)
	if all := time.Duration(seconds * float64(time.Second)); err == nil && all > 0 && all < statusPatience {
		return max(all-scrapeMargin, all/2)
	}
	return scrapePatience
}

// healthz tells whether the goroutine that owns the kernel is at work: what the service manager's watchdog wants to know, too.
func (s *site) healthz(w http.ResponseWriter, _ *http.Request) {
	if still := s.pulse.still(time.Now()); still > 0 {
		reply(w, http.StatusServiceUnavailable, fmt.Sprintf("hangs: nothing was done for %v\n", still.Round(time.Second)))
		return
	}
	reply(w, http.StatusOK, "ok\n")
}

// readyz tells whether the rules are in the kernel.
func (s *site) readyz(w http.ResponseWriter, r *http.Request) {
	status, ok := s.current(w, r)
	switch {
	case !ok:
	case metrics.Ready(status):
		reply(w, http.StatusOK, status.State+"\n"+lines(status.Reasons))
	default:
		reply(w, http.StatusServiceUnavailable, status.State+"\n"+lines(status.Reasons))
	}
}

// readyzOf tells whether one relay, gateway or static takes connections: whether a load balancer should send it some.
func (s *site) readyzOf(w http.ResponseWriter, r *http.Request) {
	status, ok := s.current(w, r)
	if !ok {
		return
	}
	state, reason, takes := stateOf(status, r.PathValue("name"))
	switch {
	case state == "":
		reply(w, http.StatusNotFound, "there is no such relay, gateway or static\n")
	case metrics.Ready(status) && takes:
		reply(w, http.StatusOK, state+"\n"+lines([]string{reason}))
	default:
		reply(w, http.StatusServiceUnavailable, state+"\n"+lines([]string{reason}))
	}
}

// stateOf is the state of what has the name, "" when nothing has, and whether it takes connections.
func stateOf(s *control.Status, name string) (state, reason string, takes bool) {
	for i := range s.Relays {
		if r := &s.Relays[i]; r.Name == name {
			return r.State, r.Reason, r.Faults.Host == "" && slices.ContainsFunc(r.Backends, func(b control.Backend) bool { return b.InUse })
		}
	}
	for i := range s.Gateways {
		if g := &s.Gateways[i]; g.Name == name {
			return g.State, g.Reason, works(g.State, g.Faults)
		}
	}
	for i := range s.Statics {
		if st := &s.Statics[i]; st.Name == name {
			return st.State, st.Reason, works(st.State, st.Faults)
		}
	}
	return "", "", false
}

// works tells whether a gateway or static takes connections.
func works(state string, faults control.Faults) bool {
	return faults.Host == "" && (state == control.RelayReady || state == control.RelayDegraded)
}

// current is the status now. Without one the request is answered.
func (s *site) current(w http.ResponseWriter, r *http.Request) (*control.Status, bool) {
	ctx, cancel := context.WithTimeout(r.Context(), readyPatience)
	defer cancel()
	status, err := s.status(ctx)
	if err != nil {
		reply(w, http.StatusServiceUnavailable, err.Error()+"\n")
	}
	return status, err == nil
}

func reply(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_, _ = io.WriteString(w, text) // whoever asked is gone
}

// lines is each text that is not empty on a line of its own.
func lines(texts []string) (all string) {
	for _, text := range texts {
		if text != "" {
			all += text + "\n"
		}
	}
	return all
}

// pulse is the sign of life of the goroutine that owns the kernel.
type pulse struct {
	most time.Duration // between two beats of one that is well
	last atomic.Int64  // in Unix nanoseconds
}

// begin says how long there may be no beat.
func (p *pulse) begin(most time.Duration) {
	p.most = most
	p.beat()
}

func (p *pulse) beat() { p.last.Store(time.Now().UnixNano()) }

// still is how long there has been no beat, 0 while that is no longer than it may be.
func (p *pulse) still(now time.Time) time.Duration {
	if since := now.Sub(time.Unix(0, p.last.Load())); since > p.most {
		return since
	}
	return 0
}
