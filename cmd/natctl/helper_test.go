package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"natd/internal/config"
	"natd/internal/control"
	"natd/internal/diagnose"
)

// helperEnv makes the test binary be natctl.
const helperEnv = "NATCTL_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(helperEnv) != "" {
		main()
	}
	os.Exit(m.Run())
}

// now is the time on every clock of the tests.
func now() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

// fake is a daemon that answers what its fields say.
type fake struct {
	mu     sync.Mutex
	status control.Status
	list   control.ConnectionList
	did    control.Outcome
	err    error
	asked  []string
	which  control.ConnectionFilter // of the last connections
}

func (f *fake) note(what string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, what)
	return f.err
}

func (f *fake) rounds() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.asked)
}

func (f *fake) Status(context.Context, *control.StatusArgs) (*control.Status, error) {
	return &f.status, f.note("status")
}

func (f *fake) Known(context.Context) (*control.Known, error) {
	return &control.Known{ConfigPath: f.status.Config.Path}, nil
}
func (f *fake) Plan(context.Context) (*control.Outcome, error)   { return &f.did, f.note("plan") }
func (f *fake) Reload(context.Context) (*control.Outcome, error) { return &f.did, f.note("reload") }
func (f *fake) Flush(context.Context) (*control.Outcome, error)  { return &f.did, f.note("flush") }
func (f *fake) Drain(_ context.Context, relay, backend string) (*control.Outcome, error) {
	return &f.did, f.note("drain " + relay + " " + backend)
}

func (f *fake) Enable(_ context.Context, relay, backend string) (*control.Outcome, error) {
	return &f.did, f.note("enable " + relay + " " + backend)
}

func (f *fake) Connections(_ context.Context, which *control.ConnectionFilter) (*control.ConnectionList, error) {
	f.mu.Lock()
	f.which = *which
	f.mu.Unlock()
	return &f.list, f.note("connections " + which.Relay)
}

// serve lets the daemon listen until the test ends, and returns where.
func serve(t *testing.T, h control.Handler) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "natd.sock")
	serveAt(t, socket, h)
	return socket
}

func serveAt(t *testing.T, socket string, h control.Handler) (stop func()) {
	t.Helper()
	s, err := control.Listen(socket, "", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, h) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// result is what one run of natctl left behind.
type result struct {
	code           int
	stdout, stderr string
}

// noLocal is for runs that have no business in the kernel.
func noLocal() local {
	err := errors.New("the test does not expect this")
	return local{
		rules: func(context.Context, *config.Config, *control.Known) (string, error) { return "", err },
		plan:  func(context.Context, loading, *control.Known) (*control.Outcome, error) { return nil, err },
		flush: func(context.Context, string) (*control.Outcome, error) { return nil, err },
		look: func(context.Context, *diagnose.Looker, diagnose.Question) (*diagnose.Evidence, error) {
			return nil, err
		},
	}
}

// run runs natctl with its output in files of memory.
func run(t *testing.T, args ...string) result {
	t.Helper()
	return runWith(t, noLocal(), args...)
}

func runWith(t *testing.T, l local, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	a := &app{stdout: &stdout, stderr: &stderr, env: func(string) string { return "" }, now: now, local: l}
	code := a.run(t.Context(), args)
	return result{code, stdout.String(), stderr.String()}
}

func (r result) want(t *testing.T, code int, stdout, stderr string) {
	t.Helper()
	if diff := cmp.Diff(result{code, stdout, stderr}, r, cmp.AllowUnexported(result{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// wantError checks the one line on stderr.
func (r result) wantError(t *testing.T, code int, stderr string) {
	t.Helper()
	if r.code != code || !strings.HasPrefix(r.stderr, "natctl: ") || !strings.Contains(r.stderr, stderr) {
		t.Errorf("exit %d, want %d; stderr %q, want %q in it", r.code, code, r.stderr, stderr)
	}
	if strings.Contains(r.stderr, "Usage:") {
		t.Errorf("usage is explained where nobody asked: %s", r.stderr)
	}
}

// document decodes the one JSON document on stdout and checks its version.
func (r result) document(t *testing.T) map[string]any {
	t.Helper()
	var doc map[string]any
	if err := json.Unmarshal([]byte(r.stdout), &doc); err != nil {
		t.Fatalf("stdout is not a JSON document: %v\n%s", err, r.stdout)
	}
	if doc["schema_version"] != float64(1) {
		t.Errorf("schema_version is %v", doc["schema_version"])
	}
	return doc
}

// configFile writes a configuration.
func configFile(t *testing.T, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "natd.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const validConfig = `
[[relay]]
name   = "web"
listen = "10.2.0.100:80"
to     = ["10.3.0.100:80"]
`

// eventually waits for a condition.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}
