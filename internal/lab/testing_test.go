package lab

import (
	"fmt"
	"strings"
	"testing"
)

// fakeTB notes how a test was ended instead of ending one.
type fakeTB struct {
	testing.TB
	outcome string
}

func (*fakeTB) Helper() {}

func (f *fakeTB) Skipf(format string, args ...any) { f.end("skip: " + fmt.Sprintf(format, args...)) }

func (f *fakeTB) Fatalf(format string, args ...any) { f.end("fail: " + fmt.Sprintf(format, args...)) }

// end notes the first outcome: a real test would not have gone on to another.
func (f *fakeTB) end(outcome string) {
	if f.outcome == "" {
		f.outcome = outcome
	}
}

func TestRequire(t *testing.T) {
	for _, tt := range []struct {
		ci, program, want string
	}{
		{"", "sh", ""},
		{"1", "sh", ""},
		{"", "no-such-program", "skip: this test needs the program no-such-program"},
		{"1", "no-such-program", "fail: this test needs the program no-such-program"},
	} {
		t.Setenv("CI", tt.ci)
		fake := &fakeTB{}
		Require(fake, tt.program)
		if fake.outcome != tt.want {
			t.Errorf("CI=%q, %s: %q, want %q", tt.ci, tt.program, fake.outcome, tt.want)
		}
	}
}

func TestNewHostIsBare(t *testing.T) {
	t.Parallel()
	h := NewHost(t)
	if out := h.Output(t, "ip", "-br", "addr"); !strings.HasPrefix(out, "lo") || !strings.Contains(out, "127.0.0.1/8") {
		t.Errorf("a new host has %q, want loopback alone", out)
	}
	if out := h.Output(t, "ip", "route"); out != "" {
		t.Errorf("a new host has the routes %q", out)
	}
}
