package nat

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// LogGroup is the nflog group that the first packets to relays with log = true are sent to, as the client sent them.
const LogGroup = 9469

// logSnap is how many bytes of a packet are logged: the largest IPv4 header (RFC 791), or an IPv6 header with some
// extensions (RFC 8200), and the ports behind it.
const logSnap = 64

// Priorities of the base chains: NF_IP_PRI_NAT_DST, NF_IP_PRI_NAT_SRC and NF_IP_PRI_FILTER of
// linux/netfilter_ipv4.h, which nft prints as dstnat, srcnat and filter.
const (
	priorityDNAT   = -100
	prioritySNAT   = 100
	priorityFilter = 0
)

// Names of the chains that choose a slot, before the number of slots; those that choose out of a pool are called by the
// kind of its set and the name.
const (
	chainTurn   = "turn"
	chainRandom = "random"
	chainHash   = "hash"
)

// chainOutput is the chain that only IPv6 needs.
const chainOutput = "output"

// knownChain tells whether natd itself may have made the chain for an earlier configuration.
func knownChain(c *Chain) bool {
	if output := outputChain(nil); c.Name == output.Name {
		return c.sameHook(&output)
	}
	return c.Type == "" && (refuses(c.Name) || slices.ContainsFunc([]string{chainTurn, chainRandom, chainHash, setGatePool, setStaticPool}, func(name string) bool {
		return strings.HasPrefix(c.Name, name)
	}))
}

// chains returns the table's chains, those that others go to first. The text of each rule is what `nft list` prints of
// it; a test holds the two together.
func (b *builder) chains(policy Forwarding) []Chain {
	var chains []Chain
	for name, p := range b.pools {
		chains = append(chains, Chain{Name: name, Rules: p.rules(b)})
	}
	for c := range b.chosen {
		for _, name := range c.names() {
			chains = append(chains, Chain{Name: name, Rules: b.choosing(c)})
		}
	}
	slices.SortFunc(chains, func(a, b Chain) int { return strings.Compare(a.Name, b.Name) })
	each := func(rules func(*familyUse) []Rule) (all []Rule) {
		for _, f := range b.families {
			all = append(all, rules(f)...)
		}
		return all
	}
	forward := slices.Concat(b.fastRules(), []Rule{rule("established connections", ctAssured(), ctTranslated(), accept())}, each(b.clamping), b.repeats.answered(),
		[]Rule{rule("connections that begin, and errors", ctEstablished(), ctTranslated(), accept())}, b.repeats.unanswered(), each(b.forward))
	if policy == ForwardStrict {
		forward = append(forward, b.reportsPolicy()...)
	}
	input := slices.Concat([]Rule{rule("established connections", ctEstablished(), accept())}, b.repeats.unanswered(), each(b.input))
	postrouting := slices.Concat(each(b.relaySNAT), b.ownSNAT(), each(b.staticSNAT), each(b.gatewaySNAT))
	if redirects := each((*familyUse).redirects); len(redirects) > 0 {
		chains = append(chains, outputChain(redirects))
	}
	return append(append(b.refusingChains(), chains...),
		Chain{Name: "prerouting", Type: "nat", Hook: unix.NF_INET_PRE_ROUTING, Priority: priorityDNAT, Rules: each(b.prerouting)},
		Chain{Name: "postrouting", Type: "nat", Hook: unix.NF_INET_POST_ROUTING, Priority: prioritySNAT, Rules: postrouting},
		Chain{Name: "forward", Type: "filter", Hook: unix.NF_INET_FORWARD, Priority: priorityFilter, Drop: policy == ForwardStrict, Rules: forward},
		Chain{Name: "input", Type: "filter", Hook: unix.NF_INET_LOCAL_IN, Priority: priorityFilter, Rules: input},
	)
}

// ruleFor makes a rule when there is the set that it needs.
func (b *builder) ruleFor(set, comment string, parts ...part) []Rule {
	if !b.has(set) {
		return nil
	}
	return []Rule{rule(comment, parts...)}
}

// choosing sends a connection to the backend in the slot that the chooser finds.
func (b *builder) choosing(c chooser) (rules []Rule) {
	for _, f := range b.families {
		for _, proto := range slices.Sorted(maps.Keys(f.protocols)) {
			set := f.nameOf(setTurns, proto.String())
			rules = append(rules, b.ruleFor(set, fmt.Sprintf("one of %d slots", c.slots),
				f.is(), part{exprs: l4protoIs(proto).exprs}, f.dnatBy(set, key(f.ipDaddr(), proto.dport(), c.operand(f.family))))...)
		}
	}
	return rules
}

// prerouting translates what clients dial. The map for everyone comes first: it is the common case, and a hit ends
// the chain. A relay with sources has an element for each of them in the map of its prefix length.
func (b *builder) prerouting(f *familyUse) []Rule {
	dialled := key(f.dialled()...)
	rules := slices.Concat(
		b.ruleFor(f.name(setLogged), "connections to be logged", f.is(), dialled, in(f.name(setLogged)), logTo(LogGroup)),
		b.ruleFor(f.name(setRelays), "relays for every source", f.is(), f.dnatBy(f.name(setRelays), dialled)),
		b.ruleFor(f.name(setBalance), "relays with several backends", f.is(), goBy(f.name(setBalance), dialled)))
	for _, bits := range longestFirst(f.lengths) {
		relays, balance := fromName(f, setRelays, bits), fromName(f, setBalance, bits)
		from := key(append([]operand{f.ipSaddrMasked(bits)}, f.dialled()...)...)
		rules = slices.Concat(rules,
			b.ruleFor(relays, fmt.Sprintf("relays for sources of /%d", bits), f.is(), f.dnatBy(relays, from)),
			b.ruleFor(balance, fmt.Sprintf("relays with several backends for sources of /%d", bits), f.is(), goBy(balance, from)))
	}
	return append(rules, b.staticDNAT(f)...)
}

// relaySNAT makes the host the source of what a relay sends. The relay is known by what the client dialled, so that two
// relays to one backend can have different sources. nft knows the type of a port in the tracked tuple only behind a
// match of the protocol, hence a rule for each.
func (b *builder) relaySNAT(f *familyUse) (rules []Rule) {
	for _, proto := range slices.Sorted(maps.Keys(f.protocols)) {
		backend := append(f.tracked(), f.ipDaddr())
		rules = slices.Concat(rules,
			b.ruleFor(f.name(setSNAT), fmt.Sprintf("source address of %s relays", proto),
				l4protoIs(proto), f.is(), f.snatBy(f.name(setSNAT), key(backend...))),
			b.ruleFor(f.name(setPools), fmt.Sprintf("source addresses of %s relays with a pool", proto),
				l4protoIs(proto), f.is(), f.snatBy(f.name(setPools), key(append(f.tracked(), f.hashSlot(hashSlots))...))))
	}
	return rules
}

// ownSNAT leaves alone what the host itself sends, whose address may lie in the network of a gateway or static: its health
// checks and logins go on from the address that they chose.
func (b *builder) ownSNAT() []Rule {
	if !slices.ContainsFunc(b.families, func(f *familyUse) bool { return len(f.egresses) > 0 || b.has(f.name(setStatic)) }) {
		return nil
	}
	return []Rule{rule("what this host itself sends", sentHere(), accept())}
}

// clamping lowers the maximum segment size that both sides of a connection announce to what the path can carry. What the
// client dialled is in packets of both directions. Segments that carry it are never assured.
func (b *builder) clamping(f *familyUse) []Rule {
	sizes, unclamped := f.name(setMSS), f.name(setUnclamped)
	rules := b.ruleFor(sizes, "segment size of relays", f.named(), ctDNAT(), tcpSyn(), mssBy(sizes, key(f.tracked()...)))
	const comment = "segment size as the routes carry it"
	switch {
	case b.has(unclamped):
		return append(rules, rule(comment, f.named(), ctTranslated(), tcpSyn(), key(f.tracked()...), notIn(unclamped), mssOfRoutes()))
	case f.used:
		return append(rules, rule(comment, f.named(), ctTranslated(), tcpSyn(), mssOfRoutes()))
	}
	return rules
}

// forward lets relayed connections through; with the strict policy nothing else, not even what was established before the
// policy stood. Established packets come first because every rule that they meet costs them; ICMP errors have the
// status of the connection that they are about. New connections must have been translated, and go to a backend.
func (b *builder) forward(f *familyUse) []Rule {
	dialled := key(f.dialled()...)
	return slices.Concat(b.limitRules(f),
		b.ruleFor(f.name(setTargets), "new connections of relays", ctNew(), ctDNAT(), f.is(), dialled, in(f.name(setTargets)), accept()),
		b.staticForward(f), b.gatewayForward(f), b.refusals(f))
}

// refusals tell clients of relays without a backend.
func (b *builder) refusals(f *familyUse) []Rule {
	closed := f.name(setClosed)
	if !b.has(closed) {
		return nil
	}
	dialled := join(key(f.dialled()...), in(closed))
	return []Rule{
		rule("tcp relays without a backend", ctNew(), f.is(), dialled, l4protoIs(TCP), b.refuseProto(f, TCP)),
		rule("other relays without a backend", ctNew(), f.is(), dialled, b.refuseProto(f, UDP)),
	}
}

// input keeps the host's own stack from answering packets of relayed connections that connection tracking could not
// place: an answer would be a reset, and kill a connection that the next packet in order repairs. The first packets of
// relays to the host itself end here.
func (b *builder) input(f *familyUse) []Rule {
	listens, targets := f.name(setListens), f.name(setTargets)
	if !b.has(targets) {
		return nil
	}
	return slices.Concat([]Rule{
		rule("out-of-window packets of clients", ctStateIs("invalid", expr.CtStateBitINVALID),
			f.is(), key(f.dialled()...), in(listens), drop()),
		// Without an entry a segment from a backend is new (nf_conntrack_tcp_loose) or invalid; only a lone SYN opens a
		// connection to the host itself.
		rule("stray segments of backends", ctStateIs("invalid,new", expr.CtStateBitINVALID|expr.CtStateBitNEW),
			f.is(), key(f.ipSaddr(), l4proto(), thSport()), in(targets), tcpNotOpening(), drop()),
	}, b.limitRules(f), b.refusals(f))
}

// redirects keeps the host from telling IPv6 clients to go around it, as it does where it receives and sends by one
// interface. For IPv4 there is a setting (send_redirects); for IPv6 there is none (ip6_forward in net/ipv6/ip6_output.c).
func (f *familyUse) redirects() []Rule {
	if f.nfproto != unix.NFPROTO_IPV6 || !f.used {
		return nil
	}
	return []Rule{rule("redirects of clients around this host", f.is(), icmpv6Redirect(), drop())}
}

func outputChain(rules []Rule) Chain {
	return Chain{Name: chainOutput, Type: "filter", Hook: unix.NF_INET_LOCAL_OUT, Priority: priorityFilter, Rules: rules}
}
