package lab

import (
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestProcessEndings(t *testing.T) {
	t.Parallel()
	h := NewHost(t)
	tests := []struct {
		name, script string
		end          func(*Process) error
		wantErr      string // of the process, in part
		wantEndErr   string // of ending it, in part
	}{
		{"ends by itself", "echo up; exit 7", func(*Process) error { return nil }, "exit status 7", ""},
		{"stops", "trap 'exit 0' TERM; echo up; while :; do sleep 0.01; done", (*Process).Stop, "", ""},
		{"killed", "echo up; exec sleep 1000", (*Process).Kill, "killed", ""},
		{"ignores SIGTERM", "trap '' TERM; echo up; while :; do sleep 0.1; done", (*Process).Stop, "killed", "ignored SIGTERM"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := h
			p, err := h.Start("sh", "-c", tt.script)
			Check(t, err)
			Check(t, p.AwaitLog(t.Context(), patience, "up"))
			if got := text(tt.end(p)); !strings.Contains(got, tt.wantEndErr) || (tt.wantEndErr == "") != (got == "") {
				t.Errorf("ending it: %q, want %q", got, tt.wantEndErr)
			}
			<-p.Done()
			if got := text(p.Err()); !strings.Contains(got, tt.wantErr) || (tt.wantErr == "") != (got == "") {
				t.Errorf("it ended with %q, want %q", got, tt.wantErr)
			}
			Check(t, p.Stop()) // of what has ended already
			Check(t, p.Kill())
		})
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestProcessSignal(t *testing.T) {
	t.Parallel()
	h := NewHost(t)
	// Debian's sh loses a signal that comes while it starts a command.
	p, err := h.Start("sh", "-c", "trap 'echo hup' HUP; sleep 60 & echo up; wait; wait")
	Check(t, err)
	Check(t, p.AwaitLog(t.Context(), patience, "up"))
	if p.Err() == nil {
		t.Error("a running process has an error that tells so")
	}
	Check(t, p.Signal(syscall.SIGHUP))
	Check(t, p.AwaitLog(t.Context(), patience, "hup"))
}

func TestProcessAwaitGivesUpWhenItEnds(t *testing.T) {
	t.Parallel()
	h := NewHost(t)
	p, err := h.Start("sh", "-c", "echo no such config >&2; exit 3")
	Check(t, err)
	start := time.Now()
	err = p.AwaitLog(t.Context(), time.Minute, "ready")
	if err == nil || time.Since(start) > patience {
		t.Fatalf("got %v after %v, want an error at once", err, time.Since(start))
	}
	for _, want := range []string{"sh in host", "exit status 3", "no such config", `"ready" not written yet`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not tell %q: %v", want, err)
		}
	}
	if _, err := h.Start("no-such-program"); err == nil {
		t.Error("started a program that does not exist")
	}
}

func TestTail(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		in   string
		n    int
		want string
	}{{"", 2, ""}, {"a\n", 2, "a"}, {"a\nb\n\nc\n", 2, "b\nc"}} {
		if got := tail(tt.in, tt.n); got != tt.want {
			t.Errorf("tail(%q, %d) = %q, want %q", tt.in, tt.n, got, tt.want)
		}
	}
}
