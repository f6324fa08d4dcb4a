package nat

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// ruleHandles is where each rule of the table stands: its chain and its handle.
func (m *machine) ruleHandles() [][2]string {
	m.t.Helper()
	var handles [][2]string
	chain := ""
	for line := range strings.Lines(m.host.Output(m.t, "nft", "-a", "list", "table", "inet", TableName)) {
		text, handle, _ := strings.Cut(strings.TrimSpace(line), " # handle ")
		if name, ok := strings.CutPrefix(text, "chain "); ok {
			chain = strings.TrimSuffix(name, " {")
		} else if strings.HasPrefix(line, "\t\t") && handle != "" {
			handles = append(handles, [2]string{chain, handle})
		}
	}
	return handles
}

// Every single rule: deleted, replaced, or with another in front of it or behind.
func TestEveryRuleIsGuarded(t *testing.T) {
	t.Parallel()
	m, want := newMachine(t, ProtectOff), everyKind()
	m.bring(want)
	before, count, rules := m.list("ruleset"), len(m.ruleHandles()), 0
	for i := range want.Chains {
		rules += len(want.Chains[i].Rules)
	}
	if count != rules {
		t.Fatalf("the table lists %d rules, want %d", count, rules)
	}
	for i := range count {
		for j, script := range []string{
			"delete rule inet natd %s handle %s",
			"replace rule inet natd %s handle %s counter",
			`replace rule inet natd %s handle %s ct state established,related accept comment "established connection"`,
			`insert rule inet natd %s position %s ct state established,related accept comment "established connections"`,
			"add rule inet natd %s position %s accept",
		} {
			if (i+j)%5 != 0 {
				continue // each rule one harm, each harm to every fifth rule
			}
			where := m.ruleHandles()[i]
			script = fmt.Sprintf(script, where[0], where[1])
			t.Run(fmt.Sprint(i, script), func(t *testing.T) {
				m.nft(script)
				m.mends(t, want, before)
			})
		}
	}
}

// Elements of every set: deleted, under another name, and with another value.
func TestEveryElementIsGuarded(t *testing.T) {
	t.Parallel()
	m, want := newMachine(t, ProtectOff), everyKind()
	m.bring(want)
	before := m.list("ruleset")
	for i := range want.Sets {
		s := &want.Sets[i]
		for j := range min(len(s.Elements), 4) {
			renamed, moved := s.Elements[j], s.Elements[j]
			renamed.Comment = "somebody"
			key := s.Elements[j].keyText(s)
			remove := fmt.Sprintf("delete element inet natd %s { %s }", s.Name, key)
			scripts := []string{remove, remove + "\n" + adding(s, &renamed)}
			if s.Data != nil {
				moved.Value = other(s, moved.Value)
				scripts = append(scripts, remove+"\n"+adding(s, &moved))
			}
			for _, script := range scripts {
				t.Run(script, func(t *testing.T) {
					m.nft(script)
					m.mends(t, want, before)
				})
			}
		}
	}
}

func adding(s *Set, e *Element) string {
	return fmt.Sprintf("add element inet natd %s { %s }", s.Name, e.text(s))
}

// What is in other tables stays as it is, byte for byte, through everything that natd does to its own.
func TestForeignTablesStay(t *testing.T) {
	t.Parallel()
	for _, protect := range []Protect{ProtectOff, ProtectGuard, ProtectOwn} {
		t.Run(protect.String(), func(t *testing.T) {
			t.Parallel()
			m := newMachine(t, protect)
			m.needs(protect)
			m.nft(`
table inet natd2 {
	counter hits { packets 5 bytes 500; }
	set natd { type ipv4_addr; flags interval; elements = { 10.0.0.0/8 }; }
	chain natd { type nat hook prerouting priority -110; policy accept; ip daddr @natd counter name "hits"; }
}
table ip natd {
	set listens4 { type ipv4_addr; elements = { 10.2.0.100 }; }
	chain forward { type filter hook forward priority 0; policy drop; }
}
table netdev natd_guard { chain keep { }; }
`)
			foreign := func() (text string) {
				for _, name := range [][]string{{"inet", "natd2"}, {"ip", "natd"}, {"netdev", "natd_guard"}} {
					text += m.host.Output(t, "nft", append([]string{"-a", "list", "table"}, name...)...)
				}
				return text
			}
			before := foreign()
			for _, want := range []*Ruleset{damaged(), build(web(backendPort(8080))), nil, damaged()} {
				m.bring(want)
				if diff := cmp.Diff(before, foreign()); diff != "" {
					t.Errorf("(-before +after):\n%s", diff)
				}
			}
		})
	}
}

// other is another value for a map: another address or size, or another chain.
func other(s *Set, v Value) Value {
	switch {
	case s.verdicts() && v == "gatepool_pool":
		return "gatepool_poolby"
	case s.verdicts() && strings.Contains(string(v), "pool"):
		return "gatepool_pool"
	case s.verdicts() && v == "random2":
		return "turn3_0"
	case s.verdicts():
		return "random2"
	}
	last := []byte(v)
	if s.Prefixes { // another network of the same length
		last[0]++
		last[len(last)/2]++
		return Value(last)
	}
	last[min(1, len(last)-1)]++
	return Value(last)
}
