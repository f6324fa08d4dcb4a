package nat

import (
	"fmt"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// LogGroup is the nflog group that the first packets to relays with log = true are sent to, as the client sent them.
const LogGroup = 9469

// logSnap is how many bytes of a packet are logged: the largest IPv4 header (RFC 791) and the ports behind it.
const logSnap = 64

// Priorities of the base chains: NF_IP_PRI_NAT_DST, NF_IP_PRI_NAT_SRC and NF_IP_PRI_FILTER of
// linux/netfilter_ipv4.h, which nft prints as dstnat, srcnat and filter.
const (
	priorityDNAT   = -100
	prioritySNAT   = 100
	priorityFilter = 0
)

// chains returns the table's chains. fromLengths are the prefix lengths of the sources that relays name, longest first.
// The text above each rule is what `nft list` prints of it; a test holds the two together.
func chains(policy Forwarding, fromLengths []int, log bool) []Chain {
	return []Chain{
		{Name: "prerouting", Type: "nat", Hook: unix.NF_INET_PRE_ROUTING, Priority: priorityDNAT, Rules: prerouting(fromLengths, log)},
		{Name: "postrouting", Type: "nat", Hook: unix.NF_INET_POST_ROUTING, Priority: prioritySNAT, Rules: postrouting()},
		{Name: "forward", Type: "filter", Hook: unix.NF_INET_FORWARD, Priority: priorityFilter, Drop: policy == ForwardStrict, Rules: forward()},
		{Name: "input", Type: "filter", Hook: unix.NF_INET_LOCAL_IN, Priority: priorityFilter, Rules: input()},
	}
}

// prerouting translates what clients dial. The map for everyone comes first: it is the common case, and a hit ends
// the chain. A relay with sources has an element for each of them in the map of its prefix length.
func prerouting(fromLengths []int, log bool) []Rule {
	var rules []Rule
	if log {
		rules = append(rules, rule("connections to be logged",
			fmt.Sprintf("ip daddr . meta l4proto . th dport @logged4 log group %d snaplen %d", LogGroup, logSnap),
			ipv4(), load(
				ipDaddr(), l4proto(), thDport(),
			), in(setLogged), logToGroup()))
	}
	rules = append(rules, rule("relays for every source",
		"dnat ip to ip daddr . meta l4proto . th dport map @relays4",
		ipv4(), load(
			ipDaddr(), l4proto(), thDport(),
		), dnatBy(setRelays)))
	for _, bits := range fromLengths {
		rules = append(rules, rule(
			fmt.Sprintf("relays for sources of /%d", bits),
			fmt.Sprintf("dnat ip to ip saddr%s . ip daddr . meta l4proto . th dport map @%s%d", maskText(bits), setFrom, bits),
			ipv4(), load(
				ipSaddrMasked(bits), ipDaddr(), l4proto(), thDport(),
			), dnatBy(fmt.Sprintf("%s%d", setFrom, bits))))
	}
	return rules
}

// postrouting makes the host the source of what a relay sends. The relay is known by what the client dialled, so that two
// relays to one backend can have different sources. nft knows the type of a port in the tracked tuple only behind a
// match of the protocol, hence a rule for each.
func postrouting() []Rule {
	var rules []Rule
	for _, proto := range []Protocol{TCP, UDP} {
		rules = append(rules, rule(
			fmt.Sprintf("source address of %s relays", proto),
			fmt.Sprintf("meta l4proto %s snat ip to ct original ip daddr . meta l4proto . ct original proto-dst map @snat4", proto),
			l4protoIs(proto), load(
				ctOriginalDaddr(), l4proto(), ctOriginalDport(),
			), snatBy(setSNAT)))
	}
	return rules
}

// forward lets relayed connections through; with the strict policy nothing else, not even what was established before the
// policy stood. Established packets come first because every rule that they meet costs them; ICMP errors have the
// status of the connection that they are about. New connections must have been translated, and go to a backend.
func forward() []Rule {
	return []Rule{
		rule("established connections of relays", "ct state established,related ct status dnat accept",
			ctStateIs(expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED), ctStatusDNAT(), accept()),
		rule("new connections of relays", "ct state new ct status dnat ip daddr . meta l4proto . th dport @targets4 accept",
			ctStateIs(expr.CtStateBitNEW), ctStatusDNAT(),
			ipv4(), load(ipDaddr(), l4proto(), thDport()), in(setTargets), accept()),
	}
}

// input keeps the host's own stack from answering packets of relayed connections that connection tracking could not
// place: an answer would be a reset, and kill a connection that the next packet in order repairs.
func input() []Rule {
	return []Rule{
		rule("established connections", "ct state established,related accept",
			ctStateIs(expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED), accept()),
		rule("out-of-window packets of clients", "ct state invalid ip daddr . meta l4proto . th dport @listens4 drop",
			ctStateIs(expr.CtStateBitINVALID),
			ipv4(), load(ipDaddr(), l4proto(), thDport()), in(setListens), drop()),
		// Without an entry a segment from a backend is new (nf_conntrack_tcp_loose) or invalid; only a lone SYN opens a
		// connection to the host itself.
		rule("stray segments of backends", "ct state invalid,new ip saddr . meta l4proto . th sport @targets4 tcp flags != syn / syn,ack drop",
			ctStateIs(expr.CtStateBitINVALID|expr.CtStateBitNEW),
			ipv4(), load(ipSaddr(), l4proto(), thSport()), in(setTargets), tcpNotOpening(), drop()),
	}
}
