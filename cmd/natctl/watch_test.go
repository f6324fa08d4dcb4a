package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"natd/internal/control"
)

// syncBuffer is read while natctl still writes.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// watching is a natctl status --watch in the background.
type watching struct {
	stdout, stderr syncBuffer
	cancel         context.CancelFunc
	code           chan int
}

func startWatch(t *testing.T, args ...string) *watching {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	w := &watching{cancel: cancel, code: make(chan int, 1)}
	a := &app{stdout: &w.stdout, stderr: &w.stderr, env: func(string) string { return "" }, now: now, local: noLocal()}
	go func() { w.code <- a.run(ctx, append([]string{"status", "--watch", "--interval", "100ms"}, args...)) }()
	t.Cleanup(cancel)
	return w
}

func (w *watching) end(t *testing.T) int {
	t.Helper()
	w.cancel()
	select {
	case code := <-w.code:
		return code
	case <-time.After(10 * time.Second):
		t.Fatal("it does not end")
		return -1
	}
}

func TestWatchRounds(t *testing.T) {
	t.Parallel()
	f := &fake{status: troubled()}
	w := startWatch(t, "--socket", serve(t, f))
	eventually(t, "three rounds", func() bool { return f.rounds() >= 3 })
	if code := w.end(t); code != control.CodeDegraded {
		t.Errorf("exit %d, want that of the last state, %d", code, control.CodeDegraded)
	}
	if got := strings.Count(w.stdout.String(), "--- 2026-03-01T12:00:00Z\nnatd degraded  version"); got < 2 {
		t.Errorf("%d rounds with separators:\n%s", got, &w.stdout)
	}
}

// The daemon may come and go; each round says what there is, and the last one decides.
func TestWatchGoesOn(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "natd.sock")
	w := startWatch(t, "--socket", socket)
	eventually(t, "a round without natd", func() bool { return strings.Contains(w.stdout.String(), "natctl: natd does not answer on") })
	stop := serveAt(t, socket, &fake{status: healthy()})
	eventually(t, "a round with natd", func() bool { return strings.Contains(w.stdout.String(), "natd ready") })
	stop()
	before := len(w.stdout.String())
	eventually(t, "natd is missed", func() bool { return strings.Contains(w.stdout.String()[before:], "does not answer") })
	if code := w.end(t); code != control.CodeUnreachable {
		t.Errorf("exit %d, want %d", code, control.CodeUnreachable)
	}
	if got := w.stderr.String(); got != "" {
		t.Errorf("stderr: %s", got)
	}
}

func TestWatchJSON(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "natd.sock")
	w := startWatch(t, "--json", "--socket", socket)
	eventually(t, "a failure", func() bool { return strings.Contains(w.stdout.String(), "\n") })
	f := &fake{status: healthy()}
	serveAt(t, socket, f)
	eventually(t, "two documents", func() bool { return strings.Count(w.stdout.String(), `"state":"ready","reasons"`) >= 2 })
	if code := w.end(t); code != control.CodeOK {
		t.Errorf("exit %d", code)
	}
	lines := strings.Split(strings.TrimSpace(w.stdout.String()), "\n")
	for _, line := range lines {
		var doc struct {
			SchemaVersion int `json:"schema_version"`
		}
		if err := json.Unmarshal([]byte(line), &doc); err != nil || doc.SchemaVersion != 1 {
			t.Errorf("not a document on one line: %v: %s", err, line)
		}
	}
	if !strings.HasPrefix(lines[0], `{"schema_version":1,"error":{"code":4,"message":"natd does not answer`) {
		t.Errorf("first line: %s", lines[0])
	}
}

func TestWatchUsage(t *testing.T) {
	t.Parallel()
	run(t, "status", "--watch", "--interval", "1ms").wantError(t, control.CodeUsage, "it must be at least 100ms")
	run(t, "status", "--watch", "--interval", "2").wantError(t, control.CodeUsage, "write it like 2s")
}

// The real program ends at Ctrl-C with the code of what it last saw.
func TestWatchInterrupted(t *testing.T) {
	t.Parallel()
	f := &fake{status: troubled()}
	cmd := exec.Command(os.Args[0], "status", "--watch", "--interval", "100ms", "--socket", serve(t, f))
	cmd.Env = append(os.Environ(), helperEnv+"=1", "GORACE=atexit_sleep_ms=0")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "two rounds", func() bool { return f.rounds() >= 2 })
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != control.CodeDegraded {
		t.Errorf("exit %d, want %d\n%s", got, control.CodeDegraded, &out)
	}
}
