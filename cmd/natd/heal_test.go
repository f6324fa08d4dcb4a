package main

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"natd/internal/control"
	"natd/internal/lab"
)

// neighbour is a table of another program. natd must leave it alone, whatever happens to its own.
const neighbour = `table ip neighbour {
	comment "somebody else's"
	set friends { type ipv4_addr; flags interval; elements = { 192.0.2.0/24, 198.51.100.7 }; }
	chain watch {
		type filter hook forward priority -5; policy accept;
		ip saddr @friends meta mark set 0x2a comment "not natd's"
	}
}
`

// damage is something that another program does to what natd looks after.
type damage struct {
	name string
	do   func(b *box) error
	by   string // who natd has to name, "" where the kernel does not tell
	what string // what it has to say about it
}

// byNft is a damage done by nft. The rule that handle names by its chain and a word of its comment takes the place of %s.
func byNft(name, what, script string, handle ...string) damage {
	return damage{name: name, by: "nft (pid ", what: what, do: func(b *box) error {
		text := script
		if len(handle) > 0 {
			text = fmt.Sprintf(script, b.handle(handle[0], handle[1]))
		}
		return b.B.Nft(b.t.Context(), b.say(text))
	}}
}

// tableDamages is what others do to the table itself.
func tableDamages() []damage {
	const key = "10.1.0.0 . 10.2.0.100 . tcp . 80"
	return []damage{
		byNft("table deleted", "make table inet natd", "delete table inet natd"),
		byNft("rules flushed", "chain prerouting", "flush table inet natd"),
		byNft("chain deleted", "chain forward", "flush chain inet natd forward; delete chain inet natd forward"),
		byNft("chain added", "natd anew", "add chain inet natd foreign"),
		byNft("rule inserted", "chain forward", "insert rule inet natd forward drop"),
		byNft("rule deleted", "chain postrouting", "delete rule inet natd postrouting handle %s", "postrouting", "tcp"),
		byNft("rule replaced", "chain prerouting", "replace rule inet natd prerouting handle %s counter accept", "prerouting", "for sources of"),
		byNft("element deleted", "add to relays4_from16", "delete element inet natd relays4_from16 { "+key+" }"),
		byNft("element changed", "10.3.0.100 . 80", "delete element inet natd relays4_from16 { "+key+" }; "+
			"add element inet natd relays4_from16 { "+key+` comment "web" : 10.3.0.66 . 8080 }`),
		byNft("element added", "delete from relays4", "add element inet natd relays4 { 10.2.0.100 . tcp . 81 : 10.3.0.66 . 81 }"),
		byNft("map flushed", "add to snat4", "flush map inet natd snat4"),
		byNft("policy changed", "chain forward", "add chain inet natd forward { policy accept; }"),
	}
}

// hostDamages is what others do to the host's network, one after the other.
func hostDamages() []damage {
	return []damage{
		{name: "forwarding switched off", what: "ip_forward", do: func(b *box) error { return b.onB("sysctl -qw net.ipv4.ip_forward=0") }},
		{name: "interface renamed", what: "by eth7", do: func(b *box) error { return b.B.Rename(lab.Device, "eth7") }},
		{name: "address removed and back", what: "from 10.2.0.100", do: func(b *box) error {
			if err := b.onB("ip addr del 10.2.0.100/24 dev eth7"); err != nil {
				return err
			}
			b.awaitStatus(func(s *control.Status) error { return isState(s, control.StateDegraded) })
			if err := b.onB("ip addr add 10.2.0.100/24 dev eth7"); err != nil {
				return err
			}
			return b.onB("ip route replace default via 10.2.0.1")
		}},
		{name: "route with another gateway", what: "via 10.2.0.2 ", do: func(b *box) error {
			if err := b.R.AddAddr("b", netip.MustParsePrefix("10.2.0.2/24")); err != nil {
				return err
			}
			return b.onB("ip route replace default via 10.2.0.2")
		}},
		{name: "route with another source", what: "from 10.2.0.101", do: func(b *box) error {
			if err := b.B.AddAddr("eth7", netip.MustParsePrefix("10.2.0.101/24")); err != nil {
				return err
			}
			return b.onB("ip route replace default via 10.2.0.1 src 10.2.0.101")
		}},
	}
}

// TestHeal does every damage in turn, and wants the table, the traffic and the count of repairs to be right after each.
func TestHeal(t *testing.T) {
	t.Parallel()
	for _, protect := range yielding(t) {
		t.Run(protect, func(t *testing.T) {
			t.Parallel()
			inFamilies(t, func(t *testing.T, f family) {
				b := newWebBoxOf(t, f, protect)
				b.nft(neighbour)
				b.status() // natd has seen who wrote that
				other, whole := b.table("ip neighbour"), b.table("inet natd")
				flush := byNft("ruleset flushed", "make table inet natd", "flush ruleset\n"+neighbour)
				for i, d := range append(tableDamages(), flush) {
					began := time.Now()
					lab.Check(t, d.do(b))
					b.awaitTable(whole)
					b.wantRepair(i+1, &d, began)
					if now := b.table("ip neighbour"); now != other {
						t.Errorf("%s: the neighbour's table became\n%s", d.name, now)
					}
				}
			})
		})
	}
}

// TestFollow does every damage to the network of the host in turn.
func TestFollow(t *testing.T) {
	t.Parallel()
	b := newWebBox(t, "auto")
	for i, d := range hostDamages() {
		began := time.Now()
		lab.Check(t, d.do(b))
		b.awaitStatus(func(s *control.Status) error { // between two changes of the network the client gets through, too
			if s.Ruleset.DriftRepairs != i+1 || s.State != control.StateReady {
				return fmt.Errorf("%s: %s, %d repairs", d.name, s.State, s.Ruleset.DriftRepairs)
			}
			return nil
		})
		b.wantRepair(i+1, &d, began)
	}
	if r := b.status().Relays[0]; len(r.SNAT) != 1 || r.SNAT[0] != "10.2.0.101" || r.Egress != "eth7" {
		t.Errorf("status says egress %s and snat %s, want eth7 and 10.2.0.101", r.Egress, r.SNAT)
	}
}

// wantRepair wants the n-th repair to be counted and explained, and the relay to work.
func (b *box) wantRepair(n int, d *damage, began time.Time) {
	b.t.Helper()
	if err := b.fetch(b.t.Context()); err != nil {
		b.t.Errorf("%s: %v", d.name, err)
	}
	b.awaitReady()
	r := b.status().Ruleset
	if r.DriftRepairs != n {
		b.t.Errorf("%s: %d repairs are counted, want %d", d.name, r.DriftRepairs, n)
	}
	if r.LastDrift == nil || !strings.HasPrefix(r.LastDrift.By, d.by) || !strings.Contains(r.LastDrift.What, b.say(d.what)) {
		b.t.Fatalf("%s: last_drift is %+v, want one by %q that says %q", d.name, r.LastDrift, d.by, d.what)
	}
	if strings.Count(r.LastDrift.By, "pid") > 1 {
		b.t.Errorf("%s: last_drift blames %s, want only who did it", d.name, r.LastDrift.By)
	}
	if strings.Contains(b.natd.Log(), `by=""`) || strings.Contains(b.natd.Log(), "took=0s") {
		b.t.Errorf("%s: natd writes what it does not know:\n%s", d.name, b.natd.Log())
	}
	b.t.Logf("%s: %v until repaired", d.name, r.LastDrift.At.Sub(began).Round(time.Millisecond/10))
}

// TestCulprit wants each of several writers to be blamed for its own damage, also when a request finds that damage first.
func TestCulprit(t *testing.T) {
	t.Parallel()
	b := newWebBox(t, yielding(t)[0])
	for n := 1; n <= 12; n++ {
		nft, err := b.B.Start("nft", "delete", "table", "inet", "natd")
		lab.Check(t, err)
		b.awaitStatus(func(s *control.Status) error {
			if s.Ruleset.DriftRepairs < n {
				return fmt.Errorf("%d repairs, want %d", s.Ruleset.DriftRepairs, n)
			}
			return nil
		})
		<-nft.Done()
		if by, want := b.status().Ruleset.LastDrift.By, fmt.Sprintf("nft (pid %d)", nft.PID()); by != want {
			t.Errorf("repair %d: last_drift blames %q, want %q", n, by, want)
		}
	}
}

// TestFight lets another program flush the ruleset a hundred times in three seconds. natd must not join in.
func TestFight(t *testing.T) {
	t.Parallel()
	b := newWebBox(t, yielding(t)[0])
	whole := b.table("inet natd")
	began := time.Now()
	lab.Check(t, b.onB("for i in $(seq 100); do nft flush ruleset; sleep 0.03; done"))
	took := time.Since(began)
	b.awaitTable(whole)
	b.awaitReady()
	lab.Check(t, b.fetch(t.Context()))
	repairs := b.status().Ruleset.DriftRepairs
	t.Logf("100 flushes in %v: %d repairs", took.Round(time.Millisecond), repairs)
	// Twenty at once, then four a second, and as many as fit into the time until the table was found whole.
	if most := 20 + 4*int(time.Since(began).Seconds()+1); repairs > most || repairs < 1 {
		t.Errorf("%d repairs, want at least one and at most %d", repairs, most)
	}
	if lines := strings.Count(b.natd.Log(), "\n"); lines > 3*repairs+20 {
		t.Errorf("natd wrote %d lines about %d repairs:\n%s", lines, repairs, b.natd.Log())
	}
}

// TestOwned wants the kernel to keep nft away from a table that natd owns.
func TestOwned(t *testing.T) {
	t.Parallel()
	if protections(t)[0] != "own" {
		t.Skip("in this kernel a table has no owner that keeps others away and leaves it standing")
	}
	b := newWebBox(t, "own")
	whole := b.table("inet natd")
	for _, d := range tableDamages() {
		if err := d.do(b); err == nil || !strings.Contains(err.Error(), "not permitted") {
			t.Errorf("%s: nft ends with %v, want that it is not permitted", d.name, err)
		}
	}
	b.nft("flush ruleset")
	if now := b.table("inet natd"); now != whole {
		t.Errorf("the table became\n%s", now)
	}
	if n := b.status().Ruleset.DriftRepairs; n != 0 {
		t.Errorf("%d repairs are counted, want none", n)
	}
	lab.Check(t, b.fetch(t.Context()))
}

// hourly is the head of a configuration that heals by notifications alone: the next full check is far away.
func hourly(protect string) string {
	return fmt.Sprintf("[daemon]\nprotect = %q\nresync = \"1h\"\n", protect)
}

// newWebBox is a box with nginx on C, and with a natd that has relayed a page.
func newWebBox(t *testing.T, protect string) *box {
	t.Helper()
	return newWebBoxOf(t, ipv4, protect)
}

// newWebBoxOf is newWebBox in a family.
func newWebBoxOf(t *testing.T, f family, protect string) *box {
	t.Helper()
	lab.Require(t, "nginx", "curl", "ip", "sysctl")
	b := newBoxOf(t, f)
	_, err := b.C.StartNginx(t.Context(), netip.MustParseAddrPort(b.say("10.3.0.100:80")))
	lab.Check(t, err)
	b.start(hourly(protect) + `
[[relay]]
name = "web"
listen = "10.2.0.100:80"
from = ["10.1.0.0/16"]
to = ["10.3.0.100:80"]
`)
	lab.Check(t, b.fetch(t.Context()))
	return b
}

// table is what nft says of a table, without the counts.
func (b *box) table(name string) string {
	b.t.Helper()
	out, err := b.B.Run(b.t.Context(), "sh", "-c", "nft -s list table "+name)
	lab.Check(b.t, err)
	return out
}

// parts is what is in a table as nft lists it, in alphabetical order: a chain that was made anew is listed last.
func parts(table string) []string {
	_, inside, _ := strings.Cut(table, "{\n")
	all := strings.Split(strings.TrimSuffix(strings.TrimSpace(inside), "}"), "\n\n")
	for i := range all {
		all[i] = strings.TrimSpace(all[i])
	}
	slices.Sort(all)
	return all
}

// awaitTable waits until nft lists natd's table as it was. It asks only nft: natd would look for damage before it answers.
func (b *box) awaitTable(whole string) {
	b.t.Helper()
	lab.Eventually(b.t, patience, func() error {
		now, err := b.B.Run(b.t.Context(), "nft", "-s", "list", "table", "inet", "natd")
		if err == nil && !slices.Equal(parts(now), parts(whole)) {
			err = fmt.Errorf("the table is\n%s\nand was\n%s", now, whole)
		}
		return err
	})
}

// handle is the handle of the rule in natd's chain whose comment has the word.
func (b *box) handle(chain, word string) string {
	b.t.Helper()
	listed, err := b.B.Run(b.t.Context(), "nft", "-a", "list", "chain", "inet", "natd", chain)
	lab.Check(b.t, err)
	found := regexp.MustCompile(`comment "[^"]*` + regexp.QuoteMeta(word) + `[^"]*" # handle (\d+)`).FindStringSubmatch(listed)
	if found == nil {
		b.t.Fatalf("chain %s has no rule with a comment about %q", chain, word)
	}
	return found[1]
}

// onB runs a shell command on host B.
func (b *box) onB(command string) error {
	_, err := b.B.Run(b.t.Context(), "sh", "-c", command)
	return err
}

func isState(s *control.Status, want string) error {
	if s.State != want {
		return fmt.Errorf("state is %s, want %s: %v", s.State, want, s.Reasons)
	}
	return nil
}
