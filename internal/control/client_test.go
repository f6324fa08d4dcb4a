package control

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// answerWith serves one connection with a daemon that says just this, after it has read the request.
func answerWith(t *testing.T, say func(io.Writer)) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "natd.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		if _, err := bufio.NewReader(conn).ReadString('\n'); err == nil {
			say(conn)
		}
	}()
	return path
}

func text(s string) func(io.Writer) {
	return func(w io.Writer) { _, _ = io.WriteString(w, s) }
}

func TestCallOddAnswers(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		say  func(io.Writer)
		code int
		want string
	}{
		"newer natd, more fields": {text(`{"version":1,"ok":true,"data":{"state":"ready","moods":["good"]},"took":3}` + "\n"), CodeOK, ""},
		"error":                   {text(`{"version":1,"ok":false,"error":{"code":3,"message":"line 3"}}` + "\n"), CodeConfig, "line 3"},
		"error, other protocol":   {text(`{"version":2,"ok":false,"error":{"code":1,"message":"I speak 2"}}` + "\n"), CodeFailed, "I speak 2"},
		"other protocol":          {text(`{"version":2,"ok":true,"data":{}}` + "\n"), CodeFailed, "natd speaks protocol version 2, natctl version 1"},
		"no error":                {text(`{"version":1,"ok":false}` + "\n"), CodeFailed, "without saying why"},
		"error of code 0":         {text(`{"version":1,"ok":false,"error":{"code":0,"message":"?"}}` + "\n"), CodeFailed, "without saying why"},
		"hangs up":                {text(""), CodeFailed, "natd hung up"},
		"hangs up in the middle":  {text(`{"version":1,"ok":true,"data":{"sta`), CodeFailed, "natd hung up"},
		"not natd":                {text("220 smtp ready\r\n"), CodeFailed, "is not natd"},
		"other types":             {text(`{"version":1,"ok":true,"data":{"state":7}}` + "\n"), CodeFailed, "is not natd, or of another release"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got Status
			err := Call(t.Context(), answerWith(t, test.say), OpStatus, nil, &got)
			if test.code == CodeOK {
				if err != nil || got.State != StateReady {
					t.Errorf("got %v, %+v", err, got)
				}
				return
			}
			wantError(t, err, test.code, test.want)
		})
	}
}

func wantError(t *testing.T, err error, code int, want string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want an Error", err)
	}
	if e.Code != code || !strings.Contains(e.Message, want) {
		t.Errorf("got %d %q, want %d with %q", e.Code, e.Message, code, want)
	}
}

func TestCallNobodyThere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	stale, file := filepath.Join(dir, "stale"), filepath.Join(dir, "file")
	if err := errors.Join(leaveStale(stale), os.WriteFile(file, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	const left, none = "the socket is there, but nobody listens", "there is no such socket"
	for path, cause := range map[string]string{
		stale: left, file: left, filepath.Join(dir, "missing"): none, filepath.Join(dir, "no", "directory"): none,
	} {
		err := Call(t.Context(), path, OpStatus, nil, new(Status))
		wantError(t, err, CodeUnreachable, "natd does not answer on "+path+": is it running? systemctl status natd ("+cause)
		if !NotRunning(err) {
			t.Errorf("%s: not told as not running: %v", path, err)
		}
	}
	long := filepath.Join(dir, strings.Repeat("x", 200))
	wantError(t, Call(t.Context(), long, OpStatus, nil, new(Status)), CodeUnreachable, "natd does not answer on "+long)
}

// A daemon that hangs is not the same as none: only without one may natctl do its work.
func TestCallHangingDaemon(t *testing.T) {
	t.Parallel()
	hang := make(chan struct{})
	defer close(hang)
	path := answerWith(t, func(io.Writer) { <-hang })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := Call(ctx, path, OpStatus, nil, new(Status))
	wantError(t, err, CodeUnreachable, "does not answer: does it hang?")
	if NotRunning(err) {
		t.Errorf("told as not running: %v", err)
	}
}

func TestCallInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	hang := make(chan struct{})
	defer close(hang)
	path := answerWith(t, func(io.Writer) {
		cancel()
		<-hang
	})
	wantError(t, Call(ctx, path, OpReload, nil, new(Outcome)), CodeFailed, "interrupted")
	wantError(t, Call(ctx, path, OpReload, nil, new(Outcome)), CodeFailed, "interrupted")
}

func TestCallUnencodableArgs(t *testing.T) {
	t.Parallel()
	wantError(t, Call(t.Context(), "/nowhere", OpStatus, func() {}, nil), CodeFailed, "encode the arguments of status")
}

// An answer without end does not fill the memory of natctl.
func TestCallEndlessAnswer(t *testing.T) {
	t.Parallel()
	endless := io.MultiReader(strings.NewReader(`{"version":1,"ok":true,"data":{"version":"`), xs{})
	limited := &io.LimitedReader{R: endless, N: 1 << 20}
	wantError(t, receiveAnswer(t.Context(), "/run/x", limited, new(Status)), CodeFailed, "the answer of natd has more than 256 MiB")
}

// xs is an endless text.
type xs struct{}

func (xs) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}
