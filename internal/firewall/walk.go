package firewall

import "slices"

// Bounds of a walk. The kernel jumps no deeper (NFT_JUMP_STACK_SIZE); the steps are for rulesets in which every way is open.
const (
	maxDepth    = 16
	maxSteps    = 1 << 20
	maxFindings = 16 // of one base chain
)

// walker walks a packet through the chains of a hook.
type walker struct {
	*Ruleset
	packet *Packet
	steps  int

	findings   []Finding
	state      state // as the base chains so far have left it
	untracked  tri   // whether a rule took the packet out of connection tracking
	zoned      bool  // a rule may have had connection tracking look for the packet in another zone
	translated tri   // whether a chain of this hook has translated it
	foreign    tri   // whether that was another one than natd's: to what is not known

	// Of the base chain that is walked.
	base   *chain
	open   bool // some rule was not decided
	ends   []ending
	passed merged // the states in which the packet goes on
}

// machine carries out one rule.
type machine struct {
	*walker
	chain *chain
	rule  *rule
	state *state
	regs  registers
	sure  tri // whether the rule got here
	ends  []verdict
}

// end takes a verdict down. To continue is none.
func (m *machine) end(v verdict) tri {
	if v.kind == verdictContinue {
		if len(m.ends) > 0 {
			return maybe
		}
		return yes
	}
	m.ends = append(m.ends, v)
	return yes
}

// undecided takes down that the rule may do anything.
func (m *machine) undecided() tri {
	for reg := range m.regs.known {
		m.regs.value[reg], m.regs.known[reg] = 0, 0
	}
	m.record(m.chain, m.rule, Unknown, *m.state)
	m.open = true
	return maybe
}

// change writes something of the packet, if the rule gets here.
func (m *machine) change(p span, b bits) {
	before := *m.state
	m.state.set(p, b)
	if m.sure != yes {
		m.state.join(&before)
	}
}

// untrack takes the packet out of connection tracking, if the rule gets here. Where it has a connection already it keeps it
// (nft_notrack_eval of net/netfilter/nft_ct.c).
func (m *machine) untrack() {
	tracked := m.state.get(ctThereSpan()).equal([]byte{1})
	if tracked == yes || m.untracked == yes {
		return
	}
	sure := min(m.sure, tracked.not(), truth(!m.open).or(maybe))
	m.report(ending{m.chain, m.rule, Untrack}, sure == yes)
	m.untracked = max(m.untracked, sure)
	before := *m.state
	if m.state.setConnection(Untracked, 0); sure != yes {
		m.state.join(&before)
	}
}

// elsewhere has connection tracking look for the packet in another zone: which connection that is, if any, is not known. Rules before that find
// a template, whose packets are new. A packet that has its connection already keeps it (nft_ct_set_zone_eval of net/netfilter/nft_ct.c).
func (m *machine) elsewhere() {
	if m.state.get(ctThereSpan()).equal([]byte{1}) == yes {
		return
	}
	m.zoned = true
	m.state.setConnection("", 0)
}

// run walks a chain, and returns the state at its end and whether the packet may come there.
func (w *walker) run(c *chain, s state, depth int) (state, bool) {
	var left merged
	for _, r := range c.rules {
		if w.steps++; w.steps > maxSteps || depth > maxDepth {
			w.record(c, r, Unknown, s)
			break
		}
		m := machine{walker: w, chain: c, rule: r, state: &s, sure: yes}
		m.carryOut()
		if m.sure == no || len(m.ends) == 0 {
			continue
		}
		on := merged{}
		if m.sure != yes {
			on.add(s)
		}
		w.open = w.open || m.sure != yes || len(m.ends) > 1
		for _, v := range m.ends {
			w.follow(c, r, v, s, depth, &on, &left)
		}
		if !on.any {
			return left.state, left.any
		}
		s = on.state
	}
	if c.partial {
		w.record(c, nil, Unknown, s)
	}
	left.add(s)
	return left.state, true
}

// carryOut evaluates the rule's expressions up to its verdict.
func (m *machine) carryOut() {
	for _, e := range m.rule.exprs {
		if m.sure = min(m.sure, e.eval(m)); m.sure == no || len(m.ends) > 0 {
			return
		}
	}
}

// follow does what a verdict says: the packet goes on behind the rule, or leaves the chain, or ends.
func (w *walker) follow(c *chain, r *rule, v verdict, s state, depth int, on, left *merged) {
	switch v.kind {
	case verdictEnd:
		w.record(c, r, v.outcome, s)
	case verdictReturn:
		left.add(s)
	default:
		to := w.chains[chainID{c.table, v.chain}]
		if to == nil {
			w.record(c, r, Unknown, s)
			return
		}
		out, back := w.run(to, s, depth+1)
		switch {
		case back && v.kind == verdictJump:
			on.add(out)
		case back:
			left.add(out)
		}
	}
}

// record takes an ending of the base chain down.
func (w *walker) record(c *chain, r *rule, o Outcome, s state) {
	if o != Drop && o != Reject {
		w.passed.add(s)
	}
	if e := (ending{c, r, o}); !slices.Contains(w.ends, e) {
		w.ends = append(w.ends, e)
	}
}
