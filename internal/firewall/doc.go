// Package firewall reads every base chain of the host, whoever made it, and says what happens to a packet there: which chain
// and rule drops it, and whether that is certain.
//
// Read asks the kernel for all nf_tables rulesets but natd's own. Walk then plays a packet through the chains of a hook, as
// nft_do_chain of net/netfilter/nf_tables_core.c does, with three-valued logic: of the packet, of its connection and of the host
// only some bits are known. A rule that cannot be decided leaves both ways open, and a finding is certain only when every way
// that is left open ends alike. What the package does not know (an expression of a later kernel, an extension of
// iptables) never makes it fail, and never makes it certain.
//
// One file for each kind of expression: load*.go brings something of the packet into a register, compare.go and lookup.go
// judge registers, verdict.go ends or turns the walk, alter.go changes the packet, pass.go has the rest; xt*.go are the
// extensions of iptables. Each kind of expression has its decoder, its evaluation and its text, in nft's words.
//
// Formats: linux/netfilter/nf_tables.h, linux/netfilter/xt_*.h.
package firewall
