package flow

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"natd/internal/lab"
	"natd/nat"
)

// tracker is a host of its own that tracks connections, with conntrack(8) as the independent witness.
type tracker struct {
	*Conntrack
	t    testing.TB
	host *lab.Host
}

func newTracker(t testing.TB) *tracker {
	t.Helper()
	lab.Require(t, "conntrack", "nft")
	c := &tracker{t: t, host: lab.NewHost(t)}
	lab.Check(t, c.host.Do(func() (err error) {
		c.Conntrack, err = Open()
		return err
	}))
	t.Cleanup(func() { lab.Check(t, c.Close()) })
	return c
}

// insert makes an entry of a connection from client to listen. With a target it is translated, and comes from source then.
func (c *tracker) insert(proto, client, listen, target, source string, args ...string) {
	c.t.Helper()
	from, to := addrPort(client), addrPort(listen)
	all := []string{
		"-I", "-p", proto, "-t", "600", "-s", from.Addr().String(), "-d", to.Addr().String(),
		"--sport", fmt.Sprint(from.Port()), "--dport", fmt.Sprint(to.Port()),
	}
	if target != "" {
		all = append(all, "--dst-nat", target, "--src-nat", source)
	}
	if proto != "udp" {
		all = append(all, "--state", "ESTABLISHED")
	}
	if proto == "sctp" {
		all = append(all, "--orig-vtag", "1", "--reply-vtag", "2")
	}
	c.host.Output(c.t, "conntrack", append(all, args...)...)
}

// insertMany makes one entry for each source port from the first on.
func (c *tracker) insertMany(proto string, first, count int) {
	c.t.Helper()
	for i := range count {
		from := fmt.Sprintf("10.1.0.5:%d", first+i)
		c.insert(proto, from, host+":80", "10.3.0.100:8080", fmt.Sprintf("%s:%d", host, first+i))
	}
}

// entries is what natd reads, with the text of each.
func (c *tracker) entries() (entries []Entry, texts []string) {
	c.t.Helper()
	lab.Check(c.t, c.Entries(func(e *Entry) {
		entries = append(entries, e.Clone())
		texts = append(texts, fmt.Sprintf("%s %v>%v %v>%v", e.Proto, e.Orig.Src, e.Orig.Dst, e.Reply.Src, e.Reply.Dst))
	}))
	slices.Sort(texts)
	return entries, texts
}

// listed is what conntrack(8) lists over IPv4 and IPv6, in the same form.
func (c *tracker) listed() (texts []string) {
	c.t.Helper()
	tuple := regexp.MustCompile(`src=(\S+) dst=(\S+) (?:sport=(\d+) dport=(\d+))?`)
	for _, family := range []string{"ipv4", "ipv6"} {
		lines, err := c.host.Conntrack(c.t.Context(), "-f", family)
		lab.Check(c.t, err)
		for _, line := range lines {
			m := tuple.FindAllStringSubmatch(line, -1)
			if len(m) != 2 {
				c.t.Fatalf("conntrack lists %q", line)
			}
			words := strings.Fields(line) // the name of the protocol, and its number
			if words[0] == "icmp" || words[0] == "icmpv6" {
				words[0] = words[1]
			}
			texts = append(texts, fmt.Sprintf("%s %v>%v %v>%v", words[0], end(m[0][1], m[0][3]), end(m[0][2], m[0][4]),
				end(m[1][1], m[1][3]), end(m[1][2], m[1][4])))
		}
	}
	slices.Sort(texts)
	return texts
}

// end is an address and a port, "" for none.
func end(addr, port string) netip.AddrPort {
	n, _ := strconv.ParseUint(port, 10, 16)
	return netip.AddrPortFrom(netip.MustParseAddr(addr), uint16(n))
}

// insertSome makes entries of every kind.
func (c *tracker) insertSome() {
	c.t.Helper()
	c.insert("tcp", "10.1.0.5:40000", host+":80", "10.3.0.100:8080", host+":40000", "-u", "SEEN_REPLY,ASSURED")
	c.insert("tcp", "10.1.0.6:40000", host+":80", "10.3.0.100:8080", host+":40001")
	c.insert("udp", "10.1.0.5:5353", host+":53", "10.3.0.53:53", host+":5353", "-u", "SEEN_REPLY")
	c.insert("udp", "10.1.0.5:5354", host+":53", "", "")
	c.insert("udp", "10.1.0.5:5355", host+":53", "10.3.0.53:53", host+":5355", "-w", "7")
	c.insert("sctp", "10.1.0.7:40000", host+":80", "10.3.0.100:8080", host+":40002", "-u", "SEEN_REPLY,ASSURED")
	c.insert("tcp", client6, "["+host6+"]:80", "[2001:db8:3::100]:8080", "["+host6+"]:40000", "-u", "SEEN_REPLY,ASSURED")
	c.insert("udp", "[2001:db8:1::6]:40000", "["+host6+"]:80", "", "")
	for _, ping := range []string{"icmp -s 10.1.0.5 -d " + host + " --icmp-type 8", "icmpv6 -s 2001:db8:1::5 -d " + host6 + " --icmpv6-type 128"} {
		family, _, _ := strings.Cut(ping, " ")
		line := "-I -t 600 -p " + ping + " --" + family + "-code 0 --" + family + "-id 77"
		c.host.Output(c.t, "conntrack", strings.Fields(line)...)
	}
}

// Natd reads what conntrack(8) lists.
func TestEntries(t *testing.T) {
	t.Parallel()
	c := newTracker(t)
	c.insertSome()
	entries, got := c.entries()
	if diff := cmp.Diff(c.listed(), got); diff != "" {
		t.Errorf("(-conntrack -L +Entries):\n%s", diff)
	}
	if len(entries) != 10 {
		t.Errorf("%d entries, want 10", len(entries))
	}
	for _, e := range entries {
		if e.Timeout == 0 || e.Timeout > 600 || len(e.id) != 4 {
			t.Errorf("%v: timeout %d, id %v", e.Orig, e.Timeout, e.id)
		}
	}
}

func TestEntriesHaveTheirState(t *testing.T) {
	t.Parallel()
	c := newTracker(t)
	c.insertSome()
	type state struct {
		text                         string
		translated, replied, assured bool
		zone                         int
	}
	want := map[string]state{
		"10.1.0.5:40000": {"ESTABLISHED", true, true, true, 0},
		"10.1.0.6:40000": {"ESTABLISHED", true, false, false, 0},
		"10.1.0.5:5353":  {"REPLIED", true, true, false, 0},
		"10.1.0.5:5354":  {"UNREPLIED", false, false, false, 0},
		"10.1.0.5:5355":  {"UNREPLIED", true, false, false, 2},
		"10.1.0.7:40000": {"ESTABLISHED", true, true, true, 0},
		"10.1.0.5:0":     {"UNREPLIED", false, false, false, 0},

		"[2001:db8:1::5]:40000": {"ESTABLISHED", true, true, true, 0},
		"[2001:db8:1::6]:40000": {"UNREPLIED", false, false, false, 0},
		"[2001:db8:1::5]:0":     {"UNREPLIED", false, false, false, 0},
	}
	got := make(map[string]state)
	lab.Check(t, c.Entries(func(e *Entry) {
		got[e.Orig.Src.String()] = state{e.State(), e.Translated(), e.Replied(), e.Assured(), len(e.zone)}
	}))
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(state{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Exactly the entries that are named go, in their zone, and how many there were is what is told.
func TestDelete(t *testing.T) {
	t.Parallel()
	c := newTracker(t)
	c.insertSome()
	entries, _ := c.entries()
	doomed := []string{"10.1.0.6:40000", "10.1.0.5:5355", "10.1.0.7:40000", "10.1.0.5:0", "[2001:db8:1::5]:40000", "[2001:db8:1::5]:0"}
	isDoomed := func(client string) bool { return slices.Contains(doomed, client) }
	condemned := slices.DeleteFunc(entries, func(e Entry) bool { return !isDoomed(e.Orig.Src.String()) })
	want := slices.DeleteFunc(c.listed(), func(s string) bool {
		client, _, _ := strings.Cut(strings.Fields(s)[1], ">")
		return isDoomed(client)
	})
	for _, left := range []int{len(doomed), 0} {
		if n, err := c.Delete(condemned); err != nil || n != left {
			t.Errorf("Delete removed %d, %v, want %d", n, err, left)
		}
	}
	if diff := cmp.Diff(want, c.listed()); diff != "" || len(want) != 4 {
		t.Errorf("%d are left, want 4; (-want +conntrack -L):\n%s", len(want), diff)
	}
	if n, err := c.Delete(nil); err != nil || n != 0 {
		t.Errorf("Delete of nothing removed %d, %v", n, err)
	}
}

// A later connection with the same addresses and ports is another one.
func TestDeleteSparesALaterConnection(t *testing.T) {
	t.Parallel()
	c := newTracker(t)
	c.insertMany("udp", 5000, 1)
	old, before := c.entries()
	c.host.Output(t, "conntrack", "-D", "-p", "udp")
	// The kernel makes the id of where the entry lies in memory, too: others keep the next one from lying there.
	c.insertMany("tcp", 6000, 20)
	c.insertMany("udp", 5000, 1)
	now, _ := c.entries()
	now = slices.DeleteFunc(now, func(e Entry) bool { return e.Proto != nat.UDP })
	if len(now) != 1 || string(now[0].id) == string(old[0].id) {
		t.Skipf("the kernel gave the later connection the id of the first: %v", now)
	}
	if n, err := c.Delete(old); err != nil || n != 0 {
		t.Errorf("Delete removed %d, %v, want none", n, err)
	}
	if after := c.listed(); !slices.Contains(after, before[0]) {
		t.Errorf("the later connection is gone: %q", after)
	}
}

// More than fit one round of requests.
func TestDeleteMany(t *testing.T) {
	t.Parallel()
	const count = deleteAtOnce + 100
	c := newTracker(t)
	lab.Check(t, c.host.Nft(t.Context(), "table ip t { chain c { type filter hook output priority 0; ct state new counter; }; }"))
	lab.Check(t, c.host.Do(func() error { return flood(count) }))
	entries, _ := c.entries()
	if len(entries) < count {
		t.Fatalf("%d entries, want %d", len(entries), count)
	}
	if n, err := c.Delete(slices.Concat(entries[:count], entries[:10])); err != nil || n != count {
		t.Errorf("Delete removed %d, %v, want %d", n, err, count)
	}
	if left := len(c.listed()); left != len(entries)-count {
		t.Errorf("%d entries are left, want %d", left, len(entries)-count)
	}
}

// What is judged is what the kernel has: a whole pass over entries of every kind.
func TestJudgeOfKernelEntries(t *testing.T) {
	t.Parallel()
	c := newTracker(t)
	c.insertSome()
	c.insert("tcp", "192.0.2.5:1", host+":80", "10.3.0.100:8080", host+":1", "-u", "SEEN_REPLY,ASSURED")
	c.insert("udp", "10.1.0.5:2", host+":53", "10.3.0.9:53", host+":2")
	j, got := newJudge(), make(map[netip.AddrPort]string)
	lab.Check(t, c.Entries(func(e *Entry) {
		if why := j.Condemned(e); why != "" {
			got[e.Orig.Src] = why
		}
	}))
	want := map[netip.AddrPort]string{
		addrPort("192.0.2.5:1"):   WhySource,
		addrPort("10.1.0.5:2"):    WhyBackend,
		addrPort("10.1.0.5:5354"): WhyBypass,
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
