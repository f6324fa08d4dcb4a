package nat

import (
	"errors"
	"fmt"
	"maps"
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

// counts are those of rules and elements.
var counts = regexp.MustCompile(` counter packets \d+ bytes \d+`)

// scenarios are those that this kernel can take.
func (m *machine) scenarios() map[string]scenario {
	m.t.Helper()
	all := scenarios()
	if m.FastPath() != nil {
		maps.DeleteFunc(all, func(_ string, s scenario) bool { return s.fast != nil })
	}
	return all
}

// normal is nft's text without the counts, and with everything that has no order in one: tables and their sets and
// chains, which nft lists as they were made, and the elements of a set, which it sorts by their last field first.
func normal(text string) string {
	if text == "" {
		return ""
	}
	text = strings.NewReplacer( // what nft 1.1 prints, as 1.0 does
		"tcp flags & (syn | ack) != syn", "tcp flags != syn / syn,ack",
		"ct status & (confirmed | dnat) == dnat", "ct status dnat / confirmed,dnat",
		"tcp flags & (syn | ack) == syn | ack", "tcp flags syn,ack / syn,ack",
		"tcp flags & (syn | ack) == syn", "tcp flags syn / syn,ack",
		"limit rate over 5/second burst 5 packets", "limit rate over 5/second",
		"devices = { lo }", `devices = { "lo" }`, // what nft 1.0 prints, as 1.1 does
	).Replace(text)
	const end = "\n}\n"
	tables := strings.Split(strings.TrimSuffix(elementsInOrder(counts.ReplaceAllString(text, "")), end), end)
	for i := range tables {
		tables[i] = objectsInOrder(tables[i])
	}
	slices.Sort(tables)
	return strings.Join(tables, end) + end
}

// elementsInOrder sorts the elements of every set. Without regular expressions: on texts as long as these they took most of the
// time of all tests while races are looked for.
func elementsInOrder(text string) string {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(text, "elements = { ")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		all, after, _ := strings.Cut(rest, " }")
		elements := strings.Split(all, ",")
		for i := range elements {
			elements[i] = strings.TrimSpace(elements[i])
		}
		slices.Sort(elements)
		b.WriteString("elements = {\n\t\t\t" + strings.Join(elements, ",\n\t\t\t") + " }")
		text = after
	}
}

// objectsInOrder sorts the sets, maps, flowtables and chains of a table, behind what else it has.
func objectsInOrder(table string) string {
	var head, objects []string
	for line := range strings.SplitSeq(table, "\n") {
		switch {
		case line == "":
		case strings.HasPrefix(line, "\tset "), strings.HasPrefix(line, "\tmap "), strings.HasPrefix(line, "\tflowtable "), strings.HasPrefix(line, "\tchain "):
			objects = append(objects, line)
		case len(objects) > 0:
			objects[len(objects)-1] += "\n" + line
		default:
			head = append(head, line)
		}
	}
	slices.Sort(objects)
	return strings.Join(append(head, objects...), "\n")
}
