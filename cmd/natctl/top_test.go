package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"natd/internal/control"
)

// conn is a connection of the tests that has carried so many bytes and packets each way.
func conn(name, client, target string, bytes, packets uint64) control.Connection {
	return control.Connection{
		Kind: control.KindRelay, Relay: name, Protocol: "tcp", State: "ESTABLISHED", Client: client, Listen: "10.2.0.100:80",
		SNAT: strings.Replace(client, "10.1.", "10.2.", 1), Target: target,
		Bytes: control.Volume{ToTarget: bytes, ToClient: 10 * bytes}, Packets: control.Volume{ToTarget: packets, ToClient: 2 * packets},
	}
}

// looks is two answers, two seconds apart.
func looks() (before, now look) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	before = look{at, &control.ConnectionList{Connections: []control.Connection{
		conn("web", "10.1.0.100:1", "10.3.0.100:80", 1000, 10),
		conn("web", "10.1.0.100:2", "10.3.0.101:80", 9000, 90),
		conn("web", "10.1.0.9:3", "10.3.0.100:80", 500, 5),
		conn("web", "10.1.0.100:9", "10.3.0.100:80", 1, 1), // ends
	}}}
	now = look{at.Add(2 * time.Second), &control.ConnectionList{
		Matched: 5, Active: 4, Conntrack: control.Conntrack{Entries: 7, Max: 100},
		Connections: []control.Connection{
			conn("web", "10.1.0.100:1", "10.3.0.100:80", 5000, 50),
			conn("web", "10.1.0.100:2", "10.3.0.101:80", 9000, 90),
			conn("web", "10.1.0.9:3", "10.3.0.100:80", 200, 2), // another connection took its place
			conn("dns", "10.1.0.10:4", "10.3.0.53:53", 600, 6), // new
			conn("dns", "10.1.0.10:5", "10.3.0.53:53", 0, 0),   // new
		},
	}}
	return before, now
}

func TestMeasure(t *testing.T) {
	t.Parallel()
	before, now := looks()
	m := measure(&before, now)
	if *m.fresh != 1.5 || m.total.ByteRate != (speed{2400, 24000}) || m.total.PacketRate != (speed{24, 48}) {
		t.Errorf("%v new, %+v", *m.fresh, m.total)
	}
	order := func(by string) (clients []string) {
		sortConnections(m.connections, by)
		for _, c := range m.connections {
			clients = append(clients, strings.TrimPrefix(c.Client, "10.1.0."))
		}
		return clients
	}
	for by, want := range map[string][]string{
		sortByRate:            {"100:1", "10:4", "9:3", "100:2", "10:5"},
		control.SortByBytes:   {"100:2", "100:1", "10:4", "9:3", "10:5"},
		control.SortByPackets: {"100:2", "100:1", "10:4", "9:3", "10:5"},
		control.SortByTimeout: {"9:3", "10:4", "10:5", "100:1", "100:2"},
		control.SortByClient:  {"9:3", "10:4", "10:5", "100:1", "100:2"},
	} {
		if diff := cmp.Diff(want, order(by)); diff != "" {
			t.Errorf("by %s (-want +got):\n%s", by, diff)
		}
	}
	for by, want := range map[string]string{
		byClient: "10.1.0.100 2 2000, 10.1.0.10 2 300, 10.1.0.9 1 100", byRelay: "web 3 2100, dns 2 300",
		byTarget: "10.3.0.100:80 2 2100, 10.3.0.53:53 2 300, 10.3.0.101:80 1 0",
	} {
		var got []string
		all := groups(m.connections, by)
		sortGroups(all, sortByRate)
		for _, g := range all {
			got = append(got, fmt.Sprintf("%s %d %.0f", g.Name, g.Connections, g.ByteRate.ToTarget))
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("by %s: %s, want %s", by, strings.Join(got, ", "), want)
		}
	}
	if first := measure(nil, now); first.total != nil || first.connections[0].rates != nil {
		t.Errorf("one look knows rates: %+v", first)
	}
}

// To what is no terminal, --top is one round.
func TestTopOnce(t *testing.T) {
	t.Parallel()
	_, now := looks()
	f := &fake{list: *now.list}
	socket := serve(t, f)
	args := []string{"connections", "--top", "--interval", "100ms", "--limit", "2", "--socket", socket}
	run(t, args...).want(t, 0, `
conntrack 7/100, 5 connections, 4 active, 0.0 new/s
0 B/s and 0 packets/s to targets, 0 B/s and 0 packets/s to clients

NAME  PROTO  STATE        CLIENT        LISTEN         SNAT          TARGET         B/S→  B/S←  PKT/S→  PKT/S←   BYTES→    BYTES←
web   tcp    ESTABLISHED  10.1.0.100:2  10.2.0.100:80  10.2.0.100:2  10.3.0.101:80   0 B   0 B       0       0  8.8 KiB  87.9 KiB
web   tcp    ESTABLISHED  10.1.0.100:1  10.2.0.100:80  10.2.0.100:1  10.3.0.100:80   0 B   0 B       0       0  4.9 KiB  48.8 KiB
`[1:], "")
	if got := f.rounds(); got != 2 {
		t.Errorf("natd was asked %d times, want twice", got)
	}
	if f.which.Limit != control.MaxConnections {
		t.Errorf("natd was asked for %d connections: the fastest may be another", f.which.Limit)
	}
	doc := run(t, append(args, "--json", "--by", "relay")...).document(t)
	for path, want := range map[string]any{"groups.0.name": "web", "groups.0.connections": 3.0, "groups.0.bytes_per_second.to_target": 0.0, "matched": 5.0, "interval_seconds": 0.1, "new_per_second": 0.0} {
		if got, _ := at(doc, path); got != want {
			t.Errorf("%s = %v, want %v", path, got, want)
		}
	}
	doc = run(t, "connections", "--sort", "rate", "--interval", "100ms", "--json", "--socket", socket).document(t)
	if got, _ := at(doc, "connections.0.packets_per_second.to_client"); got != 0.0 {
		t.Errorf("--sort rate: %v", doc)
	}
}

// Filters, order and limit are natd's work.
func TestConnectionsFiltered(t *testing.T) {
	t.Parallel()
	f := &fake{list: control.ConnectionList{Truncated: true, Matched: 45, Connections: []control.Connection{conn("web", "10.1.0.100:1", "10.3.0.100:80", 1, 1)}}}
	socket := serve(t, f)
	got := run(t, "connections", "--client", "10.1.0.0/16", "--state", "established", "--protocol", "tcp", "--sort", "bytes", "--limit", "1", "--socket", socket)
	if got.code != 0 || !strings.HasSuffix(got.stdout, "\n1 of 45 connections\n") {
		t.Errorf("%+v", got)
	}
	if w := f.which; w.Client.String() != "10.1.0.0/16" || w.State != "ESTABLISHED" || w.Protocol != 6 || w.Sort != "bytes" || w.Limit != 1 {
		t.Errorf("natd was asked for %+v", w)
	}
	f.list = control.ConnectionList{}
	run(t, "connections", "--client", "10.1.0.1", "--socket", socket).want(t, 0, "no connections that match\n", "")
}

func TestConnectionsUsage(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"--client web": `client "web" must be an address`, "--target 10.3.0.100:x": `target "10.3.0.100:x"`, "--snat :80": `snat ":80"`,
		"--state OPEN": `state "OPEN" must be one of CLOSE, CLOSED,`, "--protocol tpc": `protocol "tpc"`, "--limit -1": "limit -1",
		"--sort size": `sort "size" must be one of bytes, packets, rate, timeout, client`, "--by client": "--by is for --top",
		"--top --by host": `--by "host" must be one of`, "--top --by relay --sort timeout": "only connections have a timeout",
		"--interval 2s": "--interval is for --top", "--top --interval 1ms": "it must be at least 100ms",
	} {
		run(t, append([]string{"connections"}, strings.Fields(args)...)...).wantError(t, control.CodeUsage, want)
	}
}

func TestCompletionOfConnections(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"--sort ": "bytes\npackets\nrate\ntimeout\nclient\n:4\n", "--by ": "connection\nclient\nrelay\ntarget\n:4\n", "--protocol ": "tcp\nudp\nsctp\nicmp\nipv6-icmp\n:4\n",
	} {
		if got := run(t, append([]string{"__complete", "connections"}, strings.Split(args, " ")...)...); !strings.HasPrefix(got.stdout, want) {
			t.Errorf("%s: %q", args, got.stdout)
		}
	}
	socket := serve(t, &fake{status: troubled()})
	if got := run(t, "__complete", "flows", "--socket", socket, "--relay", ""); !strings.HasPrefix(got.stdout, "web\ndns\nold\n:4\n") {
		t.Errorf("relays: %q", got.stdout)
	}
}

// onTerminal runs the real program on a terminal of its own, as a shell does.
func onTerminal(t *testing.T, width, height uint16, args ...string) (keys *os.File, out *syncBuffer, cmd *exec.Cmd) {
	t.Helper()
	master, tty := openTerminal(t, width, height)
	out = recordTerminal(master)
	cmd = exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), helperEnv+"=1", "GORACE=atexit_sleep_ms=0", "TERM=xterm", "NO_COLOR=")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return master, out, cmd
}

// TestTopKeys quits by a key, and by Ctrl-C, and leaves the terminal as it was.
func TestTopKeys(t *testing.T) {
	t.Parallel()
	for name, key := range map[string]string{"q": "q", "Ctrl-C": "\x03", "Ctrl-D": "\x04"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, now := looks()
			f := &fake{list: *now.list}
			keys, out, cmd := onTerminal(t, 60, 7, "connections", "--top", "--interval", "1h", "--socket", serve(t, f))
			eventually(t, "the first round", func() bool { return strings.Contains(out.String(), "more lines") })
			const byLine = unix.ICANON | unix.ECHO
			if modes(t, keys)&byLine != 0 {
				t.Errorf("keys are not read one by one")
			}
			_, _ = keys.WriteString(" ")
			eventually(t, "a round for the key", func() bool { return f.rounds() >= 2 })
			_, _ = keys.WriteString(key)
			if err := cmd.Wait(); err != nil {
				t.Errorf("it ends with %v", err)
			}
			eventually(t, "the screen is given back", func() bool { return strings.Contains(out.String(), showCursor+firstScreen) })
			if modes(t, keys)&byLine != byLine {
				t.Errorf("the terminal is not as it was")
			}
			wantFits(t, out.String(), 60, 7)
		})
	}
}

// modes is the local modes of a terminal, see termios(3).
func modes(t *testing.T, tty *os.File) uint32 {
	t.Helper()
	settings, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return settings.Lflag
}

// wantFits wants the first round to fill a screen, and no more. The last line is where the cursor rests.
func wantFits(t *testing.T, out string, width, height int) {
	t.Helper()
	screen, _, _ := strings.Cut(out, eraseToEnd)
	_, screen, _ = strings.Cut(screen, cursorHome)
	lines := strings.Split(strings.ReplaceAll(screen, eraseToEOL, ""), "\r\n")
	for _, line := range lines {
		if utf8.RuneCountInString(line) > width {
			t.Errorf("a line of more than %d characters: %q", width, line)
		}
	}
	if len(lines) != height {
		t.Errorf("%d lines on a screen of %d:\n%s", len(lines), height, screen)
	}
}

// A window that is resized shows it at once.
func TestStatusResized(t *testing.T) {
	t.Parallel()
	f := &fake{status: troubled()}
	keys, _, cmd := onTerminal(t, 100, 30, "status", "--watch", "--interval", "1h", "--socket", serve(t, f))
	eventually(t, "the first round", func() bool { return f.rounds() >= 1 })
	eventually(t, "a round for the new size", func() bool {
		size := &unix.Winsize{Col: 80 + uint16(f.rounds()), Row: 24}
		if err := unix.IoctlSetWinsize(int(keys.Fd()), unix.TIOCSWINSZ, size); err != nil {
			t.Fatal(err)
		}
		return f.rounds() >= 2
	})
	_, _ = keys.WriteString("q")
	_ = cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != control.CodeDegraded {
		t.Errorf("exit %d, want that of the last state", got)
	}
}

// TestTopDumb draws nothing on a terminal that cannot be steered: it is one round.
func TestTopDumb(t *testing.T) {
	t.Parallel()
	_, now := looks()
	_, tty := openTerminal(t, 100, 30)
	a := &app{stdin: tty, stdout: tty, stderr: new(bytes.Buffer), env: env(map[string]string{"TERM": "dumb"}), local: noLocal()}
	a.now = time.Now
	if code := a.run(t.Context(), []string{"connections", "--top", "--interval", "100ms", "--socket", serve(t, &fake{list: *now.list})}); code != 0 {
		t.Errorf("exit %d", code)
	}
}
