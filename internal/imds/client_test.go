package imds

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	standin "natd/internal/lab/imds"
)

// requests collects the log of a stand-in, one line for each request.
type requests struct {
	mu    sync.Mutex
	lines []string
}

func (r *requests) Write(line []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, strings.TrimSpace(string(line)))
	return len(line), nil
}

// count is how many requests had the line in the log.
func (r *requests) count(part string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Count(strings.Join(r.lines, "\n"), part)
}

// small is an instance that says little.
func small() *standin.Instance {
	return &standin.Instance{ID: "i-0123456789abcdef0", Interfaces: []standin.Interface{{
		MAC: "02:00:00:00:00:01", ID: "eni-0abc", VPC: "vpc-0b", Subnet: "subnet-0b", IPv4: []string{"10.2.0.100"},
	}}}
}

// serve serves the stand-in until the test ends.
func serve(t *testing.T, s *standin.Service) (*Client, *requests) {
	t.Helper()
	log := new(requests)
	s.Log = log
	if s.Source == nil {
		s.Source = func() (*standin.Instance, error) { return small(), nil }
	}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return New(server.URL), log
}

// mustIdentity asks, and wants an answer.
func mustIdentity(t *testing.T, c *Client) *Identity {
	t.Helper()
	id, err := c.Identity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestTokenIsUsedAgain(t *testing.T) {
	t.Parallel()
	c, log := serve(t, new(standin.Service))
	first := mustIdentity(t, c)
	if second := mustIdentity(t, c); !first.Equal(second) {
		t.Errorf("the second answer is %+v, the first %+v", second, first)
	}
	if n := log.count("PUT /latest/api/token 200"); n != 1 {
		t.Errorf("%d tokens were asked for, want 1", n)
	}
	if n := log.count(" 401"); n != 0 {
		t.Errorf("%d requests were refused", n)
	}
}

// TestOneConnection counts connections: a key that is not there is an answer like any other, and not the end of one.
func TestOneConnection(t *testing.T) {
	t.Parallel()
	var connections atomic.Int64
	s := &standin.Service{Source: func() (*standin.Instance, error) { return small(), nil }}
	server := httptest.NewUnstartedServer(s)
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	mustIdentity(t, New(server.URL))
	if n := connections.Load(); n != 1 {
		t.Errorf("%d connections for one question, want 1", n)
	}
}

func TestTokenIsRenewed(t *testing.T) {
	t.Parallel()
	s := new(standin.Service)
	c, log := serve(t, s)
	mustIdentity(t, c)
	s.Forget()
	mustIdentity(t, c)
	if puts, refused := log.count("PUT /latest/api/token 200"), log.count(" 401"); puts != 2 || refused != 1 {
		t.Errorf("%d tokens and %d refusals, want 2 and 1", puts, refused)
	}
}

func TestTokenExpiresUnderWay(t *testing.T) {
	t.Parallel()
	c, log := serve(t, &standin.Service{RefuseEvery: 5})
	mustIdentity(t, c)
	if log.count(" 401") == 0 || log.count("PUT /latest/api/token 200") != log.count(" 401")+1 {
		t.Errorf("want a new token for each refusal:\n%s", strings.Join(log.lines, "\n"))
	}
}

// TestNewTokenOnce has a service that grants tokens and then does not know them.
func TestNewTokenOnce(t *testing.T) {
	t.Parallel()
	c, log := serve(t, &standin.Service{RefuseEvery: 1})
	if id, err := c.Identity(t.Context()); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("got %+v, %v, want an error about 401", id, err)
	}
	if n := log.count("PUT"); n > 2 {
		t.Errorf("%d tokens were asked for, want two at most", n)
	}
}

func TestDisabled(t *testing.T) {
	t.Parallel()
	c, _ := serve(t, &standin.Service{Disabled: true})
	if _, err := c.Identity(t.Context()); !errors.Is(err, ErrDisabled) {
		t.Errorf("got %v, want %v", err, ErrDisabled)
	}
}

// TestSilence has a service that grants a token and no more, as one does whose answers exceed the hop limit.
func TestSilence(t *testing.T) {
	t.Parallel()
	c, log := serve(t, &standin.Service{Silent: true})
	began := time.Now()
	_, err := c.Identity(t.Context())
	if !errors.Is(err, ErrNoService) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want %v for the time-out", err, ErrNoService)
	}
	if took := time.Since(began); took < requestPatience || took > 3*requestPatience {
		t.Errorf("it took %v, want one time-out of %v", took, requestPatience)
	}
	if n := log.count("GET"); n != 1 {
		t.Errorf("%d requests, want that one silence is enough", n)
	}
}

// TestCancel ends a question that nobody answers.
func TestCancel(t *testing.T) {
	t.Parallel()
	c, log := serve(t, &standin.Service{Silent: true})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { _, err := c.Identity(ctx); done <- err }()
	for log.count("GET") == 0 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

// unreachable is an endpoint that the kernel has no way to: a multicast address takes no TCP connection, in any namespace.
const unreachable = "http://224.0.0.1:1"

func TestNoRouteGoesOn(t *testing.T) {
	t.Parallel()
	if _, err := New(unreachable, unreachable).Identity(t.Context()); !errors.Is(err, ErrNoService) {
		t.Errorf("got %v, want %v", err, ErrNoService)
	}
	listener, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skipf("this machine has no IPv6: %v", err)
	}
	server := httptest.NewUnstartedServer(&standin.Service{Source: func() (*standin.Instance, error) { return small(), nil }})
	server.Listener = listener
	server.Start()
	t.Cleanup(server.Close)
	if id := mustIdentity(t, New(unreachable, server.URL)); id.ID != small().ID {
		t.Errorf("by IPv6: %+v", id)
	}
}

// TestRefusedStays has no service where there should be one: the other endpoint is none of ours.
func TestRefusedStays(t *testing.T) {
	t.Parallel()
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	other, log := serve(t, new(standin.Service))
	if _, err := New(closed.URL, other.endpoints[0]).Identity(t.Context()); !errors.Is(err, ErrNoService) {
		t.Errorf("got %v, want %v", err, ErrNoService)
	}
	if n := log.count("PUT"); n != 0 {
		t.Errorf("the other endpoint was asked %d times", n)
	}
}

// TestNoProxy looks at the setting: the environment's proxies are never asked for an address of this machine.
func TestNoProxy(t *testing.T) {
	t.Parallel()
	if transport, ok := New().http.Transport.(*http.Transport); !ok || transport.Proxy != nil {
		t.Error("requests may go by a proxy")
	}
}

// TestBadAnswers has services that are not that of EC2, or mean harm.
func TestBadAnswers(t *testing.T) {
	t.Parallel()
	token := func(w http.ResponseWriter) { fmt.Fprint(w, "token") }
	tests := map[string]struct {
		serve http.HandlerFunc
		want  string
	}{
		"another cloud's": {func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPut {
				w.WriteHeader(http.StatusNotFound)
			}
		}, "grants no token"},
		"a web page":           {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>welcome</html>") }, "is not a name"},
		"a token of two lines": {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "a\r\nX-Evil: 1") }, "is not a token"},
		"a redirect": {func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPut {
				token(w)
				return
			}
			http.Redirect(w, r, "http://192.0.2.1/", http.StatusFound)
		}, "302"},
		"a flood": {func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPut {
				token(w)
				return
			}
			for range maxAnswer {
				fmt.Fprint(w, "iiiiiiii")
			}
		}, "longer than"},
		"cut short": {func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPut {
				token(w)
				return
			}
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, "i-0")
		}, "EOF"},
		"nothing known": {func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPut {
				token(w)
				return
			}
			w.WriteHeader(http.StatusNotFound)
		}, "not that of EC2"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(tt.serve)
			t.Cleanup(server.Close)
			id, err := New(server.URL).Identity(t.Context())
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %+v, %v, want an error with %q", id, err, tt.want)
			}
		})
	}
}
