package control

import (
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Whatever a client does, the next one is served at once.
func TestHostileClients(t *testing.T) {
	t.Parallel()
	const huge = 10 << 20
	h := well()
	h.connections = func(context.Context, *ConnectionFilter) (*ConnectionList, error) {
		return &ConnectionList{Connections: []Connection{{Relay: strings.Repeat("x", huge)}}}, nil
	}
	tests := map[string]struct {
		say  string
		want string // in the answer, "" = the client does not wait for one
	}{
		"says nothing":           {"", ""},
		"half a line":            {`{"version":1,"op":"sta`, ""},
		"goes before its answer": {"{\"version\":1,\"op\":\"connections\"}\n", ""},
		"junk":                   {"\x00\xff\xfe\x01\n", `"code":2`},
		"NULs":                   {strings.Repeat("\x00", 1000) + "\n", `"code":2`},
		"empty line":             {"\n", `"code":2`},
		"deep":                   {strings.Repeat("[", 60_000) + "\n", `"code":2`},
		"deep objects":           {strings.Repeat(`{"a":`, 13_000) + "\n", `"code":2`},
		"64 KiB and no newline":  {strings.Repeat(" ", maxRequest), "has more than 65536 bytes"},
		"10 MB":                  {strings.Repeat("a", huge), "has more than 65536 bytes"},
		"two requests":           {"{\"version\":1,\"op\":\"status\"}\n{\"version\":1,\"op\":\"flush\"}\n", `"state":"ready"`},
		"HTTP":                   {"GET /status HTTP/1.1\r\nHost: natd\r\n\r\n", `"code":2`},
	}
	r := run(t, h, nil)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if test.want != "" {
				wantContains(t, r.say(t, test.say), test.want)
			} else {
				conn := r.dial(t)
				if _, err := io.WriteString(conn, test.say); err != nil {
					t.Fatal(err)
				}
				_ = conn.Close()
			}
			r.mustServe(t)
		})
	}
}

func TestHalfCloseIsNoRequest(t *testing.T) {
	t.Parallel()
	r := run(t, fake{}, nil)
	conn := r.dial(t)
	if _, err := io.WriteString(conn, `{"version":1,"op":"flush"}`); err != nil {
		t.Fatal(err)
	}
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	wantContains(t, hear(t, conn), "the request has no newline at its end")
}

// A client that has asked and shut its sending side still gets its answer.
func TestHalfCloseAfterRequest(t *testing.T) {
	t.Parallel()
	r := run(t, well(), nil)
	conn := r.dial(t)
	if _, err := io.WriteString(conn, "{\"version\":1,\"op\":\"status\"}\n"); err != nil {
		t.Fatal(err)
	}
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	wantContains(t, hear(t, conn), `"state":"ready"`)
}

func TestTooManyConnections(t *testing.T) {
	t.Parallel()
	r := run(t, well(), func(s *Server) { s.limits.open, s.limits.reserved = 2, 0 })
	held := []net.Conn{r.dial(t), r.dial(t)}
	wantContains(t, r.say(t, "{\"version\":1,\"op\":\"status\"}\n"), `"code":1`, "natd is busy")
	for _, conn := range held {
		_ = conn.Close()
	}
	eventually(t, "a free place", func() bool {
		var s Status
		return Call(t.Context(), r.path, OpStatus, nil, &s) == nil
	})
}

// Requests at work are few, whatever the number of connections; those that ask nothing do not count.
func TestTooManyRequests(t *testing.T) {
	t.Parallel()
	h, asked, proceed := well(), make(chan struct{}), make(chan struct{})
	h.connections = func(context.Context, *ConnectionFilter) (*ConnectionList, error) {
		asked <- struct{}{}
		<-proceed
		return &ConnectionList{}, nil
	}
	r := run(t, h, func(s *Server) { s.limits.shared, s.limits.reserved = 2, 0 })
	for range 100 { // fewer than the backlog
		r.dial(t) // and says nothing
	}
	r.mustServe(t)
	var done sync.WaitGroup
	for range 2 {
		done.Go(func() {
			if err := Call(t.Context(), r.path, OpConnections, nil, new(ConnectionList)); err != nil {
				t.Errorf("connections: %v", err)
			}
		})
		<-asked
	}
	wantContains(t, r.say(t, "{\"version\":1,\"op\":\"status\"}\n"), `"code":1`, "natd is busy")
	close(proceed)
	done.Wait()
	r.mustServe(t)
}

// Clients that never write or never read cost goroutines only until the deadlines, and nobody his answer.
func TestNothingLeaks(t *testing.T) { // not parallel: counts the goroutines of the process
	before := runtime.NumGoroutine()
	h := well()
	h.status = func(context.Context) (*Status, error) {
		return &Status{State: StateReady, Version: strings.Repeat("x", 512<<10)}, nil
	}
	log := new(logBuffer)
	s, err := Listen(filepath.Join(t.TempDir(), "natd.sock"), "", log.logger())
	if err != nil {
		t.Fatal(err)
	}
	s.limits.shared, s.limits.request, s.limits.write = 300, 2*time.Second, 200*time.Millisecond
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, h) }()

	const clients = 40
	for i := range clients {
		conn, err := net.Dial("unix", s.socket.path)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if i%2 == 0 { // asks, and never reads; the others do not even ask
			if _, err := io.WriteString(conn, "{\"version\":1,\"op\":\"status\"}\n"); err != nil {
				t.Fatal(err)
			}
		}
	}
	eventually(t, "every answer is given up", func() bool {
		return strings.Count(log.String(), "an answer was not taken") == clients/2
	})
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Serve: %v", err)
	}
	eventually(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= before })
}

// Without free descriptors the server waits, and serves when there are some again.
func TestOutOfDescriptors(t *testing.T) { // not parallel: takes every descriptor of the process
	r := run(t, well(), nil)
	r.mustServe(t)
	conn := r.dial(t)

	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	restore := func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: old.Cur, Max: old.Max}); err != nil {
			t.Error(err)
		}
	}
	defer restore()
	// The server may already have taken the first client, so a second is connected with the last descriptor.
	late, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(late) }()
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 3, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Connect(late, &unix.SockaddrUnix{Name: r.path}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the server cannot accept", func() bool { return strings.Contains(r.log.String(), "cannot accept a connection") })
	wantContains(t, r.log.String(), "too many open files")
	restore()

	if _, err := io.WriteString(conn, "{\"version\":1,\"op\":\"status\"}\n"); err != nil {
		t.Fatal(err)
	}
	wantContains(t, hear(t, conn), `"state":"ready"`)
	eventually(t, "the late client is served", func() bool {
		_, _ = unix.Write(late, []byte("{\"version\":1,\"op\":\"status\"}\n"))
		n, err := unix.Read(late, make([]byte, 100))
		return err == nil && n > 0
	})
	r.mustServe(t)
}

// An answer of the size that 100,000 relays make goes through in one piece.
func TestLargeAnswer(t *testing.T) {
	t.Parallel()
	h := well()
	h.status = func(context.Context) (*Status, error) {
		s := &Status{State: StateReady, Relays: make([]Relay, 20_000)}
		for i := range s.Relays {
			s.Relays[i].Name = fmt.Sprintf("relay-%d", i)
		}
		return s, nil
	}
	r := run(t, h, nil)
	var got Status
	if err := Call(t.Context(), r.path, OpStatus, nil, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Relays) != 20_000 || got.Relays[19_999].Name != "relay-19999" {
		t.Errorf("%d relays came through", len(got.Relays))
	}
}
