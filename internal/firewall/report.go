package firewall

import "strings"

// report adds a finding about the base chain that is walked.
func (w *walker) report(e ending, certain bool) {
	f := Finding{
		Hook:     w.base.hook,
		Family:   w.base.table.familyName(),
		Table:    w.base.table.name,
		Base:     w.base.name,
		Chain:    e.chain.name,
		Priority: w.base.priority,
		Outcome:  e.outcome,
		Certain:  certain,
		Owner:    w.owner(e, w.base),
	}
	f.Remedy = w.remedy(e, f.Owner)
	if e.rule == nil {
		f.Policy, f.Counter = true, e.chain.counter
	} else {
		f.Rule, f.Handle, f.Counter = e.rule.text(f.Family), e.rule.handle, e.rule.counter
	}
	w.findings = append(w.findings, f)
}

// unseen are findings about what filters at the hook and cannot be read: tables of iptables-legacy, and chains of bridges.
func (r *Ruleset) unseen(p *Packet) (all []Finding) {
	for _, name := range r.legacy {
		family, table, _ := strings.Cut(name, " ")
		if family == p.family() && legacyHooks(table, p.Hook) {
			chain := strings.ToUpper(string(p.Hook))
			all = append(all, Finding{
				Hook: p.Hook, Family: family, Table: table, Base: chain, Chain: chain,
				Outcome: Unknown, Owner: LegacyOwner, Remedy: []string{legacyList(family, table, chain)},
			})
		}
	}
	for _, c := range r.bases {
		if c.table.familyName() == "bridge" && r.host.bridges && c.hook == p.Hook {
			all = append(all, Finding{
				Hook: c.hook, Family: "bridge", Table: c.table.name, Base: c.name, Chain: c.name, Priority: c.priority, Outcome: Unknown, Owner: "nft",
			})
		}
	}
	return all
}

// LegacyOwner is the owner of the tables that cannot be read, because they are not of nf_tables.
const LegacyOwner = "iptables-legacy"

// legacyList is the command that shows a chain of iptables-legacy.
func legacyList(family, table, chain string) string {
	program := LegacyOwner
	if family == "ip6" {
		program = "ip6tables-legacy"
	}
	return program + " -t " + table + " -S " + chain
}

// legacyHooks tells whether a table of iptables-legacy has a chain at the hook.
func legacyHooks(table string, h Hook) bool {
	switch table {
	case "filter", "security":
		return h == Input || h == Forward || h == Output
	case "raw":
		return h == Prerouting || h == Output
	case "nat":
		return h != Forward && h != Ingress && h != Egress
	}
	return h != Ingress && h != Egress
}
