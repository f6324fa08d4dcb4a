package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"natd/internal/control"
	"natd/internal/lab"
)

// testWeb is a web at work, and the addresses of two listeners that ended: nobody has them.
func testWeb(t *testing.T) (w *web, first, second netip.AddrPort) {
	t.Helper()
	var addrs []netip.AddrPort
	for range 2 {
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp4", "127.0.0.1:0")
		lab.Check(t, err)
		defer l.Close()
		addrs = append(addrs, l.Addr().(*net.TCPAddr).AddrPort())
	}
	w = new(web)
	w.open(slog.New(slog.DiscardHandler), testSite(telling(&control.Status{})).handler(), func() {})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.run(ctx) }()
	t.Cleanup(func() {
		cancel()
		lab.Check(t, <-done)
	})
	return w, addrs[0], addrs[1]
}

// served asks until it is served there, or not any more.
func served(t *testing.T, at netip.AddrPort, want bool) {
	t.Helper()
	lab.Eventually(t, 10*time.Second, func() error {
		c, err := new(net.Dialer).DialContext(t.Context(), "tcp", at.String())
		if err == nil {
			c.Close()
		}
		if refused := errors.Is(err, syscall.ECONNREFUSED); err != nil && !refused || refused == want {
			return fmt.Errorf("served at %v is not %v: %w", at, want, err)
		}
		return nil
	})
}

func TestWebFollows(t *testing.T) {
	t.Parallel()
	w, first, second := testWeb(t)
	if w.status() != nil {
		t.Errorf("status of nowhere: %+v", w.status())
	}
	w.follow(first)
	served(t, first, true)
	w.follow(second)
	served(t, second, true)
	served(t, first, false)
	if s := w.status(); s.Listen != second.String() || s.Error != "" {
		t.Errorf("status %+v", s)
	}
	w.follow(netip.AddrPort{})
	served(t, second, false)
}

// TestWebRetries has another program on the port, and then none. An address that is not there is no other case.
func TestWebRetries(t *testing.T) {
	t.Parallel()
	w, first, _ := testWeb(t)
	other, err := new(net.ListenConfig).Listen(t.Context(), "tcp4", first.String())
	lab.Check(t, err)
	w.follow(first)
	lab.Eventually(t, 10*time.Second, func() error {
		if s := w.status(); !strings.Contains(s.Error, "address already in use") {
			return fmt.Errorf("status %+v", s)
		}
		return nil
	})
	lab.Check(t, other.Close())
	lab.Eventually(t, 10*time.Second, func() error {
		if s := w.status(); s.Error != "" {
			return fmt.Errorf("status %+v", s)
		}
		return nil
	})
	served(t, first, true)
}

// TestWebLimits sends a header that nobody needs, and holds more connections than there may be: half of them silent, half with a
// request that does not end. Whoever asks meanwhile is answered.
func TestWebLimits(t *testing.T) {
	t.Parallel()
	w, first, _ := testWeb(t)
	w.follow(first)
	served(t, first, true)
	ask := func(header string) (int, error) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+first.String()+"/healthz", nil)
		lab.Check(t, err)
		r.Header.Set("X-Long", header)
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
		resp, err := client.Do(r)
		if err != nil {
			return 0, err
		}
		defer resp.Body.Close()
		_, err = io.Copy(io.Discard, resp.Body)
		return resp.StatusCode, err
	}
	if code, err := ask(strings.Repeat("x", 2*webHeaderBytes)); code != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a header of %d bytes: %d, %v", 2*webHeaderBytes, code, err)
	}
	var held []net.Conn
	for range 2 * webConnections {
		c, err := new(net.Dialer).DialContext(t.Context(), "tcp", first.String())
		lab.Check(t, err)
		defer c.Close()
		if held = append(held, c); len(held)%2 == 0 {
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n") // the first of them are closed by now
		}
	}
	if code, err := ask(""); code != http.StatusOK {
		t.Errorf("beside %d connections: %d, %v", len(held), code, err)
	}
}

// TestWebFinishes has natd stop listening there while somebody is answered, who gets all of it.
func TestWebFinishes(t *testing.T) {
	t.Parallel()
	asked, answer := make(chan struct{}), make(chan struct{})
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp4", "127.0.0.1:0")
	lab.Check(t, err)
	at := l.Addr().(*net.TCPAddr).AddrPort()
	lab.Check(t, l.Close())
	w := new(web)
	w.open(slog.New(slog.DiscardHandler), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			close(asked)
			select {
			case <-answer:
			case <-r.Context().Done():
			}
		}
		_, _ = io.WriteString(w, "all of it")
	}), func() {})
	w.follow(at)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.run(ctx) }()
	served(t, at, true)
	got := make(chan string, 1)
	go func() {
		r, err := http.Get("http://" + at.String())
		if err != nil {
			got <- err.Error()
			return
		}
		defer r.Body.Close()
		body, err := io.ReadAll(r.Body)
		got <- fmt.Sprint(string(body), err)
	}()
	<-asked
	stop()
	served(t, at, false)
	close(answer)
	if text := <-got; text != "all of it<nil>" {
		t.Errorf("got %q", text)
	}
	lab.Check(t, <-done)
}
