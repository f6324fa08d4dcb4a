package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"natd/internal/control"
)

// What a client of the listener may take of natd. Nobody needs more: a Prometheus keeps one connection, a load balancer one for each of
// its nodes, a browser six.
const (
	webConnections  = 64
	webHeaderBytes  = 16 << 10
	webReadTimeout  = 10 * time.Second
	webWriteTimeout = time.Minute // from the end of the request: the time for the status, and for a slow client
	webIdleTimeout  = 2 * time.Minute
	webGrace        = time.Second // at the end
)

// webRetry is the pause before another try to listen: the address may come to the host, or another program may leave it.
const webRetry = time.Second

// web serves a site where the configuration says, and nowhere else. What is wrong with that never keeps natd from its work.
type web struct {
	log     *slog.Logger
	site    http.Handler
	changed func()        // wakes the loop: failure says something else than before
	wake    chan struct{} // a token: where to listen is another place

	mu      sync.Mutex
	want    netip.AddrPort // the zero value = nowhere
	problem string
}

// open says what to serve, and whom to tell.
func (w *web) open(log *slog.Logger, site http.Handler, changed func()) {
	w.log, w.site, w.changed, w.wake = log, site, changed, make(chan struct{}, 1)
}

// follow makes this the place to listen; the zero AddrPort is none.
func (w *web) follow(listen netip.AddrPort) {
	w.mu.Lock()
	same := w.want == listen
	w.want = listen
	w.mu.Unlock()
	if same {
		return
	}
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// status is where it listens, and why it does not; nil when it should not.
func (w *web) status() *control.Metrics {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.want.IsValid() {
		return nil
	}
	return &control.Metrics{Listen: w.want.String(), Error: w.problem}
}

// place is where to listen; the zero AddrPort = nowhere.
func (w *web) place() netip.AddrPort {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.want
}

// networkOf is what 0.0.0.0 and [::] say to whoever runs Linux programs: all of IPv4, and both.
func networkOf(listen netip.AddrPort) string {
	if listen.Addr().Is4() {
		return "tcp4"
	}
	return "tcp"
}

// note takes note of whether it listens.
func (w *web) note(listen netip.AddrPort, err error) {
	problem := ""
	if err != nil {
		problem = err.Error()
	}
	w.mu.Lock()
	same := w.problem == problem
	w.problem = problem
	w.mu.Unlock()
	if same {
		return
	}
	if err != nil {
		w.log.Warn("metrics are not served, trying again", "listen", listen.String(), "error", err)
	}
	w.changed()
}

// run serves until ctx ends.
func (w *web) run(ctx context.Context) error {
	for ctx.Err() == nil {
		listen := w.place()
		if !listen.IsValid() {
			w.note(listen, nil)
			w.pause(ctx, 0)
			continue
		}
		if err := w.serve(ctx, listen); err != nil {
			w.note(listen, err)
			w.pause(ctx, webRetry)
		}
	}
	return nil
}

// pause waits until there is another place to listen, or for so long; 0 = without end.
func (w *web) pause(ctx context.Context, most time.Duration) {
	var over <-chan time.Time
	if most > 0 {
		over = time.After(most)
	}
	select {
	case <-ctx.Done():
	case <-w.wake:
	case <-over:
	}
}

// serve serves at the address until there is another one, which is no error.
func (w *web) serve(ctx context.Context, listen netip.AddrPort) error {
	listener, err := new(net.ListenConfig).Listen(ctx, networkOf(listen), listen.String())
	if err != nil {
		return err
	}
	visitors := newVisitors(webConnections)
	server := &http.Server{
		Handler: visitors.handler(w.site), ConnState: visitors.state, ConnContext: withVisitor,
		MaxHeaderBytes: webHeaderBytes, ReadTimeout: webReadTimeout, WriteTimeout: webWriteTimeout, IdleTimeout: webIdleTimeout,
		ErrorLog: slog.NewLogLogger(w.log.Handler(), slog.LevelWarn),
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(visitors.door(listener)) }()
	w.log.Info("metrics are served", "listen", listen.String())
	w.note(listen, nil)
	for listen == w.place() {
		select {
		case err := <-ended:
			return fmt.Errorf("serve metrics at %v: %w", listen, err)
		case <-w.wake:
			continue
		case <-ctx.Done():
		}
		break
	}
	err = finish(ctx, server)
	if ended := <-ended; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	w.log.Info("metrics are served no more", "listen", listen.String())
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("end to serve metrics at %v: %w", listen, err)
	}
	return nil
}

// finish ends a server. Who is being answered may have the rest, for a moment: whoever waits for natd to stop, or to listen elsewhere, waits too.
func finish(ctx context.Context, server *http.Server) error {
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), webGrace)
	defer cancel()
	if err := server.Shutdown(grace); err == nil || !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return server.Close()
}
