package daemon

import (
	"compress/gzip"
	"container/list"
	"context"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"
)

// visitors is the connections of the web server. When there are too many, the one goes that has asked for nothing for the longest time:
// whoever opens connections and keeps silent, or sends a request byte by byte, keeps nobody else out.
type visitors struct {
	most   int
	places chan struct{} // a token for each connection that the server has not let go of yet

	mu      sync.Mutex
	waiting *list.List                 // of net.Conn, without a request under way; who waits longest is first
	all     map[net.Conn]*list.Element // nil while a request is under way
}

func newVisitors(most int) *visitors {
	return &visitors{most: most, places: make(chan struct{}, 2*most), waiting: list.New(), all: make(map[net.Conn]*list.Element)}
}

// door lets visitors in, and no more than there is a place for: one that was closed takes memory until the server has noticed.
type door struct {
	net.Listener
	places chan struct{}
	closed chan struct{}
	once   sync.Once
}

func (v *visitors) door(l net.Listener) *door {
	return &door{Listener: l, places: v.places, closed: make(chan struct{})}
}

// Accept is net.Listener's.
func (d *door) Accept() (net.Conn, error) {
	select {
	case d.places <- struct{}{}:
	case <-d.closed:
		return nil, net.ErrClosed
	}
	conn, err := d.Listener.Accept()
	if err != nil {
		<-d.places
	}
	return conn, err
}

// Close is net.Listener's.
func (d *door) Close() error {
	d.once.Do(func() { close(d.closed) })
	return d.Listener.Close()
}

// state is called by http.Server. Its StateActive says nothing: that begins with the first byte of a request.
func (v *visitors) state(conn net.Conn, state http.ConnState) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch state {
	case http.StateNew, http.StateIdle:
		v.forget(conn)
		v.all[conn] = v.waiting.PushBack(conn)
		if len(v.all) > v.most {
			oldest, _ := v.waiting.Front().Value.(net.Conn)
			v.forget(oldest)
			_ = oldest.Close() // whatever it says, it is closed
		}
	case http.StateClosed, http.StateHijacked:
		v.forget(conn)
		<-v.places
	case http.StateActive:
	}
}

// forget forgets a connection; mu is held.
func (v *visitors) forget(conn net.Conn) {
	if waiting := v.all[conn]; waiting != nil {
		v.waiting.Remove(waiting)
	}
	delete(v.all, conn)
}

// served is called when a request of the connection was read.
func (v *visitors) served(conn net.Conn) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if waiting := v.all[conn]; waiting != nil {
		v.waiting.Remove(waiting)
		v.all[conn] = nil
	}
}

// visitorKey is under which the context of a request has its connection.
type visitorKey struct{}

func withVisitor(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, visitorKey{}, conn)
}

// handler serves the site to them.
func (v *visitors) handler(site http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if conn, ok := r.Context().Value(visitorKey{}).(net.Conn); ok {
			v.served(conn)
		}
		site.ServeHTTP(w, r)
	})
}

// turns is how many large answers are made at the same time. Each holds a status until it is written, and of 100,000 relays that is
// some 100 MB; who reads slowly holds an old one.
const turns = 4

// turnPatience is how long somebody waits for a turn.
const turnPatience = 5 * time.Second

// inTurn has h answer when it is somebody's turn; sorry answers those whose turn does not come.
func inTurn(free chan struct{}, h, sorry http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		timer := time.NewTimer(turnPatience)
		defer timer.Stop()
		select {
		case free <- struct{}{}:
			defer func() { <-free }()
			h.ServeHTTP(w, r)
		case <-timer.C:
			sorry.ServeHTTP(w, r)
		case <-r.Context().Done():
		}
	})
}

// strangeName tells whether a request that came over the loopback interface asks for a host with a name of the internet. No reader does,
// who sits there or at the other end of "ssh -L"; but a page can, whose name was made to lead to 127.0.0.1 after the browser had loaded it
// (DNS rebinding), and would read what stands here. A name without a dot is nobody's to lead anywhere.
func strangeName(r *http.Request) bool {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if !ok || !local.IP.IsLoopback() {
		return false
	}
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.Trim(host, "[]"), ".")
	if _, err := netip.ParseAddr(host); err == nil {
		return false
	}
	return strings.Contains(host, ".") && !strings.HasSuffix(strings.ToLower(host), ".localhost")
}

// packed is an answer that is packed with gzip on its way.
type packed struct {
	http.ResponseWriter
	out *gzip.Writer
}

func (p *packed) Write(text []byte) (int, error) { return p.out.Write(text) }

// pack packs the answers of h for those who take it: the rows of 1,000 relays are much alike, and come anew every few seconds.
func pack(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Vary", "Accept-Encoding")
		if r.Method == http.MethodHead || !takesGzip(r) {
			h.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Encoding", "gzip")
		out, _ := gzip.NewWriterLevel(w, gzip.BestSpeed) // the level is one that there is
		defer out.Close()                                //nolint:errcheck // whoever asked is gone
		h.ServeHTTP(&packed{w, out}, r)
	})
}

// takesGzip reads Accept-Encoding (RFC 9110, 12.5.3), where a weight of 0 refuses.
func takesGzip(r *http.Request) bool {
	for offer := range strings.SplitSeq(strings.Join(r.Header.Values("Accept-Encoding"), ","), ",") {
		coding, parameter, _ := strings.Cut(offer, ";")
		if !strings.EqualFold(strings.TrimSpace(coding), "gzip") {
			continue
		}
		_, weight, weighed := strings.Cut(parameter, "=")
		q, err := strconv.ParseFloat(strings.TrimSpace(weight), 64)
		return !weighed || err == nil && q > 0
	}
	return false
}
