package nat

import (
	"golang.org/x/sys/unix"

	"natd/internal/nfnl"
)

// guardName is the table that keeps the kernel's NAT and connection tracking hooks registered while another program's
// flush takes the main table away; see the package documentation.
const guardName = "natd_guard"

// guardChain is, as nft would show it:
//
//	chain keep {
//		type nat hook prerouting priority filter; policy accept;
//		ct state new
//	}
//
// The chain of type nat holds the NAT hooks, the rule that looks at connection tracking holds that one's. Either
// alone is not enough.
func guardChain() Chain {
	return Chain{Name: "keep", Type: "nat", Hook: unix.NF_INET_PRE_ROUTING, Priority: priorityFilter, Rules: []Rule{
		rule("keeps NAT alive while table inet natd is restored", ctNew()),
	}}
}

func (p *Plan) encodeGuard(b *nfnl.Batch) {
	if p.removeGuard {
		deleteTable(b, guardName)
	}
	if !p.makeGuard {
		return
	}
	begin(b, unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE)
	b.String(unix.NFTA_TABLE_NAME, guardName)
	b.Uint32(unix.NFTA_TABLE_FLAGS, flagOwner)
	b.End()
	chain := guardChain()
	newChain(b, guardName, &chain)
	newRule(b, guardName, chain.Name, &chain.Rules[0])
}
