package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"natd/internal/lab"
)

// hiccup is the longest silence of a busy connection that a loaded machine excuses. A connection that breaks is silent
// for ever, one that lost packets for at least 0.2 s (TCP_RTO_MIN of linux/tcp.h) and then twice as long each time.
const hiccup = time.Second

// portRelay relays port 7000 to the echo server on C, whose address is in place of %s.
const portRelay = `
[[relay]]
name = "echo"
listen = "10.2.0.100:7000"
protocol = ["tcp", "udp"]
from = ["10.1.0.0/16"]
to = [%q]
`

// newEchoBox is a box with echo servers on C, and with a natd that is ready.
func newEchoBox(t *testing.T, protect string) *box {
	t.Helper()
	b := newBox(t)
	_, err := b.C.EchoTCP("10.3.0.100:7000")
	lab.Check(t, err)
	_, err = b.C.EchoUDP("10.3.0.100:7000")
	lab.Check(t, err)
	b.start(hourly(protect) + fmt.Sprintf(portRelay, "10.3.0.100:7000"))
	return b
}

// TestFlushUnderConnection flushes the ruleset under a busy connection, as nftables.service does when it is restarted.
func TestFlushUnderConnection(t *testing.T) {
	t.Parallel()
	for _, protect := range []string{"own", "guard"} {
		t.Run(protect, func(t *testing.T) {
			t.Parallel()
			b := newEchoBox(t, protect)
			whole := b.table("inet natd")
			talk := b.converse()
			for range 8 {
				b.nft("flush ruleset")
				b.awaitTable(whole)
				talk.goesOn(t)
			}
			talk.end(t)
		})
	}
}

// TestRestartUnderConnection ends natd in every way and starts it again under a busy connection. With nothing changed, the
// next natd adopts the table as it is, to the last handle, and no tracked connection is lost.
func TestRestartUnderConnection(t *testing.T) {
	t.Parallel()
	for _, protect := range []string{"own", "guard"} {
		t.Run(protect, func(t *testing.T) {
			t.Parallel()
			lab.Require(t, "conntrack")
			b := newEchoBox(t, protect)
			talk := b.converse()
			whole, tracked := b.handles(), b.entries("tcp", "7000")
			for _, end := range []func(*lab.Process) error{(*lab.Process).Stop, (*lab.Process).Kill} {
				lab.Check(t, end(b.natd))
				talk.goesOn(t)
				b.launch()
				b.awaitReady()
				if now := b.handles(); now != whole {
					t.Errorf("the table was\n%s\nand became\n%s", whole, now)
				}
			}
			if now := b.entries("tcp", "7000"); now != tracked {
				t.Errorf("connection tracking had\n%s\nand has\n%s", tracked, now)
			}
			talk.end(t)
		})
	}
}

// TestKillDuringStart kills natd at random moments of its start, which begins with an empty table, with one that is as it
// should be, and with one that somebody damaged.
func TestKillDuringStart(t *testing.T) {
	t.Parallel()
	for _, protect := range []string{"own", "guard"} {
		t.Run(protect, func(t *testing.T) {
			t.Parallel()
			b := newEchoBox(t, protect)
			whole := b.table("inet natd")
			talk := b.converse()
			b.kill()
			ready := 0
			for i := range 12 {
				if i%2 == 1 {
					b.nft("insert rule inet natd forward ip daddr 192.0.2.1 drop")
				}
				b.launch()
				time.Sleep(rand.N(150 * time.Millisecond))
				b.kill()
				if strings.Contains(b.natd.Log(), "msg=ready") {
					ready++
				}
				talk.goesOn(t)
			}
			t.Logf("%d of 12 were ready when they were killed", ready)
			b.launch()
			b.awaitReady()
			b.awaitTable(whole)
			talk.end(t)
		})
	}
}

// TestOnStop wants on_stop = "remove" to leave nothing behind, and "keep" to leave the relay at work.
func TestOnStop(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.nft(neighbour)
	before := b.state()
	b.start("[daemon]\non_stop = \"remove\"\n" + fmt.Sprintf(portRelay, "10.3.0.100:7000"))
	if during := b.state(); during == before {
		t.Fatal("a natd that is ready changed nothing: the test sees too little")
	}
	lab.Check(t, b.natd.Stop())
	lab.Check(t, b.natd.Err())
	wantSame(t, before, b.state())
}

// TestFlushCommand wants natctl flush to undo everything that natd did, whether natd runs or not.
func TestFlushCommand(t *testing.T) {
	t.Parallel()
	for _, running := range []bool{true, false} {
		for _, protect := range []string{"own", "guard"} {
			t.Run(fmt.Sprintf("%s,running=%v", protect, running), func(t *testing.T) {
				t.Parallel()
				b := newBox(t)
				b.nft(neighbour)
				before := b.state()
				_, err := b.C.EchoTCP("10.3.0.100:7000")
				lab.Check(t, err)
				b.start(hourly(protect) + fmt.Sprintf(portRelay, "10.3.0.100:7000"))
				talk := b.converse()
				if !running {
					b.kill()
				}
				if out, errs, code := b.natctl("flush", "--state", filepath.Join(b.dir, "state")); code != 0 {
					t.Fatalf("natctl flush exits %d:\n%s%s", code, out, errs)
				}
				talk.breaks(t)
				wantSame(t, before, b.state())
				if tracked := b.entries("tcp", ""); strings.Contains(tracked, "dport=7000") {
					t.Errorf("still tracked:\n%s", tracked)
				}
				b.revive(running)
				b.awaitReady()
				b.converse().end(t)
			})
		}
	}
}

// TestFlushAmongWriters wants natctl flush to succeed while another program changes its own table all the time.
func TestFlushAmongWriters(t *testing.T) {
	t.Parallel()
	b := newEchoBox(t, "auto")
	writer, err := b.B.Start("sh", "-c", "while :; do echo 'add table ip busy; delete table ip busy' | nft -f -; done")
	lab.Check(t, err)
	for i := range 10 {
		running := i%2 == 0
		if !running {
			b.kill()
		}
		if out, errs, code := b.natctl("flush", "--state", filepath.Join(b.dir, "state")); code != 0 {
			t.Errorf("natctl flush exits %d:\n%s%s", code, out, errs)
		}
		b.revive(running)
		b.awaitReady()
	}
	lab.Check(t, writer.Kill())
	b.converse().end(t)
}

// revive makes natd relay again after a flush.
func (b *box) revive(running bool) {
	b.t.Helper()
	if !running {
		b.launch()
		return
	}
	if out, errs, code := b.natctl("reload"); code != 0 {
		b.t.Fatalf("natctl reload exits %d:\n%s%s", code, out, errs)
	}
}

// handles is natd's table with the handles of everything in it, without the counts and the name of the owner.
func (b *box) handles() string {
	b.t.Helper()
	listed, err := b.B.Run(b.t.Context(), "nft", "-s", "-a", "list", "table", "inet", "natd")
	lab.Check(b.t, err)
	listed = regexp.MustCompile(` # progname [^#\n]*`).ReplaceAllString(listed, "")
	return regexp.MustCompile(`(?m)^\s*flags .*\n`).ReplaceAllString(listed, "")
}

// state is everything on host B that natd may change: rulesets, and the settings of IPv4 and connection tracking.
func (b *box) state() string {
	b.t.Helper()
	var text strings.Builder
	rules, err := b.B.Run(b.t.Context(), "nft", "-s", "list", "ruleset")
	lab.Check(b.t, err)
	text.WriteString(rules)
	err = b.B.Do(func() error {
		for _, dir := range []string{"/proc/sys/net/ipv4", "/proc/sys/net/netfilter"} {
			if err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, _ error) error {
				value, err := os.ReadFile(path)
				if err == nil && entry.Name() != "nf_conntrack_count" {
					fmt.Fprintf(&text, "%s = %s\n", path, strings.TrimSpace(string(value)))
				}
				return nil // directories, and settings that can only be written
			}); err != nil {
				return err
			}
		}
		return nil
	})
	lab.Check(b.t, err)
	return text.String()
}

// wantSame names the lines that differ.
func wantSame(t *testing.T, before, after string) {
	t.Helper()
	was, is := strings.Split(before, "\n"), strings.Split(after, "\n")
	for _, line := range missing(was, is) {
		t.Errorf("was, and is no more: %s", line)
	}
	for _, line := range missing(is, was) {
		t.Errorf("is, and was not: %s", line)
	}
}

// missing is the lines of a that b has not.
func missing(a, b []string) (lines []string) {
	has := make(map[string]bool, len(b))
	for _, line := range b {
		has[line] = true
	}
	for _, line := range a {
		if !has[line] {
			lines = append(lines, line)
		}
	}
	return lines
}

// conversation is a connection through the relay on which something is said and echoed every few milliseconds.
type conversation struct {
	conn net.Conn
	done chan struct{}

	mu      sync.Mutex
	rounds  int
	longest time.Duration
	err     error
}

// converse begins to talk from A to the echo server through the relay.
func (b *box) converse() *conversation {
	b.t.Helper()
	return b.converseFrom("10.1.0.100", "10.2.0.100:7000")
}

// converseFrom is converse from an address of A, by way of a listen address.
func (b *box) converseFrom(client, listen string) *conversation {
	b.t.Helper()
	conn, err := b.A.DialFrom(b.t.Context(), "tcp", netip.MustParseAddr(client), listen)
	lab.Check(b.t, err)
	c := &conversation{conn: conn, done: make(chan struct{})}
	b.t.Cleanup(func() { _ = conn.Close() })
	go c.talk()
	c.goesOn(b.t)
	return c
}

func (c *conversation) talk() {
	defer close(c.done)
	for said := []byte("natd"); ; time.Sleep(3 * time.Millisecond) {
		began := time.Now()
		heard := make([]byte, len(said))
		_ = c.conn.SetDeadline(began.Add(patience))
		_, err := c.conn.Write(said)
		if err == nil {
			_, err = io.ReadFull(c.conn, heard)
		}
		c.mu.Lock()
		c.rounds, c.longest, c.err = c.rounds+1, max(c.longest, time.Since(began)), err
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// goesOn wants more to be said and echoed.
func (c *conversation) goesOn(t testing.TB) {
	t.Helper()
	c.mu.Lock()
	before := c.rounds
	c.mu.Unlock()
	lab.Eventually(t, 2*patience, func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.err == nil && c.rounds < before+3 {
			return errors.New("the conversation has stopped")
		}
		return nil
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		t.Fatalf("the conversation ended after %d rounds: %v", c.rounds, c.err)
	}
}

// end ends a conversation that must not have had a gap.
func (c *conversation) end(t *testing.T) {
	t.Helper()
	c.goesOn(t)
	lab.Check(t, c.conn.Close())
	<-c.done
	t.Logf("%d rounds, the longest took %v", c.rounds, c.longest.Round(time.Millisecond/10))
	if c.longest > hiccup {
		t.Errorf("the connection was silent for %v", c.longest)
	}
}

// breaks wants the other side to end the conversation soon.
func (c *conversation) breaks(t *testing.T) {
	t.Helper()
	select {
	case <-c.done:
	case <-time.After(patience):
		t.Fatal("the conversation goes on")
	}
	if c.err == nil || errors.Is(c.err, os.ErrDeadlineExceeded) {
		t.Errorf("after %d rounds the conversation ended with %v, want an end by the other side", c.rounds, c.err)
	}
	t.Logf("it broke after %v: %v", c.longest.Round(time.Millisecond), c.err)
}
