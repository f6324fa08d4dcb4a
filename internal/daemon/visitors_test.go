package daemon

import (
	"compress/gzip"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"natd/internal/control"
	"natd/internal/lab"
)

// TestStrangeNames asks under names, over the loopback interface and over another one.
func TestStrangeNames(t *testing.T) {
	t.Parallel()
	h := testSite(telling(&control.Status{})).handler()
	ask := func(local, host string) int {
		r := httptest.NewRequest(http.MethodGet, "/status.json", nil)
		r.Host = host
		r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(&net.TCPAddr{IP: net.ParseIP(local), Port: 9469})))
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code
	}
	for host, want := range map[string]int{
		"": 200, "127.0.0.1:9469": 200, "127.0.0.1": 200, "[::1]:9469": 200, "[::1]": 200, "localhost:9469": 200, "LOCALHOST": 200, "localhost.": 200,
		"natd.localhost:9469": 200, "nat-1:9469": 200,
		"evil.example:9469": 421, "evil.example": 421, "127.0.0.1.evil.example:9469": 421, "localhost.evil.example": 421, "evillocalhost.example": 421,
	} {
		for _, local := range []string{"127.0.0.1", "::1"} {
			if got := ask(local, host); got != want {
				t.Errorf("%q at %s: %d, want %d", host, local, got, want)
			}
		}
		if got := ask("10.2.0.100", host); got != 200 {
			t.Errorf("%q at 10.2.0.100: %d", host, got)
		}
	}
}

// TestPacked asks for answers packed and not, in the ways that RFC 9110 has.
func TestPacked(t *testing.T) {
	t.Parallel()
	s := testSite(telling(&control.Status{Relays: make([]control.Relay, 200)}))
	for _, path := range []string{"/", "/?part=main", "/status.json", "/metrics"} {
		for header, want := range map[string]bool{
			"": false, "br": false, "gzip;q=0": false, "gzip; q=0.0, br": false, "gzip;q=x": false, "x-gzip": false,
			"gzip": true, "GZIP": true, "deflate, gzip;q=0.5": true, "br;q=1.0, gzip ; q=0.8, *;q=0.1": true,
		} {
			checkPacked(t, get(s, http.MethodGet, path, "Accept-Encoding", header), path+" for "+header, want)
		}
		if w := get(s, http.MethodHead, path, "Accept-Encoding", "gzip"); w.Code != 200 || w.Header().Get("Content-Encoding") != "" {
			t.Errorf("HEAD %s: %d %v", path, w.Code, w.Header())
		}
	}
}

// checkPacked wants an answer to be packed, or not.
func checkPacked(t *testing.T, w *httptest.ResponseRecorder, what string, want bool) {
	t.Helper()
	if is := w.Header().Get("Content-Encoding") == "gzip"; is != want || w.Header().Get("Vary") != "Accept-Encoding" {
		t.Errorf("%s: %v", what, w.Header())
		return
	}
	var body io.Reader = w.Body
	size := w.Body.Len()
	if want {
		z, err := gzip.NewReader(body)
		lab.Check(t, err)
		body = z
	}
	text, err := io.ReadAll(body)
	if err != nil || want == (size > len(text)/2) || !strings.ContainsAny(string(text), "<{#") {
		t.Errorf("%s: %d bytes of %d, %v", what, size, len(text), err)
	}
}

// slow is a reader who takes nothing until told to.
type slow struct {
	*httptest.ResponseRecorder
	begun, take chan struct{}
}

func (s slow) Write(p []byte) (int, error) {
	s.begun <- struct{}{}
	<-s.take
	return s.ResponseRecorder.Write(p)
}

// TestTurns has readers who do not read. No more statuses than there are turns are held for them, and health is told to everybody.
func TestTurns(t *testing.T) {
	t.Parallel()
	s := testSite(telling(&control.Status{}))
	h := s.handler()
	readers := slow{httptest.NewRecorder(), make(chan struct{}), make(chan struct{})}
	done := make(chan struct{})
	for range turns {
		go func() {
			own := slow{httptest.NewRecorder(), readers.begun, readers.take}
			h.ServeHTTP(own, httptest.NewRequest(http.MethodGet, "/metrics", nil))
			done <- struct{}{}
		}()
		<-readers.begun
	}
	type answer struct {
		path string
		*httptest.ResponseRecorder
	}
	answers := make(chan answer)
	for _, path := range []string{"/metrics", "/", "/status.json", "/healthz", "/readyz"} {
		go func() {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
			answers <- answer{path, w}
		}()
	}
	for range 5 {
		a := <-answers
		want := map[string]string{
			"/metrics": "\nnatd_up 0\n", "/": "too many", "/status.json": "too many", "/healthz": "ok\n", "/readyz": "\n",
		}[a.path]
		if !strings.Contains(a.Body.String(), want) {
			t.Errorf("%s: %d %s", a.path, a.Code, a.Body)
		}
	}
	go func() {
		for range readers.begun { // every further piece
		}
	}()
	close(readers.take)
	for range turns {
		<-done
	}
	close(readers.begun)
}
