package nat

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"natd/internal/lab"
	"natd/internal/nfnl"
)

func fastOn(links ...string) *Ruleset {
	return scenario{fast: links, relays: []Relay{relayOf("web", 80, "10.3.0.100")}}.build()
}

// lacks skips the test where the ruleset has a fast path and the kernel has none.
func (m *machine) lacks(t *testing.T, want *Ruleset) {
	t.Helper()
	if want.FastPath == nil {
		return
	}
	if err := m.FastPath(); errors.Is(err, ErrUnsupported) {
		t.Skip(err)
	} else {
		lab.Check(t, err)
	}
}

// flowMessages are the messages about flowtables in the plan's transaction: of each the number, the name of the flowtable, and its bytes.
func flowMessages(p *Plan) (messages []uint16, bytes [][]byte) {
	b := nfnl.NewBatch(7)
	p.encode(b, Hold{ProtectOff, ours})
	for i := range b.Count() {
		if typ, attrs := b.Message(i); typ>>8 == unix.NFNL_SUBSYS_NFTABLES && typ&0xff >= unix.NFT_MSG_NEWFLOWTABLE && typ&0xff <= unix.NFT_MSG_DELFLOWTABLE {
			messages, bytes = append(messages, typ&0xff), append(bytes, attrs)
		}
	}
	return messages, bytes
}

// The numbers are those of linux/netfilter/nf_tables.h, so that the messages are right where no kernel here can say so.
func TestFlowtableMessage(t *testing.T) {
	t.Parallel()
	_, sent := flowMessages(Diff(fastOn("eth1", "eth0"), &Table{}, Hold{Protect: ProtectOff}))
	want := "\x09\x00\x01\x00natd\x00\x00\x00\x00" + "\x09\x00\x02\x00fast\x00\x00\x00\x00" +
		"\x30\x00\x03\x80" + "\x08\x00\x01\x00\x00\x00\x00\x00" + "\x08\x00\x02\x00\x00\x00\x00\x00" +
		"\x1c\x00\x03\x80" + "\x09\x00\x01\x00eth0\x00\x00\x00\x00" + "\x09\x00\x01\x00eth1\x00\x00\x00\x00" +
		"\x08\x00\x07\x00\x00\x00\x00\x02"
	if len(sent) != 1 {
		t.Fatalf("%d messages, want one", len(sent))
	}
	if diff := cmp.Diff([]byte(want), sent[0]); diff != "" {
		t.Errorf("(-want +sent):\n%s", diff)
	}
	f := decodeFlowtable(sent[0])
	if diff := cmp.Diff(&FastPath{Links: []string{"eth0", "eth1"}}, f); diff != "" {
		t.Errorf("what is read back (-want +got):\n%s", diff)
	}
}

// What is hooked follows the interfaces, without a moment in which a connection loses the fast path that it has.
func TestFlowtableFollowsLinks(t *testing.T) {
	t.Parallel()
	const add, del = unix.NFT_MSG_NEWFLOWTABLE, unix.NFT_MSG_DELFLOWTABLE
	for name, c := range map[string]struct {
		want, have *Ruleset
		messages   []uint16
		steps      []string
	}{
		"the same":     {fastOn("eth0"), fastOn("eth0"), nil, nil},
		"another":      {fastOn("eth0", "eth1"), fastOn("eth0"), []uint16{add}, []string{"hook flowtable fast to eth1", `add to fastlinks { "eth1" }`}},
		"one is gone":  {fastOn("eth0"), fastOn("eth0", "eth1"), []uint16{del}, []string{"unhook flowtable fast from eth1", `delete from fastlinks { "eth1" }`}},
		"one for one":  {fastOn("eth1"), fastOn("eth0"), []uint16{add, del}, []string{"hook flowtable fast to eth1", "unhook flowtable fast from eth0", `delete from fastlinks { "eth0" }`, `add to fastlinks { "eth1" }`}},
		"none at all":  {fastOn(), fastOn("eth0"), []uint16{del}, []string{"delete flowtable fast", "write 4 rules of chain forward", "delete set fastlinks"}},
		"for the time": {fastOn("eth0"), fastOn(), []uint16{add}, []string{"make flowtable fast on eth0", "make set fastlinks with 1 element", "write 6 rules of chain forward"}},
	} {
		p := Diff(c.want, asTable(c.have), Hold{Protect: ProtectOff})
		if got, _ := flowMessages(p); !slices.Equal(got, c.messages) {
			t.Errorf("%s: messages %v, want %v", name, got, c.messages)
		}
		if diff := cmp.Diff(c.steps, p.Steps(10)); diff != "" {
			t.Errorf("%s (-want +steps):\n%s", name, diff)
		}
		if p.Empty() != (c.steps == nil) || p.Heals() != (c.steps != nil) {
			t.Errorf("%s: empty %v, heals %v", name, p.Empty(), p.Heals())
		}
	}
}

// A change is proven with the flowtable that is wanted: a table that lacks it, or an interface of it, is not what the plan leads to.
func TestProofOfFlowtable(t *testing.T) {
	t.Parallel()
	hold := Hold{Protect: ProtectOff}
	for name, c := range map[string]struct {
		want, before, after *Ruleset
		proven              bool
	}{
		"another element":         {fastOn("eth0"), fastOn("eth0"), fastOn("eth0"), true},
		"an interface comes":      {fastOn("eth0", "eth1"), fastOn("eth0"), fastOn("eth0", "eth1"), true},
		"an interface is missing": {fastOn("eth0", "eth1"), fastOn("eth0"), fastOn("eth0"), false},
		"one is too many":         {fastOn("eth0"), fastOn("eth0", "eth1"), fastOn("eth0", "eth1"), false},
		"the flowtable stays":     {fastOn(), fastOn("eth0"), fastOn("eth0"), false},
		"it goes":                 {fastOn(), fastOn("eth0"), fastOn(), true},
		"it is missing":           {fastOn("eth0"), fastOn(), fastOn(), false},
	} {
		p, after := Diff(c.want, asTable(c.before), hold), asTable(c.after)
		if !p.ByKey() {
			t.Errorf("%s: the plan takes a whole read", name)
		}
		after.Sets, after.Chains = c.want.Sets, c.want.Chains // all else is right
		if err := left(p.result(), after, hold); (err == nil) != c.proven {
			t.Errorf("%s: the proof says %v", name, err)
		}
	}
}

// What is known of the flowtable is read again, for no generation tells that the kernel has changed it.
func TestRefresh(t *testing.T) {
	t.Parallel()
	m := newMachine(t, ProtectOff)
	known := m.known(build(web()))
	lab.Check(t, m.Refresh(known))
	known.FastPath = &FastPath{Links: []string{"lo", "gone"}}
	lab.Check(t, m.Refresh(known))
	if known.FastPath != nil {
		t.Errorf("the flowtable is said to be on %q, and there is none", known.FastPath.Links)
	}
}

// A flowtable that is not as natd makes its own cannot be changed into it: the table is made anew.
func TestForeignFlowtable(t *testing.T) {
	t.Parallel()
	message := func(edit func(*nfnl.Batch)) []byte {
		b := nfnl.NewBatch(0)
		edit(b)
		_, attrs := b.Message(0)
		return attrs
	}
	made := func(name string, priority, flags uint32, device uint16) []byte {
		return message(func(b *nfnl.Batch) {
			begin(b, unix.NFT_MSG_NEWFLOWTABLE, 0)
			b.String(attrFlowtableName, name)
			hook := b.Nest(attrFlowtableHook)
			b.Uint32(attrFlowHookNum, hookIngress)
			b.Uint32(attrFlowHookPriority, priority)
			devices := b.Nest(attrFlowHookDevs)
			b.String(device, "eth0")
			b.Unnest(devices)
			b.Unnest(hook)
			b.Uint32(attrFlowtableFlags, flags)
			b.End()
		})
	}
	if decodeFlowtable(made(flowtableName, 0, flowtableCounter, attrDeviceName)) == nil {
		t.Error("natd's own is taken for another's")
	}
	for name, attrs := range map[string][]byte{
		"another name":     made("ft", 0, flowtableCounter, attrDeviceName),
		"another priority": made(flowtableName, 10, flowtableCounter, attrDeviceName),
		"no counter":       made(flowtableName, 0, 0, attrDeviceName),
		"offload":          made(flowtableName, 0, flowtableCounter|1, attrDeviceName),
		"a pattern":        made(flowtableName, 0, flowtableCounter, 2),
		"nothing":          nil,
	} {
		if decodeFlowtable(attrs) != nil {
			t.Errorf("%s is taken for natd's own", name)
		}
	}
}

// The refusal of anything that is only there for the fast path says so: natd then goes on without it.
func TestFastPathRefusal(t *testing.T) {
	t.Parallel()
	b := nfnl.NewBatch(0)
	Diff(fastOn("eth0"), &Table{}, Hold{Protect: ProtectOff}).encode(b, Hold{})
	about := 0
	for i := range b.Count() - 1 {
		typ, attrs := b.Message(i)
		err := refusalOf(typ, attrs, &nfnl.Error{Errno: unix.ENOENT, Index: i})
		if errors.Is(err, ErrFastPath) {
			about++
			t.Log(err)
		}
	}
	gone := &nfnl.Error{Errno: unix.ENOENT}
	if err := refusalOf(unix.NFT_MSG_DELFLOWTABLE, nil, gone); !errors.Is(err, ErrStale) || errors.Is(err, ErrFastPath) {
		t.Errorf("an interface that went by itself: %v", err)
	}
	if about != 3 {
		t.Errorf("%d messages are about the fast path, want 3", about)
	}
}

// A kernel that has flowtables takes natd's; one that has none says so, and is left as it was in either case.
func TestKernelFastPath(t *testing.T) {
	t.Parallel()
	m := newMachine(t, ProtectOff)
	before := m.generation()
	err := m.FastPath()
	if after := m.generation(); after != before {
		t.Errorf("asking took the generation from %d to %d", before, after)
	}
	want := fastOn("lo")
	have := m.read()
	applied := m.Apply(Diff(want, have, m.hold), have.Generation, m.hold)
	switch {
	case err == nil:
		lab.Check(t, applied)
		if diff := cmp.Diff(want.FastPath, m.read().FastPath); diff != "" {
			t.Errorf("(-want +read back):\n%s", diff)
		}
	case !errors.Is(err, ErrUnsupported) || !errors.Is(applied, ErrFastPath):
		t.Errorf("asking says %v, trying says %v", err, applied)
	default:
		t.Log(err)
	}
}

// The set of interfaces is one that nft prints as natd does, also where the kernel has no flowtable.
func TestFastLinks(t *testing.T) {
	t.Parallel()
	m, want := newMachine(t, ProtectOff), fastOn("lo", "eth0.100", "a-name-of-15-by")
	want.FastPath = nil
	forward := findChain(want.Chains, "forward")
	forward.Rules = slices.DeleteFunc(forward.Rules, func(r Rule) bool { return strings.Contains(r.Text, "flow add") })
	forward.Rules = append(forward.Rules, rule("from a link", linkIn("iifname", 6), accept()))
	m.bring(want)
	if diff := cmp.Diff(normal(text(t, want)), m.listTable()); diff != "" {
		t.Errorf("(-want +nft list):\n%s", diff)
	}
	m.nft("flush ruleset\n" + text(t, want))
	if p := m.plan(want); !p.Empty() {
		t.Errorf("what nft made of the text needs %q", p.Steps(10))
	}
}

// Foreign edits of the flowtable are found and mended.
func TestFlowtableIsGuarded(t *testing.T) {
	t.Parallel()
	m, want := newMachine(t, ProtectOff), fastOn("lo", "d0", "d1")
	m.lacks(t, want)
	far, err := m.host.Lab().Host("far")
	lab.Check(t, err)
	connect := func(link string) {
		lab.Check(t, lab.Connect(lab.End{Host: m.host, Name: link}, lab.End{Host: far, Name: link}))
	}
	for _, link := range []string{"d0", "d1", "d2"} {
		connect(link)
	}
	m.bring(want)
	before := m.list("ruleset")
	for _, script := range []string{
		"delete flowtable inet natd fast { devices = { d1 }; }",
		"add flowtable inet natd other { hook ingress priority 0; devices = { d2 }; }",
		"delete element inet natd fastlinks { d0 }",
	} {
		m.nft(script)
		m.mends(t, want, before)
	}
	// The kernel takes an interface that is deleted out of the flowtable, and does not put it back.
	lab.Check(t, m.host.DelLink("d1"))
	m.bring(fastOn("lo", "d0"))
	connect("d1")
	known := m.known(want)
	lab.Check(t, m.host.DelLink("d1"))
	connect("d1")
	lab.Check(t, m.Refresh(known))
	_, known, err = m.pass(want, known, nil)
	lab.Check(t, err)
	m.agrees(known)
	have := m.read()
	err = m.Apply(Diff(fastOn("lo", "d0", "nowhere"), have, m.hold), have.Generation, m.hold)
	if err != nil && !errors.Is(err, ErrFastPath) {
		t.Errorf("an interface that is not there: %v", err)
	}
}

// The cost of an established datagram with the fast path and without, each time with all that the three hosts of the lab spend on it. It is
// printed and not judged: machines differ, emulated ones above all.
func TestFastPathCost(t *testing.T) {
	w, s := newWire(t, 1500, 1500), sides4()
	rulesets := map[bool]*Ruleset{}
	for _, fast := range []bool{false, true} {
		rules := relayed(s, []string{s.server}, protocols(UDP))
		if fast {
			rules.fast = []string{"client", "server"}
		}
		rulesets[fast] = rules.build()
	}
	w.lacks(t, rulesets[true])
	lab.Check(t, w.host.SetSysctl("net.netfilter.nf_conntrack_acct", "1"))
	_, err := w.server.EchoUDP(port80(s.server))
	lab.Check(t, err)
	took := map[bool][]time.Duration{}
	for range 5 {
		for fast, rules := range rulesets {
			w.bring(rules)
			conn, err := w.say(w.client, "", "udp", port80(s.in))
			lab.Check(t, err)
			w.stream(t, conn, fast)
			took[fast] = append(took[fast], trips(t, conn))
			lab.Check(t, conn.Close())
		}
	}
	for _, all := range took {
		slices.Sort(all)
	}
	slow, quick := took[false][2], took[true][2]
	t.Logf("a datagram and its answer: %v by the rules, %v on the fast path: %.2f of it (each the median of 5: %v, %v)",
		slow, quick, float64(quick)/float64(slow), took[false], took[true])
}

// stream sends to and fro until connection tracking takes it for a stream, and with the fast path that has it.
func (w *wire) stream(t *testing.T, conn net.Conn, fast bool) {
	t.Helper()
	sign := "[ASSURED]"
	if fast {
		sign = "[OFFLOAD]"
	}
	lab.Eventually(t, patience, func() error {
		trip(t, conn)
		entries, err := w.host.Conntrack(t.Context(), "-p", "udp")
		if err == nil && !strings.Contains(strings.Join(entries, "\n"), sign) {
			err = fmt.Errorf("no %s in %q", sign, entries)
		}
		return err
	})
}

// trips is how long a datagram and its answer take.
func trips(t *testing.T, conn net.Conn) time.Duration {
	t.Helper()
	const count = 2000
	began := time.Now()
	for range count {
		trip(t, conn)
	}
	return time.Since(began) / count
}

func trip(t *testing.T, conn net.Conn) {
	t.Helper()
	_ = conn.SetDeadline(time.Now().Add(patience))
	said := make([]byte, 64)
	_, err := conn.Write(said)
	lab.Check(t, err)
	_, err = conn.Read(said)
	lab.Check(t, err)
}
