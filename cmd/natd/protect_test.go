package main

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"natd/internal/lab"
)

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
	return newEchoBoxOf(t, ipv4, protect)
}

// newEchoBoxOf is newEchoBox in a family.
func newEchoBoxOf(t *testing.T, f family, protect string) *box {
	t.Helper()
	b := newBoxOf(t, f)
	_, err := b.C.EchoTCP(b.say("10.3.0.100:7000"))
	lab.Check(t, err)
	_, err = b.C.EchoUDP(b.say("10.3.0.100:7000"))
	lab.Check(t, err)
	b.start(hourly(protect) + fmt.Sprintf(portRelay, "10.3.0.100:7000"))
	return b
}

// TestFlushUnderConnection flushes the ruleset under a busy connection, as nftables.service does when it is restarted.
func TestFlushUnderConnection(t *testing.T) {
	t.Parallel()
	for _, protect := range protecting(t) {
		t.Run(protect, func(t *testing.T) {
			t.Parallel()
			inFamilies(t, func(t *testing.T, f family) {
				b := newEchoBoxOf(t, f, protect)
				whole := b.table("inet natd")
				talk := b.converse()
				for range 8 {
					b.nft("flush ruleset")
					b.awaitTable(whole)
					talk.GoesOn(t)
				}
				talk.End(t)
			})
		})
	}
}

// TestRestartUnderConnection ends natd in every way and starts it again under a busy connection. With nothing changed, the
// next natd adopts the table as it is, to the last handle, and no tracked connection is lost.
func TestRestartUnderConnection(t *testing.T) {
	t.Parallel()
	for _, protect := range protecting(t) {
		t.Run(protect, func(t *testing.T) {
			t.Parallel()
			inFamilies(t, func(t *testing.T, f family) {
				lab.Require(t, "conntrack")
				b := newEchoBoxOf(t, f, protect)
				talk := b.converse()
				whole, tracked := b.handles(), b.entries("tcp", "7000")
				for _, end := range []func(*lab.Process) error{(*lab.Process).Stop, (*lab.Process).Kill} {
					lab.Check(t, end(b.natd))
					talk.GoesOn(t)
					b.launch()
					b.awaitReady()
					if now := b.handles(); now != whole {
						t.Errorf("the table was\n%s\nand became\n%s", whole, now)
					}
				}
				if now := b.entries("tcp", "7000"); now != tracked {
					t.Errorf("connection tracking had\n%s\nand has\n%s", tracked, now)
				}
				talk.End(t)
			})
		})
	}
}

// TestKillDuringStart kills natd at random moments of its start, which begins with an empty table, with one that is as it
// should be, and with one that somebody damaged.
func TestKillDuringStart(t *testing.T) {
	t.Parallel()
	for _, protect := range protecting(t) {
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
				talk.GoesOn(t)
			}
			t.Logf("%d of 12 were ready when they were killed", ready)
			b.launch()
			b.awaitReady()
			b.awaitTable(whole)
			talk.End(t)
		})
	}
}

// TestOnStop wants on_stop = "remove" to leave nothing behind, and "keep" to leave the relay at work.
func TestOnStop(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.nft(neighbour)
	before := b.B.State(b.t)
	b.start("[daemon]\non_stop = \"remove\"\n" + fmt.Sprintf(portRelay, "10.3.0.100:7000"))
	if during := b.B.State(b.t); during == before {
		t.Fatal("a natd that is ready changed nothing: the test sees too little")
	}
	lab.Check(t, b.natd.Stop())
	lab.Check(t, b.natd.Err())
	lab.WantSame(t, before, b.B.State(b.t))
}

// TestFlushCommand wants natctl flush to undo everything that natd did, whether natd runs or not.
func TestFlushCommand(t *testing.T) {
	t.Parallel()
	for _, running := range []bool{true, false} {
		for _, protect := range protections(t) {
			t.Run(fmt.Sprintf("%s,running=%v", protect, running), func(t *testing.T) {
				t.Parallel()
				inFamilies(t, func(t *testing.T, f family) {
					b := newBoxOf(t, f)
					b.nft(neighbour)
					before := b.B.State(b.t)
					_, err := b.C.EchoTCP(b.say("10.3.0.100:7000"))
					lab.Check(t, err)
					b.start(hourly(protect) + fmt.Sprintf(portRelay, "10.3.0.100:7000"))
					talk := b.converse()
					if !running {
						b.kill()
					}
					if out, errs, code := b.natctl("flush", "--state", filepath.Join(b.dir, "state")); code != 0 {
						t.Fatalf("natctl flush exits %d:\n%s%s", code, out, errs)
					}
					talk.Breaks(t)
					lab.WantSame(t, before, b.B.State(b.t))
					if tracked := b.entries("tcp", ""); strings.Contains(tracked, "dport=7000") {
						t.Errorf("still tracked:\n%s", tracked)
					}
					b.revive(running)
					b.awaitReady()
					b.converse().End(t)
				})
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
	b.converse().End(t)
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

// converse begins to talk from A to the echo server through the relay.
func (b *box) converse() *lab.Conversation {
	b.t.Helper()
	return b.converseFrom("10.1.0.100", "10.2.0.100:7000")
}

// converseFrom is converse from an address of A, by way of a listen address.
func (b *box) converseFrom(client, listen string) *lab.Conversation {
	b.t.Helper()
	return b.A.Converse(b.t, netip.MustParseAddr(b.say(client)), b.say(listen))
}
