// Package nat says what NAT is wanted and how the kernel says it.
//
// # The way through
//
// A Spec is what the configuration asks for, free of the state of the host. A Placement is what the host makes of one relay.
// Build turns both into a Ruleset, Read reads the same type back from the kernel, Diff compares the two, and Apply carries the
// difference out in one transaction. Everything but Kernel and Watcher is a function of its arguments.
//
// # The table
//
// natd has one table, inet natd. Its rules are the same for one relay and for a hundred thousand: relays are elements of maps,
// so that a packet costs one lookup however many there are. For a relay of 10.2.0.100:80 to 10.3.0.100:80 for clients of
// 10.1.0.0/16 the kernel holds
//
//	map relays4        what clients dial -> backend, of relays for every source
//	map relays4_from16 source network and what clients dial -> backend; a map for each prefix length that `from` uses
//	map snat4          what clients dial -> source address towards the backend
//	set listens4       what clients dial
//	set targets4       the backends
//
// and the chains
//
//	prerouting   DNAT by relays4, then by the relays4_from maps, longest prefix first
//	postrouting  SNAT by snat4, found by what the client dialled, so that relays to one backend can differ; ports are kept
//	forward      translated connections pass: established ones, and new ones that go to a backend; for others the policy
//	input        keeps the host from answering packets of relayed connections that it cannot place, which would reset them
//
// Every element's comment is the name of its relay, every rule's says what the rule is for. The elements of the relays4 maps
// count connections: a nat chain sees only the first packet of each.
//
// listens4 is also a journal. When a relay goes, its listens stay in this set until the connections that were made through them
// are removed (Plan.Retired, Kernel.Release). A natd that is killed in between finds them there.
//
// # Protection
//
// ProtectOwn gives the table the flags owner and persist: while natd runs no other process can change it, it outlives natd, and
// the next natd adopts it. ProtectGuard leaves the table open to others and keeps a second one, inet natd_guard, that belongs to natd alone
// and goes with it. When `nft flush ruleset` takes the last NAT rule of a host away, the kernel takes its NAT and connection
// tracking hooks down, and the next packet of every translated connection is answered by the host itself with a reset,
// however fast the table comes back. The guard keeps the hooks in place.
//
// # Living with others
//
// natd never reads or writes another table. What others must know:
//
//   - Priorities: prerouting dstnat (-100), postrouting srcnat (100), forward and input filter (0). Chains that hang at the same
//     hook all see a packet; a drop in any of them is final, an accept ends only its own chain.
//   - firewalld: its chains come at +10 and accept translated connections, unless StrictForwardPorts=yes.
//   - Docker: its FORWARD chain may drop by policy. Allow relays in DOCKER-USER: iptables -I DOCKER-USER -m conntrack --ctstatus DNAT
//     -j ACCEPT. With the strict policy natd drops what containers forward: set forward = "open" on a host that runs them.
//   - ufw: its forward policy is drop by default. Allow relays with ufw route allow.
//   - amazon-ec2-net-utils: sets addresses and routes, which natd follows, and for further interfaces rules that route by source
//     address. Answers of a relay are routed before their source is translated back, so those rules do not apply to them.
//   - Anything that runs `nft flush ruleset`, as nftables.service does: the table is protected as above, or repaired.
package nat
