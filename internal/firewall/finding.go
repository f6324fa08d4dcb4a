package firewall

// Outcome is what becomes of a packet.
type Outcome string

// The outcomes.
const (
	Accept    Outcome = "accept"    // by this base chain: another one may still drop it
	Drop      Outcome = "drop"      // without a word
	Reject    Outcome = "reject"    // with an ICMP error or a reset
	Translate Outcome = "translate" // the packet goes on with other addresses, or to a local socket
	Untrack   Outcome = "untrack"   // the packet goes on without connection tracking: nothing translates it any more
	Unknown   Outcome = "unknown"   // a program decides, or a rule that natd cannot read
)

// Finding is what one base chain does to a packet, or may do.
type Finding struct {
	Hook     Hook
	Family   string // ip, ip6, inet, netdev, bridge
	Table    string
	Base     string // the base chain
	Chain    string // the chain of the rule: Base, or one that it jumps to
	Priority int
	Rule     string // in nft's words; "" for a policy
	Handle   uint64 // of the rule
	Policy   bool   // no rule decided: the base chain's policy did
	Outcome  Outcome
	Certain  bool
	Counter  *uint64 // packets that the rule or the policy has counted; nil = it does not count
	Owner    string  // who makes such tables: docker, firewalld, ufw, iptables-nft, nft, ...
	Remedy   []string
}

// Stops tells whether the packet goes no further.
func (f *Finding) Stops() bool { return f.Outcome == Drop || f.Outcome == Reject }

// ending is a verdict that the walk of a base chain may come to.
type ending struct {
	chain   *chain
	rule    *rule // nil = the policy
	outcome Outcome
}
