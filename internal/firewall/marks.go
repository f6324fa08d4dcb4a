package firewall

import "golang.org/x/sys/unix"

// marking tells whether any rule gives packets a mark before they come to be forwarded, or connections one at all.
func (r *Ruleset) marking() bool {
	seen := make(map[*chain]bool)
	for _, c := range r.bases {
		if (c.hook == Prerouting || c.hook == Ingress) && r.marksIn(c, seen, markSpan()) {
			return true
		}
	}
	clear(seen)
	for _, c := range r.bases {
		if r.marksIn(c, seen, ctMarkSpan()) {
			return true
		}
	}
	return len(r.legacy) > 0
}

// marksIn tells whether the chain, or one that it may go to, changes such a mark.
func (r *Ruleset) marksIn(c *chain, seen map[*chain]bool, what span) bool {
	if c == nil || seen[c] {
		return false
	}
	seen[c] = true
	for _, rule := range c.rules {
		for _, e := range rule.exprs {
			if l, ok := e.(*lookup); marks(e, what) || ok && l.set != nil && l.set.large && l.set.dataType == typeVerdict {
				return true
			}
			for _, to := range turns(e) {
				if r.marksIn(r.chains[chainID{c.table, to}], seen, what) {
					return true
				}
			}
		}
	}
	return false
}

// turns are the chains that an expression may go to.
func turns(e expression) (to []string) {
	switch e := e.(type) {
	case *immediate:
		if e.verdict != nil {
			to = append(to, e.verdict.chain)
		}
	case *lookup:
		for i := range e.set.count() {
			if v := e.set.elements[i].verdict; v != nil {
				to = append(to, v.chain)
			}
		}
		if e.set != nil && e.set.fallback != nil && e.set.fallback.verdict != nil {
			to = append(to, e.set.fallback.verdict.chain)
		}
	}
	return to
}

// marks tells whether the expression may change such a mark.
func marks(e expression, what span) bool {
	switch e := e.(type) {
	case *meta:
		return e.write && e.key == unix.NFT_META_MARK && what == markSpan()
	case *connection:
		return e.write && e.key == unix.NFT_CT_MARK && what == ctMarkSpan()
	case *stranger, *xtMark:
		return true
	}
	return false
}
