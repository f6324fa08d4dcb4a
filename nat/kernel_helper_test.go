package nat

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"natd/internal/lab"
)

// machine is a host of its own, natd's Kernel in it, and nft(8) as the independent witness.
type machine struct {
	*Kernel
	t    *testing.T
	host *lab.Host
	hold Hold
}

func newMachine(t *testing.T, protect Protect) *machine {
	t.Helper()
	lab.Require(t, "nft")
	m := &machine{t: t, host: lab.NewHost(t)}
	m.Kernel = m.open()
	m.hold = Hold{protect, m.Port()}
	return m
}

// open makes another Kernel in the host.
func (m *machine) open() *Kernel {
	m.t.Helper()
	var k *Kernel
	lab.Check(m.t, m.host.Do(func() (err error) {
		k, err = Open()
		return err
	}))
	m.t.Cleanup(func() {
		if err := k.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
			m.t.Error(err)
		}
	})
	return k
}

// reopen is what a restart of natd is for the kernel. A program that another test is starting may hold a copy of the old
// socket until it is there, and with it the ownership.
func (m *machine) reopen() {
	m.t.Helper()
	lab.Check(m.t, m.Close())
	m.Kernel = m.open()
	lab.Eventually(m.t, patience, func() error {
		if t := m.read(); t.Guard || t.Owner != 0 {
			return fmt.Errorf("the old socket still owns a table (guard %t, owner %d)", t.Guard, t.Owner)
		}
		return nil
	})
}

func (m *machine) read() *Table {
	m.t.Helper()
	have, err := m.Read()
	lab.Check(m.t, err)
	return have
}

func (m *machine) plan(want *Ruleset) *Plan {
	m.t.Helper()
	return Diff(want, m.read(), m.hold)
}

// bring makes the kernel hold the ruleset in one transaction and proves that it does.
func (m *machine) bring(want *Ruleset) {
	m.t.Helper()
	have := m.read()
	if p := Diff(want, have, m.hold); !p.Empty() {
		lab.Check(m.t, m.Apply(p, have.Generation, m.hold))
	}
	if left := m.plan(want); !left.Empty() {
		m.t.Fatalf("after the change it still takes %q", left.Steps(10))
	}
}

func (m *machine) generation() uint32 {
	m.t.Helper()
	g, err := m.Generation()
	lab.Check(m.t, err)
	return g
}

// list is what nft lists of the host, in the order it does but for elements.
func (m *machine) list(what ...string) string {
	m.t.Helper()
	return normal(m.host.Output(m.t, "nft", append([]string{"list"}, what...)...))
}

func (m *machine) listTable() string {
	m.t.Helper()
	return m.list("table", "inet", TableName)
}

// nft changes the ruleset as any other program would.
func (m *machine) nft(script string) {
	m.t.Helper()
	lab.Check(m.t, m.host.Nft(m.t.Context(), script))
}

// normal is nft's text without the counts, and with everything that has no order in one: tables and their sets and
// chains, which nft lists as they were made, and the elements of a set, which it sorts by their last field first.
func normal(text string) string {
	text = strings.NewReplacer( // what nft 1.1 prints, as 1.0 does
		"tcp flags & (syn | ack) != syn", "tcp flags != syn / syn,ack",
		"ct status & (confirmed | dnat) == dnat", "ct status dnat / confirmed,dnat",
		"limit rate over 5/second burst 5 packets", "limit rate over 5/second",
		"devices = { lo }", `devices = { "lo" }`, // what nft 1.0 prints, as 1.1 does
	).Replace(text)
	text = regexp.MustCompile(` counter packets \d+ bytes \d+`).ReplaceAllString(text, "")
	text = inOrder(text, `(?s)elements = \{ (.*?) \}`, ",", "elements = {\n\t\t\t", ",\n\t\t\t", " }")
	text = inOrder(text, `(?ms)^(\t(?:set|map|flowtable|chain) .*?^\t\}\n)\}`, "\n\n", "\t", "\n\n\t", "\n}")
	return inOrder(text, `(?s)\A(.*)\n\}\n\z`, "\n}\n", "", "\n}\n", "\n}\n")
}

// inOrder sorts the parts of the first group of every match of the pattern.
func inOrder(text, pattern, split, head, join, tail string) string {
	re := regexp.MustCompile(pattern)
	return re.ReplaceAllStringFunc(text, func(block string) string {
		parts := strings.Split(re.FindStringSubmatch(block)[1], split)
		for i := range parts {
			parts[i] = strings.TrimSpace(parts[i])
		}
		slices.Sort(parts)
		return head + strings.Join(parts, join) + tail
	})
}
