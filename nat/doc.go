// Package nat says what NAT is wanted and how the kernel says it.
//
// # The way through
//
// A Spec is what the configuration asks for, free of the state of the host. A Placement is what the host makes of one relay, gateway or static.
// Build turns both into a Ruleset, Read reads the same type back from the kernel, Diff compares the two, and Apply carries the
// difference out in one transaction. Everything but Kernel and Watcher is a function of its arguments.
//
// # The table
//
// natd has one table, inet natd. Its rules depend on the features in use and not on the number of relays: those are elements
// of maps, so that a packet costs one lookup however many there are. The name of a set ends with the family, 4 or 6; sets and
// rules of IPv6 are there when something of it is translated. What clients dial is an address, protocol and port.
//
//	map relays4        what clients dial -> backend, of relays for every source that have one backend
//	map relays4_from16 source network and what clients dial -> backend; a map for each prefix length that `from` uses
//	map balance4       what clients dial -> the chain that chooses a slot, of relays with several backends; likewise _from16
//	map turns4_tcp     what clients dial and slot -> backend
//	map snat4          what clients dial and backend -> source address towards it
//	map pools4         what clients dial and slot -> source address, of relays with several
//	set listens4       what clients dial
//	set targets4       the backends, also those that take no new connections
//	set closed4        what clients dial and no backend takes
//	set logged4        what clients dial and is logged
//	set slow4          with a fast path: what clients dial that limits connections, which therefore stay off it
//	map mss4           what clients dial -> segment size; set unclamped4: where the routes do not decide about it
//	set limits4_rate_100s, counts4_rate_100s
//	                   what clients dial that has this limit, and what counts towards it, which the kernel fills;
//	                   likewise connections_N and sources_N
//	set refused4_rate  what clients dial, with a counter of what this kind of limit refused
//	set gateways4      from and to of gateways; set masquerade4, map gatepools4: their source address, or the chain that
//	                   chooses one; those of gateways with an egress have its name behind them
//	map static4        clients and External -> Internal; staticin4, staticfrom4, staticout4: what comes in, what goes out, and
//	                   its External; staticmasq4, staticpools4: the source of what clients send
//	map gatepool4_NAME, staticpool4_NAME
//	                   slot -> source address
//
// and the chains
//
//	prerouting   DNAT by relays4 and balance4, then by their from maps, longest prefix first, then by static4
//	postrouting  SNAT by snat4 and pools4, found by what the client dialled, so that relays to one backend can differ; then
//	             statics, then gateways, for what is not translated otherwise, and not for what the host itself sends. Ports are kept
//	             where they are free
//	forward      translated connections pass: established ones, and new ones that go to a backend and are below the limits; for
//	             others the policy. Gateways and statics lead to no service of this host's own. SYN and SYN-ACK get the segment
//	             size that the routes carry. With a fast path, established ones are put into the flowtable first, but those of slow4
//	input        keeps the host from answering packets of relayed connections that it cannot place, which would reset them;
//	             refuses what is over a limit, or has no backend, where the backend is the host itself
//	output       with IPv6 only: keeps the host from telling clients behind the interface that it sends by of the way around it
//	turn3_0      the next of 3 slots, for every eighth relay: a chain counts for all that share it
//	random3      one of 3 slots by chance
//	hash         one of 256 slots, the same for the same source
//
// The slots of a relay are dealt to its backends by weight: by turns in the order of smooth weighted round-robin, by source by
// rendezvous hashing, so that a backend that leaves moves none of the clients of others.
//
// A set of many elements has its size declared, so that it is loaded and read in half the time, with room for a quarter more at
// least; when that is not enough the table is made anew, in one transaction as ever.
//
// Every element's comment is the name of its relay, or "gateway" or "static" and the name; every rule's says what the rule is
// for. The elements that count count connections: a nat chain sees only the first packet of each.
//
// Where a Spec asks for it, what limits, relays without a backend and the strict policy refuse is reported to an nflog group first, up to
// RefusedBurst packets a second.
//
// Likewise, packets of connections that begin are reported where connection tracking does not count them: see Spec.ReportRepeated.
//
// Limits count what clients dial, each address, protocol and port for itself. A client that is refused is told: by a reset for
// TCP, else by an ICMP error.
//
// listens4 and listens6 are also a journal. When a relay goes, its listens stay in this set until the connections that were
// made through them are removed (Plan.Retired, Kernel.Release). A natd that is killed in between finds them there.
//
// What natd uses is in Linux since 5.8 (prefix NAT); nft 1.0.6 lists it, and reads back what it listed. docs/how-it-works.md shows the
// table of one relay, and since when the kernel has what.
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
//   - Docker: its FORWARD chain may drop by policy. Allow relays in DOCKER-USER: iptables -I DOCKER-USER -m conntrack --ctstate DNAT
//     -j ACCEPT. With the strict policy natd drops what containers forward: set forward = "open" on a host that runs them.
//   - ufw: its forward policy is drop by default. Allow relays with ufw route allow.
//   - amazon-ec2-net-utils: sets addresses and routes, which natd follows, and for further interfaces rules that route by source
//     address. Answers of a relay are routed before their source is translated back, so those rules do not apply to them.
//   - Anything that runs `nft flush ruleset`, as nftables.service does: the table is protected as above, or repaired.
package nat
