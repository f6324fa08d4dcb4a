package nat

import (
	"slices"

	"golang.org/x/sys/unix"

	"natd/internal/nfnl"
)

// Attribute numbers of linux/netfilter/nf_tables.h that golang.org/x/sys/unix lacks.
const (
	attrTableOwner     = 7          // NFTA_TABLE_OWNER
	attrSetExpr        = 0x11       // NFTA_SET_EXPR
	attrSetExpressions = 0x12       // NFTA_SET_EXPRESSIONS: more than one
	attrDescConcat     = 2          // NFTA_SET_DESC_CONCAT
	attrFieldLen       = 1          // NFTA_SET_FIELD_LEN
	attrKeyEnd         = 10         // NFTA_SET_ELEM_KEY_END
	flagConcat         = 0x80       // NFT_SET_CONCAT
	verdictGoto        = 0xfffffffc // NFT_GOTO
)

// elementsPerMessage bounds the bytes of elements in one message. They are one attribute, whose length has 16 bits: what
// is beyond is lost without an error.
const elementsPerMessage = nfnl.MaxAttr - 4096

// encode writes the plan as one transaction. Rules go before the sets that they look into are deleted, and come after
// the sets that they look into are made; chains likewise with the elements that go to them.
func (p *Plan) encode(b *nfnl.Batch, hold Hold) {
	size := 0
	for i := range p.newSets {
		size += elementsSize(&p.newSets[i], p.newSets[i].Elements, true)
	}
	for i := range p.elements {
		c := &p.elements[i]
		size += elementsSize(&c.set, c.del, false) + elementsSize(&c.set, c.add, true)
	}
	b.Grow(size)
	if p.remove {
		deleteTable(b, TableName)
	}
	if p.create || p.adopt {
		newTable(b, TableName, hold.Protect == ProtectOwn)
	}
	for _, c := range slices.Concat(p.newChains, p.newPolicies) {
		newChain(b, TableName, &c)
	}
	p.fast.grow(b)
	for i, s := range p.newSets {
		newSet(b, &s, uint32(i+1))
		changeElements(b, unix.NFT_MSG_NEWSETELEM, &s, s.Elements)
	}
	for _, c := range p.elements {
		changeElements(b, unix.NFT_MSG_DELSETELEM, &c.set, c.del)
		changeElements(b, unix.NFT_MSG_NEWSETELEM, &c.set, c.add)
	}
	for _, c := range p.rewriteRules {
		if !p.create {
			deleteRules(b, c.Name)
		}
		for _, r := range c.Rules {
			newRule(b, TableName, c.Name, &r)
		}
	}
	for _, c := range p.oldChains {
		deleteRules(b, c.Name)
	}
	p.fast.shrink(b)
	for _, s := range p.oldSets {
		deleteSet(b, s.Name)
	}
	for _, c := range p.oldChains {
		deleteChain(b, c.Name)
	}
	p.encodeGuard(b)
}

func begin(b *nfnl.Batch, message uint8, flags uint16) {
	b.Begin(nfnl.Type(unix.NFNL_SUBSYS_NFTABLES, message), flags, unix.NFPROTO_INET, 0)
}

func newTable(b *nfnl.Batch, name string, own bool) {
	begin(b, unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE)
	b.String(unix.NFTA_TABLE_NAME, name)
	if own {
		b.Uint32(unix.NFTA_TABLE_FLAGS, flagOwner|flagPersist)
	}
	b.End()
}

func deleteTable(b *nfnl.Batch, name string) {
	begin(b, unix.NFT_MSG_DELTABLE, 0)
	b.String(unix.NFTA_TABLE_NAME, name)
	b.End()
}

func newChain(b *nfnl.Batch, table string, c *Chain) {
	begin(b, unix.NFT_MSG_NEWCHAIN, unix.NLM_F_CREATE)
	b.String(unix.NFTA_CHAIN_TABLE, table)
	b.String(unix.NFTA_CHAIN_NAME, c.Name)
	if c.Type != "" {
		hook := b.Nest(unix.NFTA_CHAIN_HOOK)
		b.Uint32(unix.NFTA_HOOK_HOOKNUM, c.Hook)
		b.Uint32(unix.NFTA_HOOK_PRIORITY, uint32(c.Priority))
		b.Unnest(hook)
		b.Uint32(unix.NFTA_CHAIN_POLICY, policy(c.Drop))
		b.String(unix.NFTA_CHAIN_TYPE, c.Type)
	}
	b.End()
}

func deleteChain(b *nfnl.Batch, name string) {
	begin(b, unix.NFT_MSG_DELCHAIN, 0)
	b.String(unix.NFTA_CHAIN_TABLE, TableName)
	b.String(unix.NFTA_CHAIN_NAME, name)
	b.End()
}

// policy is the verdict that the kernel has for a chain's policy: NF_DROP or NF_ACCEPT of linux/netfilter.h.
func policy(drop bool) uint32 {
	if drop {
		return 0
	}
	return 1
}

func newRule(b *nfnl.Batch, table, chain string, r *Rule) {
	begin(b, unix.NFT_MSG_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_APPEND)
	b.String(unix.NFTA_RULE_TABLE, table)
	b.String(unix.NFTA_RULE_CHAIN, chain)
	b.Bytes(unix.NLA_F_NESTED|unix.NFTA_RULE_EXPRESSIONS, r.exprs)
	b.Bytes(unix.NFTA_RULE_USERDATA, encodeComment(r.Comment))
	b.End()
}

func deleteRules(b *nfnl.Batch, chain string) {
	begin(b, unix.NFT_MSG_DELRULE, 0)
	b.String(unix.NFTA_RULE_TABLE, TableName)
	b.String(unix.NFTA_RULE_CHAIN, chain)
	b.End()
}
