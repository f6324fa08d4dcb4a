package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// openTerminal makes a pseudoterminal, see pty(7). Written to tty, text comes out of the master.
func openTerminal(t *testing.T, width, height uint16) (master, tty *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudoterminals here: %v", err)
	}
	t.Cleanup(func() { _ = master.Close() })
	fd := int(master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tty.Close() })
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Col: width, Row: height}); err != nil {
		t.Fatal(err)
	}
	return master, tty
}

// recordTerminal collects what comes out of a terminal.
func recordTerminal(master *os.File) *syncBuffer {
	out := new(syncBuffer)
	go func() {
		chunk := make([]byte, 4096)
		for {
			n, err := master.Read(chunk)
			_, _ = out.Write(chunk[:n])
			if err != nil {
				return
			}
		}
	}()
	return out
}

func env(vars map[string]string) func(string) string {
	return func(key string) string { return vars[key] }
}

func TestStatusOnTerminal(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		width      uint16
		env        map[string]string
		want, miss []string
	}{
		"colour":   {200, nil, []string{"natd \x1b[33mdegraded\x1b[0m  version", "\x1b[31mdown\x1b[0m      10.2", "\x1b[32mready\x1b[0m", "\x1b[90mdisabled\x1b[0m", "TOTAL"}, nil},
		"NO_COLOR": {200, map[string]string{"NO_COLOR": "1"}, []string{"natd degraded  version", "down      10.2"}, []string{"\x1b"}},
		"dumb":     {200, map[string]string{"TERM": "dumb"}, []string{"natd degraded  version"}, []string{"\x1b"}},
		"narrow":   {100, nil, []string{"NAME", "STATE", "PROTO", "BYTES→"}, []string{"TOTAL", "EGRESS", "SNAT"}},
		"tiny":     {20, nil, []string{"NAME", "STATE", "LISTEN", "BACKEND", "CONNS"}, []string{"TOTAL", "EGRESS", "SNAT", "PROTO", "BYTES"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			master, tty := openTerminal(t, test.width, 50)
			out := recordTerminal(master)
			a := &app{stdout: tty, stderr: tty, env: env(test.env), now: now, local: noLocal()}
			a.run(t.Context(), []string{"status", "--socket", serve(t, &fake{status: troubled()})})
			eventually(t, "the last line", func() bool { return strings.Contains(out.String(), ":8080") && strings.HasSuffix(out.String(), "\n") })
			for _, want := range test.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("want %q in:\n%q", want, out.String())
				}
			}
			for _, miss := range test.miss {
				if strings.Contains(out.String(), miss) {
					t.Errorf("want no %q in:\n%q", miss, out.String())
				}
			}
		})
	}
}

func TestWatchOnTerminal(t *testing.T) {
	t.Parallel()
	master, tty := openTerminal(t, 60, 6)
	out := recordTerminal(master)
	a := &app{stdout: tty, stderr: tty, env: env(map[string]string{"NO_COLOR": "1"}), now: now, local: noLocal()}
	_, stage := a.openStage(t.Context(), "natctl status", 2*time.Second)
	long := strings.Repeat("x", 61)
	stage.draw(long + "\nthree\nfour\nfive\n")
	stage.close()
	want := otherScreen + hideCursor + "\x1b[HEvery 2s, Ctrl-C quits: natctl status" + strings.Repeat(" ", 15) + "12:00:00\x1b[K\r\n\x1b[K\r\n" +
		strings.Repeat("x", 60) + "\x1b[K\r\nx\x1b[K\r\n… 3 more lines\x1b[K\r\n\x1b[J" +
		showCursor + firstScreen + long + "\r\nthree\r\nfour\r\nfive\r\n"
	eventually(t, "a frame", func() bool { return len(out.String()) >= len(want) })
	if out.String() != want {
		t.Errorf("got  %q\nwant %q", out.String(), want)
	}
}

func TestFold(t *testing.T) {
	t.Parallel()
	tests := []struct {
		text  string
		width int
		want  []string
	}{
		{"ab\n\nabc\n", 2, []string{"ab", "", "ab", "c"}},
		{"abc", 0, []string{"abc"}},
		{"\x1b[31mab\x1b[0mcd\n", 2, []string{"\x1b[31mab\x1b[0m", "cd"}},
		{"→→→\n", 2, []string{"→→", "→"}},
		{"", 2, nil},
	}
	for _, test := range tests {
		if diff := cmp.Diff(test.want, fold(test.text, test.width)); diff != "" {
			t.Errorf("%q on %d (-want +got):\n%s", test.text, test.width, diff)
		}
	}
}

func TestProgress(t *testing.T) {
	t.Parallel()
	master, tty := openTerminal(t, 80, 24)
	out := recordTerminal(master)
	a := &app{stderr: tty}
	a.progress("reloading")() // over at once: nothing to see
	done := a.progress("flushing")
	eventually(t, "the first second", func() bool { return strings.Contains(out.String(), "\rnatctl: flushing, 1 s") })
	done()
	eventually(t, "the line is wiped", func() bool { return strings.HasSuffix(out.String(), "\r\x1b[K") })
	if strings.Contains(out.String(), "reloading") {
		t.Errorf("progress of what took no time: %q", out.String())
	}
}

// However narrow the screen: the columns that stay fit, or none is left that may go.
func TestTableFits(t *testing.T) {
	t.Parallel()
	relays := troubled().Relays
	for width := 1; width < 150; width++ {
		var b strings.Builder
		relayTable(relays, now()).write(&b, screen{width: width})
		head, _, _ := strings.Cut(b.String(), "\n")
		if got := utf8.RuneCountInString(head); got > width && strings.Contains(head, "PROTO") {
			t.Errorf("the head has %d characters on a screen of %d: %s", got, width, head)
		}
		for _, must := range []string{"NAME", "STATE", "LISTEN", "BACKEND", "CONNS"} {
			if !strings.Contains(head, must) {
				t.Errorf("no %s on a screen of %d: %s", must, width, head)
			}
		}
	}
}
