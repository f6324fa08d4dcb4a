package nat

import (
	"fmt"
	"slices"
)

// Table flags: enum nft_table_flags of linux/netfilter/nf_tables.h.
const (
	flagOwner   = 2
	flagPersist = 4
)

// Table is what the kernel holds of natd.
type Table struct {
	Generation uint32 // of the whole host's ruleset when it was read
	Exists     bool
	Flags      uint32
	Owner      uint32 // netlink port id of the process that owns the table, 0 = nobody
	Guard      bool   // the guard table exists
	GuardOwner uint32
	Others     int // objects in the table, and flowtables that are not as natd makes its own
	Ruleset
}

// Hold is how the table is to be held, and by whom.
type Hold struct {
	Protect Protect // not ProtectAuto
	Port    uint32  // netlink port id of the owner
}

// Plan is what leads from what the kernel has to what is wanted, in one transaction.
type Plan struct {
	Retired []Element // listens that nothing serves any more; see Kernel.Release

	want                    *Ruleset // what it leads to
	remove, create, adopt   bool
	makeGuard, removeGuard  bool
	why                     string // the table is made anew
	newSets, oldSets        []Set
	elements                []setChange
	newChains, rewriteRules []Chain
	newPolicies             []Chain // of chains that stand
	oldChains               []Chain
	fast                    fastChange
}

// setChange is the elements to delete from and to add to one set.
type setChange struct {
	set      Set // without elements
	del, add []Element
}

// Empty tells whether there is nothing to do.
func (p *Plan) Empty() bool {
	return !p.remove && !p.create && !p.adopt && !p.makeGuard && !p.removeGuard && p.fast.empty() &&
		len(p.newSets)+len(p.oldSets)+len(p.elements)+len(p.newChains)+len(p.newPolicies)+len(p.rewriteRules)+len(p.oldChains) == 0
}

// Heals tells whether the plan changes the table's content, and not only who holds it.
func (p *Plan) Heals() bool {
	q := *p
	q.adopt, q.makeGuard, q.removeGuard = false, false, false
	return !q.Empty()
}

// Steps says what the plan does, a line each, at most limit of them and a last line that counts the rest.
func (p *Plan) Steps(limit int) []string {
	s := steps{limit: limit}
	p.tableSteps(&s)
	p.fast.steps(&s)
	for _, set := range p.newSets {
		s.addf("make set %s with %s", set.Name, counted(len(set.Elements), "element"))
	}
	for _, c := range p.elements {
		for i := range c.del {
			s.addf("delete from %s { %s }", c.set.Name, c.del[i].text(&c.set))
		}
		for i := range c.add {
			s.addf("add to %s { %s }", c.set.Name, c.add[i].text(&c.set))
		}
	}
	chainSteps(&s, "set up", p.newChains)
	for _, c := range p.newPolicies {
		s.addf("set the policy of chain %s to %s (was %s)", c.Name, policyName(c.Drop), policyName(!c.Drop))
	}
	for _, c := range p.rewriteRules {
		if isNew := func(o Chain) bool { return o.Name == c.Name }; c.Type == "" && slices.ContainsFunc(p.newChains, isNew) {
			continue
		}
		s.addf("write %s of chain %s", counted(len(c.Rules), "rule"), c.Name)
	}
	for _, set := range p.oldSets {
		s.addf("delete set %s", set.Name)
	}
	chainSteps(&s, "delete", p.oldChains)
	if s.dropped > 0 {
		s.lines = append(s.lines, fmt.Sprintf("and %d more", s.dropped))
	}
	return s.lines
}

// chainSteps names the chains at hooks one by one, and those that choose for them, of which there are many alike, in one line.
func chainSteps(s *steps, doing string, chains []Chain) {
	var choosing []string
	for _, c := range chains {
		if c.Type != "" {
			s.addf("%s chain %s", doing, c.Name)
			continue
		}
		choosing = append(choosing, c.Name)
	}
	switch last := len(choosing) - 1; {
	case last == 0:
		s.addf("%s chain %s", doing, choosing[0])
	case last > 0:
		s.addf("%s %d chains, %s to %s", doing, last+1, choosing[0], choosing[last])
	}
}

// counted is a number of things, in words.
func counted(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

func policyName(drop bool) string {
	if drop {
		return "drop"
	}
	return "accept"
}

func (p *Plan) tableSteps(s *steps) {
	switch {
	case p.remove && p.create:
		s.addf("make table inet %s anew: %s", TableName, p.why)
	case p.remove:
		s.addf("delete table inet %s", TableName)
	case p.create:
		s.addf("make table inet %s", TableName)
	case p.adopt:
		s.addf("take ownership of table inet %s", TableName)
	}
	if p.removeGuard {
		s.addf("delete table inet %s", guardName)
	}
	if p.makeGuard {
		s.addf("make table inet %s", guardName)
	}
}

// steps collects lines up to a limit.
type steps struct {
	limit, dropped int
	lines          []string
}

func (s *steps) addf(format string, args ...any) {
	if len(s.lines) == s.limit {
		s.dropped++
		return
	}
	s.lines = append(s.lines, fmt.Sprintf(format, args...))
}
