package rival

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"natd/bench/arena"
)

// Map is the best ruleset that a person would write for the job: one lookup finds the relay, and only traffic of relays is forwarded.
// Where relays have sources there is one map for each length of prefix, which is looked up with the masked source.
func Map() arena.Candidate { return Ruleset{name: "map", script: mapScript, change: mapChange} }

// MapAgain is the same once more, which has the same figures but for noise: nothing that differs by less says anything.
func MapAgain() arena.Candidate {
	return Ruleset{name: "map again", script: mapScript, change: mapChange}
}

// lengths are the lengths of the prefixes that the relays serve, the longest first; 0 = everybody.
func lengths(j arena.Job) []int {
	if j.Prefixes == 0 {
		return []int{0}
	}
	found := make(map[int]bool)
	for _, p := range j.Sources(j.Hit()) {
		found[p.Bits()] = true
	}
	return slices.SortedFunc(maps.Keys(found), func(a, b int) int { return b - a })
}

func mapScript(j arena.Job) string {
	var all, rules strings.Builder
	for _, bits := range lengths(j) {
		elements := mapElements(j, bits)
		source, lookup := "", ""
		if bits > 0 {
			source = "ipv4_addr . "
			lookup = fmt.Sprintf("ip saddr & %v . ", mask(bits))
		}
		fmt.Fprintf(&all, "\tmap relays%d {\n\t\ttype %sipv4_addr . inet_service : ipv4_addr . inet_service\n\t\tsize %d\n\t\telements = { %s }\n\t}\n",
			bits, source, len(elements), strings.Join(elements, ", "))
		fmt.Fprintf(&rules, "\t\tdnat to %sip daddr . %s dport map @relays%d\n", lookup, j.Protocol(), bits)
	}
	return fmt.Sprintf(`table ip %s {
%s	chain prerouting {
		type nat hook prerouting priority dstnat; policy accept;
%s	}
	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		ct status dnat oifname %q snat to 10.2.0.100
	}
	chain forward {
		type filter hook forward priority filter; policy drop;
		ct state established,related accept
		ct status dnat accept
	}
}
`, table, &all, &rules, arena.ToServer)
}

// mapElements are the elements of the map for the prefixes of a length.
func mapElements(j arena.Job, bits int) (elements []string) {
	for i := range j.Relays {
		elements = append(elements, relayElements(j, i, bits)...)
	}
	return elements
}

// relayElements are those of one relay.
func relayElements(j arena.Job, i, bits int) (elements []string) {
	l, t := j.Listen(i), j.Target(i)
	if bits == 0 {
		return []string{fmt.Sprintf("%v . %d : %v . %d", l.Addr(), l.Port(), t.Addr(), t.Port())}
	}
	for _, p := range j.Sources(i) {
		if p.Bits() == bits {
			elements = append(elements, fmt.Sprintf("%v . %v . %d : %v . %d", p.Addr(), l.Addr(), l.Port(), t.Addr(), t.Port()))
		}
	}
	return elements
}

// mapChange moves the relay that is hit, and leaves the others alone.
func mapChange(was, is arena.Job) string {
	var script strings.Builder
	for _, bits := range lengths(is) {
		name := fmt.Sprintf("ip %s relays%d", table, bits)
		fmt.Fprintf(&script, "delete element %s { %s }\n", name, strings.Join(relayElements(was, was.Hit(), bits), ", "))
		fmt.Fprintf(&script, "add element %s { %s }\n", name, strings.Join(relayElements(is, is.Hit(), bits), ", "))
	}
	return script.String()
}

// mask is the mask of a length of prefix.
func mask(bits int) netip.Addr {
	p, _ := netip.AddrFrom4([4]byte{255, 255, 255, 255}).Prefix(bits) // the length is one of a prefix
	return p.Addr()
}
