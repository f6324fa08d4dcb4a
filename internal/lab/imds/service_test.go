package imds

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// ask puts one request to the stand-in; headers are pairs of name and value.
func ask(s *Service, method, path string, headers ...string) (status int, body string) {
	r := httptest.NewRequest(method, path, http.NoBody)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func standin() *Service {
	return &Service{Source: func() (*Instance, error) {
		key, none := "value", (*string)(nil)
		return &Instance{
			ID: "i-0", Interfaces: []Interface{{
				MAC: "02:00:00:00:00:01", ID: "eni-0", IPv4: []string{"10.2.0.100", "10.2.0.101"}, Public: map[string]string{"203.0.113.5": "10.2.0.100"},
			}},
			Keys: map[string]*string{"/latest/user-data": &key, "/latest/meta-data/mac": none},
		}, nil
	}}
}

func TestManners(t *testing.T) {
	t.Parallel()
	s := standin()
	_, token := ask(s, http.MethodPut, "/latest/api/token", headerTTL, "60")
	const macs = "/latest/meta-data/network/interfaces/macs/"
	tests := []struct {
		name, method, path string
		headers            []string
		status             int
		body               string
	}{
		{"token without its life", http.MethodPut, "/latest/api/token", nil, http.StatusBadRequest, ""},
		{"token for too long", http.MethodPut, "/latest/api/token", []string{headerTTL, "21601"}, http.StatusBadRequest, ""},
		{"token by a proxy", http.MethodPut, "/latest/api/token", []string{headerTTL, "60", "X-Forwarded-For", "10.1.0.1"}, http.StatusForbidden, ""},
		{"no token", http.MethodGet, "/latest/meta-data/instance-id", nil, http.StatusUnauthorized, ""},
		{"wrong token", http.MethodGet, "/latest/meta-data/instance-id", []string{headerToken, "x"}, http.StatusUnauthorized, ""},
		{"key", http.MethodGet, "/latest/meta-data/instance-id", []string{headerToken, token}, http.StatusOK, "i-0"},
		{"added key", http.MethodGet, "/latest/user-data", []string{headerToken, token}, http.StatusOK, "value"},
		{"key taken away", http.MethodGet, "/latest/meta-data/mac", []string{headerToken, token}, http.StatusNotFound, "404 - Not Found"},
		{"list", http.MethodGet, macs + "02:00:00:00:00:01/local-ipv4s", []string{headerToken, token}, http.StatusOK, "10.2.0.100\n10.2.0.101"},
		{"directory", http.MethodGet, macs, []string{headerToken, token}, http.StatusOK, "02:00:00:00:00:01/"},
		{"directory of keys", http.MethodGet, macs + "02:00:00:00:00:01/ipv4-associations/", []string{headerToken, token}, http.StatusOK, "203.0.113.5"},
		{"write", http.MethodPost, "/latest/meta-data/instance-id", []string{headerToken, token}, http.StatusMethodNotAllowed, ""},
	}
	for _, tt := range tests {
		if status, body := ask(s, tt.method, tt.path, tt.headers...); status != tt.status || body != tt.body {
			t.Errorf("%s: %d %q, want %d %q", tt.name, status, body, tt.status, tt.body)
		}
	}
}

func TestTokensEnd(t *testing.T) {
	t.Parallel()
	s := standin()
	s.TokenLife = time.Nanosecond
	_, token := ask(s, http.MethodPut, "/latest/api/token", headerTTL, "60")
	for began := time.Now(); time.Since(began) <= s.TokenLife; {
		continue // a clock may be coarse
	}
	if status, _ := ask(s, http.MethodGet, "/latest/meta-data/instance-id", headerToken, token); status != http.StatusUnauthorized {
		t.Errorf("a token that has ended gets %d", status)
	}
}

func TestLog(t *testing.T) {
	t.Parallel()
	s := standin()
	var log strings.Builder
	s.Log = &log
	ask(s, http.MethodGet, "/latest/meta-data/instance-id")
	if got, want := log.String(), "GET /latest/meta-data/instance-id 401\n"; got != want {
		t.Errorf("the log is %q, want %q", got, want)
	}
}
