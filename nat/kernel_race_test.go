package nat

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"natd/internal/lab"
	"natd/internal/nfnl"
)

// A plan is for the ruleset that it was computed from: whoever writes in between, natd included, makes it void.
func TestApplyToAChangedRuleset(t *testing.T) {
	t.Parallel()
	m, want := newMachine(t, ProtectOff), build(web())
	have := m.read()
	plan := Diff(want, have, m.hold)
	m.nft("add table inet other")
	if err := m.Apply(plan, have.Generation, m.hold); !errors.Is(err, ErrStale) {
		t.Fatalf("Apply after another's change: %v, want %v", err, ErrStale)
	}
	if m.read().Exists {
		t.Error("the stale plan was carried out")
	}
	have = m.read()
	lab.Check(t, m.Apply(plan, have.Generation, m.hold))
	if err := m.Apply(Diff(nil, have, m.hold), have.Generation, m.hold); err != nil {
		t.Errorf("a plan without steps is never stale: %v", err)
	}
	again := Diff(build(), m.read(), m.hold)
	if err := m.Apply(again, have.Generation, m.hold); !errors.Is(err, ErrStale) {
		t.Errorf("Apply after natd's own change: %v, want %v", err, ErrStale)
	}
	lab.Check(t, m.Apply(again, 0, m.hold))
}

// A refused plan says what was refused, and leaves the table as it was.
func TestRefusedPlanChangesNothing(t *testing.T) {
	t.Parallel()
	m := newMachine(t, ProtectOff)
	m.bring(build(web()))
	before := m.list("ruleset")
	have := m.read()
	p := Diff(build(relayOf("ssh", 22, "10.3.0.1")), have, m.hold)
	p.elements[0].del = append(p.elements[0].del, Element{Key: endpoint("192.0.2.1", TCP, 9).key()})
	err := m.Apply(p, have.Generation, m.hold)
	const want = "change table inet natd: the kernel refused to delete elements of set listens4: no such file or directory"
	if err == nil || err.Error() != want || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Apply: %v, want %s", err, want)
	}
	if after := m.list("ruleset"); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	m.bring(build())
}

// What a kernel does not know, because it is too old or has no module for it, is told by name, and nothing changes.
func TestWhatTheKernelCannotDo(t *testing.T) {
	t.Parallel()
	m := newMachine(t, ProtectOff)
	m.bring(build(web()))
	before := m.list("ruleset")
	future := func(edit func(*Ruleset)) error {
		want := build(web(), relayOf("ssh", 22, "10.3.0.1", protocols(UDP)))
		edit(want)
		have := m.read()
		return m.Apply(Diff(want, have, m.hold), have.Generation, m.hold)
	}
	for want, edit := range map[string]func(*Ruleset){
		`to make the rule "of the future" of chain forward`: func(r *Ruleset) {
			c := findChain(r.Chains, "forward")
			c.Rules = append(c.Rules, rule("of the future", part{exprs: []expr.Any{&expr.Dup{RegAddr: firstReg}}}))
		},
		"to make chain later": func(r *Ruleset) {
			r.Chains = append(r.Chains, Chain{Name: "later", Type: "future", Hook: unix.NF_INET_FORWARD})
		},
	} {
		err := future(edit)
		if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "(Linux "+release()+")") {
			t.Errorf("Apply: %v, want that the kernel cannot do it: %s", err, want)
		}
	}
	if after := m.list("ruleset"); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

// writers change another table until told to stop, each through a Kernel of its own.
func (m *machine) writers(count int) (stop func() (writes int)) {
	quit, total := make(chan struct{}), make(chan int, count)
	for i := range count {
		k := m.open()
		go func() {
			writes, name := 0, fmt.Sprintf("noise%d", i)
			for done := false; !done; writes++ {
				if err := k.make(name); err != nil {
					m.t.Error(err)
				}
				select {
				case <-quit:
					done = true
				case <-time.After(time.Millisecond):
				}
			}
			total <- writes
		}()
	}
	return func() (writes int) {
		close(quit)
		for range count {
			writes += <-total
		}
		return writes
	}
}

// make makes and removes a table of somebody else's, in two transactions.
func (k *Kernel) make(table string) error {
	add, del := nfnl.NewBatch(0), nfnl.NewBatch(0)
	newTable(add, table, false)
	deleteTable(del, table)
	return errors.Join(k.socket.Commit(add), k.socket.Commit(del))
}

// Natd changes its table 200 times while others write as they please. A reader finds the one ruleset or the other, whole.
func TestConcurrentWriters(t *testing.T) {
	t.Parallel()
	m := newMachine(t, ProtectOff)
	rulesets := []*Ruleset{damaged(), scenarios()["ranges"].build()}
	m.bring(rulesets[0])
	stop := m.writers(2)
	halves, stopReading := m.watchForHalves(rulesets)
	stale := 0
	for i := 0; i < 200 && !t.Failed(); {
		switch err := m.step(rulesets[(i+1)%2]); {
		case err == nil:
			i++
		case errors.Is(err, ErrStale) || errors.Is(err, nfnl.ErrInterrupted):
			stale++
		default:
			t.Error(err)
		}
	}
	writes, reads := stop(), stopReading()
	t.Logf("200 changes against %d foreign transactions: %d stale, %d reads", writes, stale, reads)
	for _, half := range halves() {
		t.Error(half)
	}
	if writes == 0 || reads == 0 {
		t.Error("nobody wrote or read meanwhile: this proves nothing")
	}
	m.bring(rulesets[0])
}

// step is one try to bring the ruleset into the kernel.
func (m *machine) step(want *Ruleset) error {
	have, err := m.Read()
	if err != nil {
		return err
	}
	p := Diff(want, have, m.hold)
	if err := m.Apply(p, have.Generation, m.hold); err != nil {
		return err
	}
	return m.Release(p.Retired)
}

// watchForHalves reads the table over and over, and keeps what is neither of the rulesets.
func (m *machine) watchForHalves(whole []*Ruleset) (halves func() []string, stop func() (reads int)) {
	k := m.open()
	quit, done := make(chan struct{}), make(chan struct{})
	var mu sync.Mutex
	var found []string
	reads := 0
	go func() {
		defer close(done)
		for {
			select {
			case <-quit:
				return
			default:
			}
			have, err := k.Read()
			if err != nil {
				continue // interrupted twenty times in a row: there is nothing to compare
			}
			reads++
			if steps := m.apart(whole, have); steps != "" {
				mu.Lock()
				found = append(found, steps)
				mu.Unlock()
			}
		}
	}()
	halves = func() []string { mu.Lock(); defer mu.Unlock(); return found }
	return halves, func() int { close(quit); <-done; return reads }
}

// apart is how the table differs from each of the rulesets, "" when it is one of them.
func (m *machine) apart(whole []*Ruleset, have *Table) string {
	text := ""
	for _, want := range whole {
		p := Diff(want, have, m.hold)
		if p.Empty() {
			return ""
		}
		text += fmt.Sprintf("neither, for it takes %q\n", p.Steps(5))
	}
	return text
}

// The error of a process without CAP_NET_ADMIN says so, whatever it asks for.
func TestWithoutPrivilege(t *testing.T) {
	t.Parallel()
	m := newMachine(t, ProtectOff)
	plan := Diff(build(web()), m.read(), m.hold)
	// Capabilities belong to the thread, and netlink asks for those of the one that sends.
	lab.Check(t, m.host.Do(func() error {
		if err := dropCapabilities(); err != nil {
			return err
		}
		for name, err := range map[string]error{
			"Apply":      m.Apply(plan, 0, m.hold),
			"Protection": second(m.Protection(ProtectAuto)),
		} {
			if !errors.Is(err, fs.ErrPermission) || errors.Is(err, ErrOwned) {
				t.Errorf("%s without privilege: %v, want an fs.ErrPermission that blames no other natd", name, err)
			}
		}
		return nil
	}))
	if m.read().Exists {
		t.Error("the table was made")
	}
}

func second[T any](_ T, err error) error { return err }

// dropCapabilities takes all capabilities from the calling thread.
func dropCapabilities() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	return unix.Capset(&header, &none[0])
}
