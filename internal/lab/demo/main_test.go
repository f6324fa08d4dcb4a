package main

import (
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"natd/internal/lab"
)

// These stand in for natd, each wrong in its own way.
const (
	broken  = "echo 'natd: no such key' >&2; exit 1"
	idle    = "exec sleep 60"
	careful = `nft -f - <<-'END'
		table inet natd {
			chain prerouting {
				type nat hook prerouting priority dstnat
				ip daddr 10.2.0.100 tcp dport 80 dnat ip to 10.3.0.100 comment "web"
			}
			chain postrouting {
				type nat hook postrouting priority srcnat
				ip daddr 10.3.0.100 ct status dnat snat ip to 10.2.0.100
			}
		}
	END
	echo 1 >/proc/sys/net/ipv4/ip_forward
	exec sleep 60`
)

// sayReady stands in for natctl: it calls natd ready once packets are forwarded.
const sayReady = `[ "$(cat /proc/sys/net/ipv4/ip_forward)" = 1 ]`

func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "script")
	lab.Check(t, os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755))
	return path
}

// TestDemoTellsWhatIsWrong runs the demo with programs that do not do their work. The last one does all of it but
// repair, so that every step before is known to pass with hand-written rules.
func TestDemoTellsWhatIsWrong(t *testing.T) {
	t.Parallel()
	lab.New(t) // skips where the demo could not run
	lab.Require(t, "nginx", "curl", "tcpdump")
	tests := []struct {
		name, natd, natctl string
		want               []string
		wantNot            string
	}{
		{"natd ends", broken, "exit 4", []string{"natd: no such key", "exit status 1"}, "relay"},
		{"natd does nothing", idle, "exit 0", []string{"the relay does not work", "natd made B forward packets", "A sees"}, "flush"},
		{"natd does not repair", careful, sayReady, []string{"not as it should be: A opens the page", "the download"}, "A sees"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			err := run(t.Context(), []string{"--natd", script(t, tt.natd), "--natctl", script(t, tt.natctl)}, &out)
			if err == nil {
				t.Fatalf("no error; it told:\n%s", &out)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error does not name %q: %v\n%s", want, err, &out)
				}
			}
			if strings.Contains(err.Error(), tt.wantNot) {
				t.Errorf("the error names %q: %v\n%s", tt.wantNot, err, &out)
			}
		})
	}
}

func TestInterrupted(t *testing.T) {
	t.Parallel()
	lab.New(t)
	lab.Require(t, "nginx", "curl", "tcpdump")
	ctx, cancel := context.WithCancel(t.Context())
	started := filepath.Join(t.TempDir(), "started")
	go func() {
		defer cancel()
		_ = lab.Await(ctx, time.Minute, func() error { _, err := os.Stat(started); return err })
	}()
	var out strings.Builder
	err := run(ctx, []string{"--natd", script(t, "touch "+started+"; "+idle), "--natctl", script(t, "exit 4")}, &out)
	if err == nil || err.Error() != "interrupted" {
		t.Errorf("got %v, want it to say that it was interrupted\n%s", err, &out)
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	if err := run(t.Context(), []string{"--help"}, &strings.Builder{}); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("--help: got %v", err)
	}
	if os.Geteuid() != 0 {
		return // what follows comes after the question for root
	}
	err := run(t.Context(), []string{"--natd", "/no/such/natd"}, &strings.Builder{})
	if err == nil || !strings.Contains(err.Error(), "make build") {
		t.Errorf("got %v, want the remedy", err)
	}
}
