package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// helperEnv makes the test binary act as a client with other credentials than those of the tests.
const helperEnv = "NATD_CONTROL_TEST_CLIENT"

func TestMain(m *testing.M) {
	if order := os.Getenv(helperEnv); order != "" {
		fmt.Fprint(os.Stdout, actAsClient(order))
		return
	}
	os.Exit(m.Run())
}

// client is what the helper process does.
type client struct {
	Path     string
	Op       string
	Args     json.RawMessage // none = JSON's null
	UID, GID int
	Groups   []int
}

// actAsClient becomes the user and returns "CODE MESSAGE" of the call.
func actAsClient(order string) string {
	var c client
	err := json.Unmarshal([]byte(order), &c)
	err = errors.Join(err, syscall.Setgroups(c.Groups), syscall.Setgid(c.GID), syscall.Setuid(c.UID))
	if err != nil {
		return err.Error()
	}
	if err := Call(context.Background(), c.Path, c.Op, c.Args, &json.RawMessage{}); err != nil {
		return fmt.Sprintf("%d %s", AsError(err).Code, err)
	}
	return "0 "
}

func (c client) run(t *testing.T) string {
	t.Helper()
	order, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), helperEnv+"="+string(order), "GORACE=atexit_sleep_ms=0") // or a process ends 1 s later
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("client %+v: %v\n%s", c, err, out)
	}
	return string(out)
}

// needRoot skips a test that has to become other users.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatal("this test needs root")
	}
	t.Skip("needs root, to become other users")
}

// fake is a daemon. Its functions are nil where a test does not expect a call.
type fake struct {
	status      func(context.Context) (*Status, error)
	connections func(context.Context, *ConnectionFilter) (*ConnectionList, error)
	plan        func(context.Context) (*Outcome, error)
	reload      func(context.Context) (*Outcome, error)
	flush       func(context.Context) (*Outcome, error)
	drain       func(ctx context.Context, relay, backend string) (*Outcome, error)
	enable      func(ctx context.Context, relay, backend string) (*Outcome, error)
}

func (f fake) Status(ctx context.Context, _ *StatusArgs) (*Status, error) { return f.status(ctx) }
func (f fake) Connections(ctx context.Context, which *ConnectionFilter) (*ConnectionList, error) {
	return f.connections(ctx, which)
}

func (fake) Known(context.Context) (*Known, error) {
	return &Known{SchemaVersion: SchemaVersion}, nil
}
func (f fake) Plan(ctx context.Context) (*Outcome, error)   { return f.plan(ctx) }
func (f fake) Reload(ctx context.Context) (*Outcome, error) { return f.reload(ctx) }
func (f fake) Flush(ctx context.Context) (*Outcome, error)  { return f.flush(ctx) }
func (f fake) Drain(ctx context.Context, relay, backend string) (*Outcome, error) {
	return f.drain(ctx, relay, backend)
}

func (f fake) Enable(ctx context.Context, relay, backend string) (*Outcome, error) {
	return f.enable(ctx, relay, backend)
}

// well is a daemon that answers everything at once.
func well() fake {
	outcome := func(what string) func(context.Context) (*Outcome, error) {
		return func(context.Context) (*Outcome, error) {
			return &Outcome{SchemaVersion: SchemaVersion, Changes: []string{what}}, nil
		}
	}
	return fake{
		status: func(context.Context) (*Status, error) {
			return &Status{SchemaVersion: SchemaVersion, State: StateReady, Version: "1.2.3"}, nil
		},
		connections: func(_ context.Context, which *ConnectionFilter) (*ConnectionList, error) {
			return &ConnectionList{SchemaVersion: SchemaVersion, Connections: []Connection{{Relay: which.Relay}}}, nil
		},
		plan:   outcome("planned"),
		reload: outcome("reloaded"),
		flush:  outcome("flushed"),
		drain: func(ctx context.Context, relay, backend string) (*Outcome, error) {
			return outcome("drained " + relay + " " + backend)(ctx)
		},
		enable: func(ctx context.Context, relay, backend string) (*Outcome, error) {
			return outcome("enabled " + relay + " " + backend)(ctx)
		},
	}
}

// logBuffer is a log that tests read while the server writes.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func (b *logBuffer) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func silent() *slog.Logger { return slog.New(slog.DiscardHandler) }

// running is a server that serves until the test ends, or stop is called.
type running struct {
	*Server
	path string
	log  *logBuffer
	stop func() error // ends the context and returns what Serve returned
}

// run serves h on a new socket. setup, when not nil, changes the server before.
func run(t *testing.T, h Handler, setup func(*Server)) running {
	t.Helper()
	return runAt(t, filepath.Join(t.TempDir(), "natd.sock"), "", h, setup)
}

func runAt(t *testing.T, path, group string, h Handler, setup func(*Server)) running {
	t.Helper()
	log := new(logBuffer)
	s, err := Listen(path, group, log.logger())
	if err != nil {
		t.Fatalf("Listen: %v", err)
	}
	if setup != nil {
		setup(s)
	}
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() { result <- s.Serve(ctx, h) }()
	stop := sync.OnceValue(func() error {
		cancel()
		select {
		case err := <-result:
			return err
		case <-time.After(20 * time.Second):
			return errors.New("Serve did not end")
		}
	})
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return running{Server: s, path: path, log: log, stop: stop}
}

// dial opens a connection that the test speaks on by hand.
func (r running) dial(t *testing.T) *net.UnixConn {
	t.Helper()
	conn, err := net.Dial("unix", r.path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn.(*net.UnixConn)
}

// say writes a request and returns the whole answer.
func (r running) say(t *testing.T, request string) string {
	t.Helper()
	conn := r.dial(t)
	if _, err := io.WriteString(conn, request); err != nil && !errors.Is(err, syscall.EPIPE) {
		t.Fatal(err)
	}
	return hear(t, conn)
}

// hear reads until the server hangs up. A server that left bytes unread resets the connection after its answer.
func hear(t *testing.T, conn *net.UnixConn) string {
	t.Helper()
	data, err := io.ReadAll(conn)
	if err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("read the answer: %v", err)
	}
	return string(data)
}

// mustServe fails the test unless the server answers a well-behaved client at once.
func (r running) mustServe(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	var s Status
	if err := Call(ctx, r.path, OpStatus, nil, &s); err != nil || s.State != StateReady {
		t.Fatalf("status: %v, %+v", err, s)
	}
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func wantContains(t *testing.T, got string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(got, w) {
			t.Errorf("got %q, want %q in it", got, w)
		}
	}
}
